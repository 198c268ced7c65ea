package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// started starts a ledger in a folder, and returns it with a meter that is ready. It is stopped when the test ends.
func started(t *testing.T, folder string, now func() time.Time, c Calendar) (*Ledger, *Meter) {
	t.Helper()
	l := New(filepath.Join(folder, "quotas"))
	if l.now = now; now == nil {
		l.now = noon
	}
	m := l.Meter("policy day", c, 1000)
	l.Start()
	t.Cleanup(l.Stop)
	select {
	case <-m.Ready():
	case <-time.After(time.Minute):
		t.Fatalf("the file was not read: %s", l.Unready())
	}
	return l, m
}

// crash ends a ledger as the end of its process would: nothing is written any more.
func (l *Ledger) crash() {
	l.finishes = func(b *book) {
		l.end()
		b.close()
	}
	l.Stop()
}

var processBegan = time.Now()

// noon is a clock that was right at noon when the process began: no day ends while a test counts on it.
func noon() time.Time {
	return time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC).Add(time.Since(processBegan))
}

var perDay = Calendar{Day, time.UTC}

func key(n int) Key { return Key{byte(n), byte(n >> 8), 1} }

func enter(t *testing.T, m *Meter, n int) *Account {
	t.Helper()
	a := m.Enter(uint64(n+1), key(n), fmt.Sprint("key ", n), m.ledger.now().UnixNano())
	if a == nil {
		t.Fatal("there is no account")
	}
	return a
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

// use takes one after the other, waiting for the file where that is needed, until as many were given or the limit is reached.
func use(t *testing.T, a *Account, l *Limit, most int, now func() time.Time) (given int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); given < most; {
		switch v := a.Take(1, l, now().UnixNano()); {
		case v.OK:
			given++
		case v.Closed:
			if time.Now().After(deadline) {
				t.Fatal("the file is not written")
			}
			time.Sleep(time.Millisecond)
		case v.Gone:
			t.Fatal("the account has gone")
		default:
			return given
		}
	}
	return given
}

// TestStop: a stop in good order forgets nothing, and costs nothing.
func TestStop(t *testing.T) {
	folder := t.TempDir()
	limit := &Limit{Text: "100/day", Most: 100, Batch: 10}
	total := 0
	for range 5 {
		l, m := started(t, folder, nil, perDay)
		total += use(t, enter(t, m, 1), limit, 17, noon)
		l.Stop()
	}
	l, m := started(t, folder, nil, perDay)
	if total += use(t, enter(t, m, 1), limit, 1000, noon); total != 100 {
		t.Errorf("%d were given of 100", total)
	}
	if v := enter(t, m, 1).Look(1, limit, noon().UnixNano()); v.OK || v.Used != 100 {
		t.Errorf("got %+v", v)
	}
	if given := use(t, enter(t, m, 2), limit, 1000, noon); given != 100 {
		t.Errorf("another key was given %d", given)
	}
	if most := m.Most(5, noon().UnixNano()); len(most) != 2 || most[0].Used != 100 || most[0].Text != "key 1" && most[0].Text != "key 2" {
		t.Errorf("got %+v", most)
	}
	if u, ok := m.Usage(key(1), noon().UnixNano()); !ok || u.Used != 100 || u.Limit != limit {
		t.Errorf("got %+v", u)
	}
	if _, ok := m.Usage(key(7), noon().UnixNano()); ok {
		t.Error("nobody has used something")
	}
	if !m.Reset(key(1), noon().UnixNano()) || m.Reset(key(7), noon().UnixNano()) {
		t.Error("reset is wrong")
	}
	if given := use(t, enter(t, m, 1), limit, 1000, noon); given != 100 {
		t.Errorf("%d were given after a reset", given)
	}
	l.Stop()
	if a := m.Enter(9, key(9), "", 0); a != nil {
		t.Error("a closed ledger has accounts")
	}
}

// TestPrepare: when it returns, the file was read, or cannot be, and it does so at once if that was before.
func TestPrepare(t *testing.T) {
	folder := t.TempDir()
	l := New(filepath.Join(folder, "quotas"))
	t.Cleanup(l.Stop)
	m := l.Meter("policy day", perDay, 1000)
	for range 2 {
		l.Prepare()
		if !m.isReady() {
			t.Errorf("the file was not read: %s", l.Unready())
		}
	}
	broken := New(folder)
	t.Cleanup(broken.Stop)
	broken.Meter("policy day", perDay, 1000)
	for range 2 {
		broken.Prepare()
		if why := broken.Unready(); why == "" || why == notRead {
			t.Errorf("of a folder it says %q", why)
		}
	}
}

