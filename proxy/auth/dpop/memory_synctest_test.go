package dpop

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

// TestMemoryTime tries that a proof is remembered for as long as it is good, whenever it comes, and forgotten at some time.
func TestMemoryTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = time.Minute
		m := NewMemory(64*1000, life)
		type use struct {
			hash uint64
			at   int64
		}
		var used []use
		for i := range 4000 {
			hash := uint64(i + 1)
			if err := m.add(hash, hash, time.Now().UnixNano(), wire.Now()); err != nil {
				t.Fatalf("a new one: %v", err)
			}
			used = append(used, use{hash, wire.Now()})
			for len(used) > 0 && wire.Now()-used[0].at >= int64(life) {
				used = used[1:]
			}
			if u := used[i%len(used)]; m.add(u.hash, u.hash, time.Now().UnixNano(), wire.Now()) != errReplayed {
				t.Fatalf("one of %s ago is forgotten", time.Duration(wire.Now()-u.at))
			}
			time.Sleep(time.Duration(i%97) * 20 * time.Millisecond)
		}
		time.Sleep(2 * life)
		if err := m.add(1, 1, time.Now().UnixNano(), wire.Now()); err != nil {
			t.Errorf("long after its time: %v", err)
		}
		for i := range uint64(len(m.shards)) { // each shard forgets when it is used
			_ = m.add(i, 1<<32+i, time.Now().UnixNano(), wire.Now())
		}
		if n := m.Status().Proofs; n != 65 {
			t.Errorf("%d are remembered, want 65", n)
		}
	})
}

// TestMemoryFull tries that a memory which is full accepts nothing, forgets nothing, and has room again later.
func TestMemoryFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = time.Minute
		m := NewMemory(640, life)
		refused := 0
		for i := range 1000 {
			switch err := m.add(uint64(i), uint64(i+1), time.Now().UnixNano(), wire.Now()); err {
			case nil:
			case ErrFull:
				refused++
			default:
				t.Fatal(err)
			}
		}
		if s := m.Status(); refused != 1000-640 || s.Proofs != 640 || s.Refused != uint64(refused) {
			t.Errorf("%d were refused, and %+v", refused, s)
		}
		for i := range 640 {
			if err := m.add(uint64(i), uint64(i+1), time.Now().UnixNano(), wire.Now()); err != errReplayed {
				t.Fatalf("proof %d, when there is no room: %v", i, err)
			}
		}
		time.Sleep(2 * life)
		if err := m.add(5000, 5000, time.Now().UnixNano(), wire.Now()); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// TestClockSetBack tries that a proof which was used stays so when the clock is set back, whatever was forgotten meanwhile, and that proofs which are
// made after that are good once the clock is where it was.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newES256()
		for _, slept := range []time.Duration{10 * time.Second, 2 * time.Minute, 141 * time.Second, time.Hour} {
			j := judge(Options{Window: time.Minute, Leeway: 5 * time.Second, Seen: NewMemory(100000, 70*time.Second)})
			used := c.proof(token)
			made := time.Now()
			if got := outcome(j, c, token, used); got != "good" {
				t.Fatal(got)
			}
			time.Sleep(slept)
			back := time.Since(made)
			j.now = func() time.Time { return time.Now().Add(-back) }
			if got := outcome(j, c, token, used); got == "good" {
				t.Errorf("%s later, with the clock set back, a proof is good again", slept)
			}
			time.Sleep(back + 2*j.options.Life())
			if got := outcome(j, c, token, c.proof(token, "iat", j.now().Unix())); got != "good" {
				t.Errorf("%s later, a proof that is made then: %s", slept, got)
			}
		}
	})
}

// TestMemoryShare tries that one key cannot fill a memory, that others have room beside it, and that it has some again later; and that nobody uses
// up a key's share with proofs of it that were seen before.
func TestMemoryShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = time.Minute
		m := NewMemory(6400, life)
		seen := maphash.MakeSeed() // proofs are spread over all shards
		n := 0
		add := func(key uint64) error {
			n++
			return m.add(key, maphash.Comparable(seen, n), time.Now().UnixNano(), wire.Now())
		}
		f := func(key uint64, times int, want error) {
			t.Helper()
			for i := range times {
				if err := add(key); err != want {
					t.Fatalf("proof %d of key %d: %v, want %v", i, key, err, want)
				}
			}
		}
		first := maphash.Comparable(seen, n+1)
		f(1, 1, nil)
		for range 6400 {
			if err := m.add(1, first, time.Now().UnixNano(), wire.Now()); err != errReplayed {
				t.Fatal(err)
			}
		}
		f(1, 799, nil)
		f(1, 6400, ErrShare)
		f(65, 1, nil) // which is counted in the same tally
		for key := range uint64(2000) {
			f(100+key, 1, nil)
		}
		if s := m.Status(); s.Refused != 0 || s.Proofs != 800+1+2000 {
			t.Errorf("%+v", s)
		}
		time.Sleep(life)
		f(1, 1, ErrShare) // the first ones are still remembered
		time.Sleep(life)
		f(1, 1, nil)
	})
}

