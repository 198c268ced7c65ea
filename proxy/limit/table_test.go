package limit

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSpentKeysStay fills a table with keys that have spent tokens, far beyond what it holds: none of those that found a place is
// ever forgotten, and those that found none share one bucket.
func TestSpentKeysStay(t *testing.T) {
	const room = 1000
	w := Window{Text: "w", Count: 1, Per: time.Hour, Burst: 2}
	l := newLocalFor(t, w, room)
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 5*room)
	spilled := 0
	for i := range keys {
		keys[i] = clean(random.Uint64())
		l.Take(keys[i], 2, start)
		if l.table.find(keys[i]) == nil {
			spilled++
		}
	}
	kept, evicted, overflow := l.table.counts()
	if evicted != 0 {
		t.Errorf("%d keys with spent tokens were evicted", evicted)
	}
	if kept+spilled != len(keys) || int(overflow) != spilled || kept < room {
		t.Errorf("%d keys kept, %d spilled, %d counted as overflow, of %d", kept, spilled, overflow, len(keys))
	}
	if live := l.table.live(uint64(start)); live != kept {
		t.Errorf("%d live, %d kept", live, kept)
	}
	for _, key := range keys {
		if l.Look(key, 1, start).OK || l.Take(key, 1, start).OK {
			t.Fatal("a key was let in that has spent its burst, or shares a bucket that is empty")
		}
	}
	// An hour later each has a token, and an idle one makes room: all are as good as new after two.
	_, _, overflow = l.table.counts()
	later := start + 2*int64(time.Hour)
	for range room {
		if !l.Take(clean(random.Uint64()), 1, later).OK {
			t.Fatal("a new key was refused, and every other one is idle")
		}
	}
	if _, evicted, again := l.table.counts(); evicted == 0 || again != overflow {
		t.Errorf("%d evicted, %d more overflows", evicted, again-overflow)
	}
}

// TestRoom: a table has room for as many keys as it was made for, but for one in ten thousand.
func TestRoom(t *testing.T) {
	f := func(keys, spilledMax int) {
		t.Helper()
		w := Window{Text: "w", Count: 1, Per: time.Hour, Burst: 1}
		l := newLocalFor(t, w, keys)
		random := rand.New(rand.NewPCG(7, 8))
		for range keys {
			l.Take(clean(random.Uint64()), 1, start)
		}
		if _, _, overflow := l.table.counts(); int(overflow) > spilledMax {
			t.Errorf("%d keys: %d found no place", keys, overflow)
		}
	}
	f(1, 0)
	f(8, 0)
	f(100, 0)
	f(10_000, 0)
	f(300_000, 30)
}

// TestEnterTogether: a key that many goroutines bring at the same time enters once, while others make the places change hands.
func TestEnterTogether(t *testing.T) {
	const goroutines, rounds = 8, 2000
	w := Window{Text: "w", Count: 1_000_000, Per: time.Second, Burst: 1}
	for range 3 {
		l := newLocalFor(t, w, 2) // two lines: everybody meets
		var clock atomic.Int64
		clock.Store(start)
		var all sync.WaitGroup
		var admitted atomic.Int64
		for g := range goroutines {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(g), 9))
				for range rounds {
					now := clock.Add(100)
					l.Take(clean(uint64(random.IntN(40))<<58|uint64(random.IntN(40))<<8), 1, now)
					if l.Take(clean(12345<<8), 1, now).OK {
						admitted.Add(1)
					}
				}
			})
		}
		all.Wait()
		if most := 1 + (clock.Load()-start)/l.interval; admitted.Load() > most {
			t.Errorf("%d admitted, at most %d could be", admitted.Load(), most)
		}
		seen := map[uint64]bool{}
		for i := range l.table.lines {
			for j := range l.table.lines[i] {
				s := &l.table.lines[i][j]
				key := s.key.Load()
				if key&gate != 0 || s.state.Load() == taken {
					t.Error("a gate was left closed, or a slot taken")
				}
				if key != 0 && seen[key] {
					t.Errorf("key %x is there twice", key)
				}
				seen[key] = true
			}
		}
	}
}

// TestMemory: the memory for ten million keys is not the garbage collector's, is less than 400 MiB, and goes with the table.
func TestMemory(t *testing.T) {
	const keys = 10_000_000
	table, err := newTable(keys, timeMask)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(table.lines) * lineSlots * slotBytes; got > 400<<20 {
		t.Errorf("%d MiB for %d keys", got>>20, keys)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 100<<20 {
		t.Errorf("%d MiB on the heap", m.HeapAlloc>>20)
	}
	reserved := virtual(t)
	runtime.KeepAlive(table)
	table = nil
	deadline := time.Now().Add(20 * time.Second)
	for virtual(t) > reserved-200<<20 {
		if time.Now().After(deadline) {
			t.Fatal("the memory of a table that nobody has is still reserved")
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

// virtual is how many bytes of addresses the process has.
func virtual(t *testing.T) int { return statm(t, 0) }

// statm reads a number of pages of /proc/self/statm, as bytes.
func statm(t *testing.T, field int) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[field])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestSoakFlood sends 50 million distinct keys at a policy, and one that is limited in between: the memory stays where it is, and the
// limited one gets what it may and no more.
func TestSoakFlood(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("takes a minute: SLUICE_SOAK=1")
	}
	const flood = 50_000_000
	w := Window{Text: "w", Count: 10, Per: time.Second, Burst: 10}
	l := newLocalFor(t, w, 1_000_000)
	victim := clean(1 << 40)
	random := rand.New(rand.NewPCG(1, 2))
	now, admitted, half := start, int64(0), 0
	for i := range flood {
		now += 100 // 10 million in a second
		l.Take(clean(random.Uint64()), 1, now)
		if i%1000 == 0 && l.Take(victim, 1, now).OK {
			admitted++
		}
		if i == flood/2 {
			half = statm(t, 1)
		}
	}
	passed := now - start
	most := int64(w.Burst) + passed/l.interval
	if admitted > most || admitted < most-int64(w.Burst) {
		t.Errorf("the limited key was let in %d times, want about %d", admitted, most)
	}
	if grown := statm(t, 1) - half; grown > 4<<20 {
		t.Errorf("the second half of the flood has taken %d MiB", grown>>20)
	}
	kept, evicted, overflow := l.table.counts()
	t.Logf("%d slots in use, %d evicted, %d overflowed", kept, evicted, overflow)
}