// TestUnsynced: while the disk takes no root, which can be read all the same, keys use up what was reserved and get no more; a crash then
// gives nobody more, either, and when the disk works again all of it is there.
func TestUnsynced(t *testing.T) {
	limit := &Limit{Text: "100/day", Most: 100, Batch: 10}
	f := func(crash bool) {
		t.Helper()
		folder := t.TempDir()
		var failing atomic.Bool
		l := New(filepath.Join(folder, "quotas"))
		l.now = noon
		l.updates = func(db *bbolt.DB, do func(*bbolt.Tx) error) error {
			if err := db.Update(do); err != nil || !failing.Load() {
				return err
			}
			return syscall.EIO
		}
		m := l.Meter("policy day", perDay, 1000)
		l.Start()
		t.Cleanup(l.Stop)
		eventually(t, "the file", m.isReady)
		a := enter(t, m, 1)
		total := use(t, a, limit, 15, noon)
		failing.Store(true)
		eventually(t, "the end of what was reserved, and failures", func() bool {
			v := a.Take(1, limit, noon().UnixNano())
			if v.OK {
				total++
			}
			return v.Closed && l.Status().Failed >= 2
		})
		_, reserved := unpack(a.kept.Load())
		if total > int(reserved) || total > 15+3*10 {
			t.Errorf("%d were given, and %d reserved", total, reserved)
		}
		most, least := 100, 100
		if crash {
			l.crash()
			l, m = started(t, folder, nil, perDay)
			least -= 3 * 10 // what the writes that failed have reserved, and the run
			a = enter(t, m, 1)
		}
		failing.Store(false)
		if total += use(t, a, limit, 1000, noon); total > most || total < least {
			t.Errorf("%d were given of 100", total)
		}
		l.Stop()
	}
	f(false)
	f(true)
}

// TestCrash: a crash gives nobody more, and costs a key one batch at most: whether it has a record or not.
func TestCrash(t *testing.T) {
	folder := t.TempDir()
	limit := &Limit{Text: "500/day", Most: 500, Batch: 10}
	given := map[int]int{}
	const crashes = 8
	for run := range crashes {
		l, m := started(t, folder, nil, perDay)
		for k := range 3 {
			given[k] += use(t, enter(t, m, k), limit, (run*7+k)%20, noon)
		}
		given[10+run] = use(t, enter(t, m, 10+run), limit, 4, noon)
		l.crash()
	}
	_, m := started(t, folder, nil, perDay)
	for k := range given {
		given[k] += use(t, enter(t, m, k), limit, 1000, noon)
	}
	given[99] = use(t, enter(t, m, 99), limit, 1000, noon)
	for k, n := range given {
		if n > 500 || n < 500-crashes*10 {
			t.Errorf("key %d was given %d of 500, over %d crashes that cost 10 each at most", k, n, crashes)
		}
	}
}

