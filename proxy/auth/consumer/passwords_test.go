package consumer

import (
	"encoding/base64"
	"runtime"
	"sync"
	"testing"
	"time"

	"sluice/proxy/wire"
)

// TestArgon2 has the vectors of the reference implementation.
func TestArgon2(t *testing.T) {
	f := func(memory, time uint32, threads uint8, password, sum, text string) {
		t.Helper()
		want, err := base64.RawStdEncoding.DecodeString(sum)
		if err != nil {
			t.Fatal(err)
		}
		a := &Argon2{Memory: memory, Time: time, Threads: threads, Salt: []byte("somesalt"), Sum: want}
		if !a.isOf([]byte(password)) || a.isOf([]byte(password+"x")) {
			t.Errorf("%s is not of %q", text, password)
		}
		if a.String() != text {
			t.Errorf("got %s, want %s", a, text)
		}
	}
	f(256, 2, 1, "password", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f(256, 2, 2, "password", "bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc")
}

// shown returns what became of a request, and how many computations that took.
func shown(t *testing.T, g *Basic, name, password string) (error, uint64) {
	t.Helper()
	before, _ := g.options.Passwords.Counts()
	x := request(t, "", "Authorization", basic(name, password))
	defer x.Release()
	err := g.Check(x)
	after, _ := g.options.Passwords.Counts()
	return err, after - before
}

func newBasic(t testing.TB, group *Group) *Basic {
	t.Helper()
	g, err := NewBasic(BasicOptions{Group: group, Passwords: NewPasswords()})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestPasswordsCost counts computations: one that was right is made once, and whether there is somebody of a name cannot be told from
// how many are made.
func TestPasswordsCost(t *testing.T) {
	g := newBasic(t, partners(t, nil))
	f := func(name, password string, wantErr error, want uint64) {
		t.Helper()
		if err, got := shown(t, g, name, password); err != wantErr || got != want {
			t.Errorf("%s:%s: %v after %d computations, want %v after %d", name, password, err, got, wantErr, want)
		}
	}
	for range 2 {
		f("anne", "wrong", ErrPassword, 3)
		f("nobody", "wrong", ErrPassword, 3)
		f("bob", "wrong", ErrPassword, 3)
		f("acme", "wrong", ErrPassword, 3)
		f("bob", "random", nil, 0)
	}
	f("anne", "second", nil, 2)
	f("anne", "second", nil, 0)
	f("anne", "first", nil, 1)
	f("anne", "first", nil, 0)
	f("nobody", "first", ErrPassword, 3)
	f("bob", "first", ErrPassword, 3)

	// A changed password is another, in the same process.
	after, err := NewGroup("partners", []Consumer{{Name: "anne", Passwords: []Password{{Argon2: quick("third", "1")}, {Argon2: quick("second", "2")}}}}, g.options.Group)
	if err != nil {
		t.Fatal(err)
	}
	g = &Basic{BasicOptions{Group: after, Passwords: g.options.Passwords}}
	f("anne", "first", ErrPassword, 2)
	f("anne", "second", nil, 0)
	f("anne", "third", nil, 1)

	// Without any that costs something, nothing is pretended.
	plain, err := NewGroup("plain", []Consumer{{Name: "bob", Passwords: []Password{{Sum: sumOf("random")}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g = newBasic(t, plain)
	f("bob", "wrong", ErrPassword, 0)
	f("nobody", "random", ErrPassword, 0)
	f("bob", "random", nil, 0)
}

// TestSamePasswordTwice: the one that is good for longer counts.
func TestSamePasswordTwice(t *testing.T) {
	past, future := time.Unix(1, 0), time.Now().Add(time.Hour)
	f := func(passwords ...Password) {
		t.Helper()
		group, err := NewGroup("g", []Consumer{{Name: "anne", Passwords: passwords}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err, _ := shown(t, newBasic(t, group), "anne", "same"); err != nil {
			t.Error(err)
		}
	}
	f(Password{Sum: sumOf("same"), Expires: past}, Password{Sum: sumOf("same"), Expires: future})
	f(Password{Argon2: quick("same", "1"), Expires: past}, Password{Argon2: quick("same", "2")})
}

// TestPasswordsForget fills the memory many times over, and lets what is in it grow old.
func TestPasswordsForget(t *testing.T) {
	p := NewPasswords()
	c := &credential{argon2: quick("a", "1")}
	key := func(n int) [32]byte {
		return p.key(c.argon2, []byte("anne"), []byte{byte(n), byte(n >> 8), byte(n >> 16)})
	}
	for n := range 4 * rememberedMax {
		if p.remembers(key(n)) {
			t.Fatal("it remembers what it was never told")
		}
		p.remember(key(n))
		if !p.remembers(key(n)) {
			t.Fatal("what was just remembered is forgotten")
		}
	}
	kept := 0
	for n := range 4 * rememberedMax {
		if p.remembers(key(n)) {
			kept++
		}
	}
	if kept < rememberedMax*9/10 || kept > rememberedMax {
		t.Errorf("%d of %d are remembered", kept, rememberedMax)
	}
	last := key(4*rememberedMax - 1)
	for i := range p.places {
		if r := p.places[i].Load(); r != nil && r.key == last {
			p.places[i].Store(&remembered{last, wire.Now()})
		}
	}
	if p.remembers(last) {
		t.Error("what is old is remembered")
	}
}

// TestPasswordsAtATime holds all slots: requests wait, those beyond what may wait are refused, and when a slot is free one of those with the
// same password computes for all. A password that is remembered, and one that costs nothing, do not wait.
func TestPasswordsAtATime(t *testing.T) {
	g := newBasic(t, partners(t, nil))
	p := g.options.Passwords
	if err, _ := shown(t, g, "bob", "thought-up"); err != nil {
		t.Fatal(err)
	}
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	before := p.computed.Load()
	var group sync.WaitGroup
	results := make(chan error, waitingMax)
	for range waitingMax {
		group.Go(func() {
			x := request(t, "", "Authorization", basic("anne", "first"))
			defer x.Release()
			results <- g.Check(x)
		})
	}
	deadline := time.Now().Add(patience)
	for p.waiting.Load() < waitingMax {
		if time.Now().After(deadline) {
			t.Fatalf("%d are waiting", p.waiting.Load())
		}
		runtime.Gosched()
	}
	if err, n := shown(t, g, "anne", "first"); err != ErrBusy || n != 0 {
		t.Errorf("one too many: %v after %d", err, n)
	}
	if err, _ := shown(t, g, "bob", "thought-up"); err != nil {
		t.Errorf("one that is remembered: %v", err)
	}
	if err, _ := shown(t, g, "bob", "random"); err != nil {
		t.Errorf("one that costs nothing: %v", err)
	}
	for range cap(p.slots) {
		<-p.slots
	}
	group.Wait()
	close(results)
	refused := 0
	for err := range results {
		if err != nil {
			refused++
		}
	}
	// On a machine that stood still for all their patience some may have given up.
	if computed := p.computed.Load() - before; refused == 0 && computed > uint64(cap(p.slots)) {
		t.Errorf("%d computations for one password, %d at a time", computed, cap(p.slots))
	}
	if _, n := p.Counts(); n != uint64(refused)+1 {
		t.Errorf("%d were counted as refused, want %d", n, refused+1)
	}
	if refused == waitingMax {
		t.Error("everybody was refused")
	}

	// Who goes away waits no longer, and who has no time does not wait for long.
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	for _, give := range []string{"up", "time"} {
		x := request(t, "", "Authorization", basic("anne", "other"))
		if give == "up" {
			x.Cancel(ErrBusy)
		} else {
			x.Deadline = wire.Now()
		}
		if err := g.Check(x); err != ErrBusy {
			t.Errorf("%s: %v", give, err)
		}
		x.Release()
	}
}