// TestMemoryResize tries that another size and another life forget nothing: what is remembered, and not what was forgotten while it was good for less
// long, is good a second time.
func TestMemoryResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(6400, time.Minute)
		spread := maphash.MakeSeed()
		n := 0
		type proof struct {
			hash uint64
			made int64
		}
		var used []proof
		f := func(count int, want error) {
			t.Helper()
			for range count {
				n++
				p := proof{maphash.Comparable(spread, n), time.Now().UnixNano()}
				if err := m.add(p.hash, p.hash, p.made, wire.Now()); err != want {
					t.Fatalf("proof %d: %v, want %v", n, err, want)
				} else if err == nil {
					used = append(used, p)
				}
			}
			for i, p := range used {
				if err := m.add(p.hash, p.hash, p.made, wire.Now()); err != errReplayed && err != errOld {
					t.Fatalf("proof %d of %d comes again: %v", i, n, err)
				}
			}
		}
		remembered := func(want int) {
			t.Helper()
			if got := m.Status().Proofs; got != want {
				t.Errorf("%d are remembered, want %d", got, want)
			}
		}
		// They lie at random in 64 parts. That one of those is empty, and so has room left afterwards, happens in one of 10^12 runs; of
		// half as many proofs it would in one of 10^5.
		f(2000, nil)
		m.Resize(64, time.Minute)
		f(100, ErrFull) // none is dropped for it
		remembered(2000)
		m.Resize(128000, time.Minute)
		f(6000, nil)
		remembered(8000)

		m.Resize(128000, time.Hour)
		time.Sleep(2*time.Minute + time.Second)
		f(1, nil)
		remembered(8001) // which have come when they were to be remembered for a minute
		time.Sleep(55 * time.Minute)
		f(1000, nil)

		// The last of them have to be remembered, although this generation has lasted for longer than two of the lives that come.
		m.Resize(128000, time.Minute)
		f(1, nil)
		remembered(9002)
		time.Sleep(2 * time.Hour)
		f(1000, nil)
		time.Sleep(10 * time.Minute)
		f(1000, nil)
		m.Resize(128000, 24*time.Hour)
		f(1000, nil)
	})
}

// TestMemoryRace tries that of many who bring one proof at the same time a single one gets past.
func TestMemoryRace(t *testing.T) {
	m := NewMemory(100000, time.Hour)
	var passed atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 1000 {
				if m.add(uint64(i), uint64(i+1), time.Now().UnixNano(), wire.Now()) == nil {
					passed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if passed.Load() != 1000 {
		t.Errorf("%d of 1000 proofs got past", passed.Load())
	}
}

// TestNonces tries which nonces are good, when, and at which host.
func TestNonces(t *testing.T) {
	c := newES256()
	secret := []byte("a secret of 32 bytes, or of more")
	a, b, stranger := judge(Options{Nonces: NewNonces(secret)}), judge(Options{Nonces: NewNonces(secret)}), judge(Options{Nonces: NewNonces(nil)})
	start := time.Unix(1_800_000_000, 0)
	at := func(j *Judge, after time.Duration) { j.now = func() time.Time { return start.Add(after) } }
	given := func(j *Judge) string {
		x := asking(c.proof(token, "iat", j.now().Unix()))
		defer x.Release()
		if err := j.Check(x, []byte(token), c.print()); err != ErrNonce {
			t.Fatalf("without a nonce: %v", err)
		}
		x.EditHead()
		if string(x.Response.Head.Get("Cache-Control")) != "no-store" {
			t.Error("the answer may be kept")
		}
		return string(x.Response.Head.Get("DPoP-Nonce"))
	}
	f := func(name string, j *Judge, nonce, want string, prompts bool) {
		t.Helper()
		x := asking(c.proof(token, "iat", j.now().Unix(), "nonce", nonce))
		defer x.Release()
		if got := said(j.Check(x, []byte(token), c.print())); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		x.EditHead()
		if got := x.Response.Head.Has("DPoP-Nonce"); got != prompts {
			t.Errorf("%s: a new nonce is given: %v", name, got)
		}
	}
	for _, j := range []*Judge{a, b, stranger} {
		at(j, 0)
	}
	nonce, old := given(a), ErrNonce.Error()
	if len(nonce) != 24 || nonce == given(stranger) || nonce != given(b) {
		t.Errorf("nonces are %q, %q of another secret, %q of the same", nonce, given(stranger), given(b))
	}
	f("at once", a, nonce, "good", false)
	f("a second time", a, nonce, "good", false) // it is of a time, not of a proof
	f("at another host", b, nonce, "good", false)
	f("at one with another secret", stranger, nonce, old, true)
	f("one that was made up", a, strings24("A"), old, true)
	f("nothing", a, "", old, true)
	f("more", a, nonce+"A", old, true)
	at(b, -noncePeriod)
	f("at a host that is slow", b, nonce, "good", false)
	at(a, noncePeriod)
	f("in the next period", a, nonce, "good", true)
	if next := given(a); next == nonce {
		t.Error("the nonce stays the same")
	}
	at(a, 2*noncePeriod)
	f("in the one after that", a, nonce, old, true)
}

func strings24(s string) string { return fmt.Sprintf("%024s", s) }

// TestUsedUp tries that nobody uses a number up with a proof that is not good.
func TestUsedUp(t *testing.T) {
	c, other := newES256(), newES256()
	j := judge(Options{Nonces: NewNonces(nil)})
	nonce := j.options.Nonces.at(j.now()).now
	f := func(want error, proof string) {
		t.Helper()
		if got := outcome(j, c, token, proof); got != said(want) {
			t.Errorf("got %s, want %s", got, said(want))
		}
	}
	f(errSignature, other.proof(token, "jti", "a", "nonce", nonce, "header.jwk", c.JWK()))
	f(ErrNonce, c.proof(token, "jti", "a"))
	f(errMethod, c.proof(token, "jti", "a", "nonce", nonce, "htm", "PUT"))
	f(nil, c.proof(token, "jti", "a", "nonce", nonce))
	f(errReplayed, c.proof(token, "jti", "a", "nonce", nonce))
}