// TestTogether: any number of goroutines get exactly what there is.
func TestTogether(t *testing.T) {
	_, m := started(t, t.TempDir(), nil, perDay)
	limit := &Limit{Text: "2000/day", Most: 2000, Batch: 200}
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for i := range 8 {
		wg.Go(func() {
			a := m.Enter(7, key(7), "shared", noon().UnixNano())
			n := 0
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
				v := a.Take(int64(1+i%3), limit, noon().UnixNano())
				if v.OK {
					n += 1 + i%3
				} else if !v.Closed {
					break
				} else {
					time.Sleep(time.Millisecond)
				}
			}
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	wg.Wait()
	if total > 2000 || total < 1998 {
		t.Errorf("%d were given of 2000", total)
	}
}

// TestSlow: while the file is being written nobody waits for it. What is reserved is given, and no more; and afterwards all of it.
func TestSlow(t *testing.T) {
	var stuck atomic.Bool
	goOn := make(chan struct{})
	_, m := started(t, t.TempDir(), func() time.Time {
		if stuck.Load() {
			<-goOn // the writer asks before it writes
		}
		return noon()
	}, perDay)
	limit := &Limit{Text: "100/day", Most: 100, Batch: 10}
	a, b := enter(t, m, 1), enter(t, m, 2)
	total := use(t, a, limit, 1, noon)
	stuck.Store(true)
	f := func(a *Account) (given int) {
		t.Helper()
		for {
			switch v := a.Take(1, limit, noon().UnixNano()); {
			case v.OK:
				given++
			case v.Closed:
				return given
			default:
				t.Fatalf("got %+v after %d", v, given)
			}
		}
	}
	if total += f(a); total > 20 {
		t.Errorf("%d were given without a word in the file", total)
	}
	if n := f(b); n != 10 {
		t.Errorf("%d were given to a newcomer, want a batch", n)
	}
	stuck.Store(false)
	close(goOn)
	if total += use(t, a, limit, 1000, noon); total != 100 {
		t.Errorf("%d were given of 100", total)
	}
}

// TestSecond: what another has open is not opened, and nobody hangs; once it is free it is taken.
func TestSecond(t *testing.T) {
	folder := t.TempDir()
	first, _ := started(t, folder, nil, perDay)
	second := New(filepath.Join(folder, "quotas"))
	m := second.Meter("policy day", perDay, 10)
	second.Start()
	defer second.Stop()
	eventually(t, "the second one to say why", func() bool { return strings.Contains(second.Unready(), "another gateway has it open") })
	if m.Enter(1, key(1), "", 0) != nil {
		t.Error("the second one has accounts")
	}
	first.Stop()
	eventually(t, "the second one to go on", func() bool { return second.Unready() == "" })
}

// TestDamaged: a damaged file closes the quotas, with a sentence, and is not written to. When it is moved away they begin anew.
func TestDamaged(t *testing.T) {
	f := func(name string, damage func(b []byte) []byte) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			file := filepath.Join(folder, "quotas")
			limit := &Limit{Text: "100/day", Most: 100, Batch: 10}
			l, m := started(t, folder, nil, perDay)
			for k := range 200 {
				use(t, enter(t, m, k), limit, 2, noon)
			}
			l.Stop()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b = damage(b)
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			again := New(file)
			again.now = noon
			m = again.Meter("policy day", perDay, 1000)
			again.Start()
			defer again.Stop()
			eventually(t, "a complaint", func() bool { return strings.Contains(again.Unready(), "move it away to begin anew") })
			if m.Enter(1, key(1), "", 0) != nil {
				t.Error("there are accounts")
			}
			if err := os.Rename(file, file+".away"); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			eventually(t, "a new beginning", func() bool { return again.Unready() == "" })
			if given := use(t, enter(t, m, 1), limit, 1000, noon); given != 100 && given != 98 { // what was read is not forgotten
				t.Errorf("%d were given", given)
			}
		})
	}
	f("text", func([]byte) []byte { return []byte(strings.Repeat("no database at all\n", 4000)) })
	f("cut", func(b []byte) []byte { return b[:len(b)/3] })
	f("a record", func(b []byte) []byte {
		at := strings.LastIndex(string(b), "key 17")
		b[at+5] = '8'
		for at = strings.Index(string(b), "key 17"); at >= 0; at = strings.Index(string(b), "key 17") {
			b[at+5] = '9'
		}
		return b
	})
	f("pages", func(b []byte) []byte {
		for i := 2 * 4096; i < len(b); i++ {
			b[i] = byte(i * 7)
		}
		return b
	})
}

// TestFailing: while the file cannot be written each account waits for it once, however often it is asked for; and when it can, all goes on.
func TestFailing(t *testing.T) {
	l, m := started(t, t.TempDir(), nil, perDay)
	limit := &Limit{Text: "1000/day", Most: 1000, Batch: 10}
	var accounts []*Account
	for k := range 20 {
		accounts = append(accounts, enter(t, m, k))
	}
	// An account that bbolt cannot write, because its meter has no name, fails all that are written with it: after the others.
	bad := &Account{meter: newMeter(l, "", perDay)}
	bad.queued.Store(true)
	l.mu.Lock()
	for _, a := range accounts {
		if a.queued.CompareAndSwap(false, true) {
			l.waiting = append(l.waiting, a)
		}
	}
	l.waiting = append(l.waiting, bad)
	l.mu.Unlock()
	waiting := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.waiting)
	}
	eventually(t, "the file to fail again and again", func() bool {
		for _, a := range accounts {
			a.Take(1, limit, noon().UnixNano())
		}
		return l.Status().Failed >= 4
	})
	if n := waiting(); n > len(accounts)+1 || l.Unready() == "" {
		t.Errorf("%d are waiting for %d accounts, and the problem is %q", n, len(accounts), l.Unready())
	}
	eventually(t, "an attempt to be over", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		at := slices.Index(l.waiting, bad)
		if at >= 0 {
			l.waiting = slices.Delete(l.waiting, at, at+1)
		}
		return at >= 0
	})
	eventually(t, "the file to be written", func() bool { return l.Unready() == "" && waiting() == 0 })
	for _, a := range accounts {
		if given := use(t, a, limit, 50, noon); given != 50 {
			t.Errorf("got %d", given)
		}
	}
}

// TestDamagedLocks: a file that the library panics about while it opens it does not stay locked: what is wrong is said for as long as it is, and a good
// copy in its place is taken.
func TestDamagedLocks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	l, _ := started(t, folder, nil, perDay)
	l.Stop()
	file := filepath.Join(folder, "quotas")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	pages := 0
	size := os.Getpagesize()
	for page := 0; page+size <= len(damaged); page += size {
		if kind := binary.LittleEndian.Uint16(damaged[page+8:]); kind == 0x10 { // the list of free pages
			clear(damaged[page : page+size])
			pages++
		}
	}
	if err := os.WriteFile(file, damaged, 0o600); err != nil || pages == 0 {
		t.Fatal(pages, err)
	}
	again := New(file)
	again.Start()
	defer again.Stop()
	for range 3 { // the first attempt, and others
		failed := again.Status().Failed
		eventually(t, "another attempt", func() bool { return again.Status().Failed > failed })
		if why := again.Unready(); !strings.Contains(why, "damaged") {
			t.Errorf("it says %q", why)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if n := bytes.Count(maps, []byte(file)); err != nil || n != 1 { // it stays mapped, and is not mapped again with each attempt
		t.Errorf("the file is mapped %d times, %v", n, err)
	}
	was, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, was.ModTime(), was.ModTime()); err != nil { // as of a copy that keeps it
		t.Fatal(err)
	}
	eventually(t, "the good copy", func() bool { return again.Unready() == "" })
}

// TestLoadHoldsNothing: while a meter is read from the file, nobody who enters it waits for the disk.
func TestLoadHoldsNothing(t *testing.T) {
	folder := t.TempDir()
	first, m := started(t, folder, nil, perDay)
	limit := &Limit{Text: "100/day", Most: 100, Batch: 10}
	use(t, enter(t, m, 1), limit, 7, noon)
	first.Stop()

	l := New(filepath.Join(folder, "quotas"))
	m = l.Meter("policy day", perDay, 10)
	b, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	w := &writing{book: b, now: noon().UnixNano(), meters: []*Meter{m}}
	loaded := make(chan error)
	m.mu.Lock() // as one does who enters
	go func() { loaded <- w.load() }()
	eventually(t, "the meter to be waited for", func() bool {
		stacks := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "TestLoadHoldsNothing") && strings.Contains(stack, "(*writing).load") && strings.Contains(stack, "(*Mutex).Lock") {
				return true
			}
		}
		return false
	})
	if n := b.db.Stats().OpenTxN; n != 0 {
		t.Errorf("the file is read meanwhile, in %d transactions", n)
	}
	m.mu.Unlock()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	if _, used := unpack(m.byKey[key(1)].state.Load()); used != 7 {
		t.Errorf("%d were used of what is 7", used)
	}
}

// TestCloseGivesUp: a disk that is stuck is reported before the gateway has ended, which takes 10 seconds at the most.
func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(filepath.Join(t.TempDir(), "quotas.db"))
		stuck := make(chan struct{})
		l.finishes = func(b *book) {
			<-stuck
			b.close()
		}
		m := l.Meter("m", perDay, 10)
		l.Start()
		<-m.Ready()
		began := time.Now()
		err := l.Close()
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "quotas.db was not closed in time: what was reserved counts as used") || took > 9*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		close(stuck)
		<-l.done
	})
}

// TestCloseFails: what cannot be written at the end is said.
func TestCloseFails(t *testing.T) {
	l, _ := started(t, t.TempDir(), nil, perDay)
	l.finishes = func(b *book) {
		b.close()
		l.finish(b)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "what was reserved counts as used") {
		t.Errorf("got %v", err)
	}
}
