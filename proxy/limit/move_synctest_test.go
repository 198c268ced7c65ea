package limit

import (
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

// asked is a host that is asked by one client again and again, for so long. It returns how many requests were let in.
func (n *node) asked(t *testing.T, d time.Duration) (allowed int64) {
	t.Helper()
	for end := wire.Now() + int64(d); wire.Now() < end; time.Sleep(time.Millisecond) {
		x := request(wire.Now(), "192.0.2.1")
		if n.guard.Check(x) == nil {
			allowed++
		}
		x.Release()
	}
	return allowed
}

// TestMove: when another link takes the place of the one that there is, nobody is without a store for a moment, whether it leads to the same
// server or to one that knows nothing; buckets are what they were, and the former link is closed.
func TestMove(t *testing.T) {
	t.Parallel()
	f := func(same bool, delay time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := window(100, time.Hour, 100, byIP())
			first, second := newFakeStore(), newFakeStore()
			n := newNode(t, first, DownDeny, w, 1000)
			defer n.fleet.Stop()
			n.fleet.Prepare()
			given := n.asked(t, 10*time.Second)
			if given < 100 || given > 101 {
				t.Fatalf("%d were let in before, want 100 and what has come", given)
			}
			if same {
				second.full = first.full
			}
			second.delay = func() time.Duration { return delay }
			failed := n.fleet.Status().Failed
			l := NewLink(second, time.Second)
			if err := l.Try(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.fleet.Move(l)
			given += n.asked(t, 10*time.Second)
			if given > 101 {
				t.Errorf("%d were let in, by two links", given)
			}
			if s := n.fleet.Status(); n.back.Load() != 0 || s.Failed != failed || !s.Up {
				t.Errorf("%d were judged without a store, %d calls failed", n.back.Load(), s.Failed-failed)
			}
			if !first.closed || second.closed || second.calls == 0 {
				t.Errorf("the first link is closed: %v, the second: %v, with %d calls", first.closed, second.closed, second.calls)
			}
			if s := n.keep.Load(); s != int64(2*time.Second) {
				t.Errorf("places are kept for %v", time.Duration(s))
			}
			// What the second server was told is what the first one knew.
			key := n.rates.plain[0].hash(request(0, "192.0.2.1"), &n.rates.table.seed)
			if left := n.left(second.full[key] - wire.Now()); left > 1 {
				t.Errorf("the second server has a bucket of %d left", left)
			}
		})
	}
	f(true, 0)
	f(true, 100*time.Millisecond)
	f(false, 0)
	f(false, 100*time.Millisecond)
}

// left is how many tokens a bucket has that is full in so long.
func (n *node) left(full int64) int { return n.rates.options.Windows[0].tokens(max(full, 0)) }

// TestMoveDown: a link that does not answer takes its place all the same, for it is what is wanted: the store is down, and up when there is
// an answer, or another link.
func TestMoveDown(t *testing.T) {
	t.Parallel()
	f := func(breaks func(*fakeStore), try bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			first, dead, third := newFakeStore(), newFakeStore(), newFakeStore()
			n := newNode(t, first, DownDeny, window(1000, time.Second, 1000, byIP()), 1000)
			defer n.fleet.Stop()
			n.fleet.Prepare()
			breaks(dead)
			l := NewLink(dead, 300*time.Millisecond)
			if began := time.Now(); try && (l.Try(t.Context()) == nil || time.Since(began) > 300*time.Millisecond) {
				t.Errorf("a dead link was tried for %v", time.Since(began))
			}
			n.fleet.Move(l)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if s := n.fleet.Status(); s.Up || s.Problem == "" || !first.closed {
				t.Errorf("got %+v, and the first link is closed: %v", s, first.closed)
			}
			if err := n.guard.Check(request(wire.Now(), "192.0.2.1")); err != ErrStoreDown {
				t.Errorf("got %v", err)
			}
			n.fleet.Move(NewLink(third, 300*time.Millisecond))
			time.Sleep(time.Second)
			synctest.Wait()
			if s := n.fleet.Status(); !s.Up || !dead.closed || third.closed {
				t.Errorf("got %+v", s)
			}
			n.fleet.Move(NewLink(newFakeStore(), time.Second))
			n.fleet.Move(NewLink(first, time.Second)) // nobody waits for the one before
		})
	}
	for _, try := range []bool{true, false} {
		f(func(s *fakeStore) { s.away = true }, try)
		f(func(s *fakeStore) { s.swallow = true }, try)
	}
}

// TestCallsCounted: whatever is asked of a store counts, also while it is not yet the one that there is.
func TestCallsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second, dead := newFakeStore(), newFakeStore(), newFakeStore()
		n := newNode(t, first, DownDeny, window(100, time.Hour, 100, byIP()), 1000)
		defer n.fleet.Stop()
		n.fleet.Prepare()
		f := func(failed uint64) FleetStatus {
			t.Helper()
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			s := n.fleet.Status()
			if good := uint64(first.calls + second.calls); s.Calls != good+failed || s.Failed != failed {
				t.Errorf("%d calls are counted, of which %d failed; the stores have answered %d", s.Calls, s.Failed, good)
			}
			return s
		}
		f(0)
		second.delay = func() time.Duration { return 50 * time.Millisecond }
		l := NewLink(second, time.Second)
		if err := l.Try(t.Context()); err != nil {
			t.Fatal(err)
		}
		second.set(func() { second.delay = nil })
		n.fleet.Move(l)
		if s := f(0); s.Spent != 50*time.Millisecond {
			t.Errorf("calls took %v", s.Spent)
		}
		if err := n.rates.ResetValues("192.0.2.1"); err != ErrUnknownKey {
			t.Error(err)
		}
		f(0)
		dead.away = true
		n.fleet.Move(NewLink(dead, time.Second))
		f(2) // the link was tried, and then asked whether it is back
	})
}

// TestPrepare: it returns when the store has answered, and at the end of its time if it does not.
func TestPrepare(t *testing.T) {
	t.Parallel()
	f := func(prepare func(*fakeStore), up bool, within time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			store := newFakeStore()
			prepare(store)
			fleet := NewFleet(FleetOptions{Name: "redis", Store: store, Timeout: 250 * time.Millisecond})
			began := time.Now()
			for range 2 { // a second time it is there
				fleet.Prepare()
				if fleet.Up() != up || time.Since(began) > within {
					t.Errorf("up: %v after %v, want %v", fleet.Up(), time.Since(began), up)
				}
			}
			fleet.Stop()
			if !store.closed {
				t.Error("the store is not closed")
			}
		})
	}
	f(func(*fakeStore) {}, true, 0)
	f(func(s *fakeStore) { s.delay = func() time.Duration { return 100 * time.Millisecond } }, true, 100*time.Millisecond)
	f(func(s *fakeStore) { s.away = true }, false, 0)
	f(func(s *fakeStore) { s.swallow = true }, false, 250*time.Millisecond)
}

// TestMoveWithinBound: hosts whose links are changed again and again, at any moment, give together what is said of a fleet and no more, and what they
// have taken is charged once.
func TestMoveWithinBound(t *testing.T) {
	t.Parallel()
	seeds := uint64(4)
	if os.Getenv("SLUICE_SOAK") != "" {
		seeds = 300
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 31))
			w := Window{Text: "w", Count: 1 + random.IntN(500), Per: time.Second, Burst: 1 + random.IntN(200), By: byIP()}
			if err := w.measure(); err != nil {
				t.Fatal(err)
			}
			store := newSlowStore(1+random.IntN(60), rand.NewPCG(seed, 32))
			count := 1 + random.IntN(4)
			nodes, stop := newNodes(t, count, store, DownDeny, w)
			defer stop()
			given, lease := newHistory(&w), int64(w.Lease())
			moves := 0
			for range 1500 {
				switch random.IntN(3) {
				case 0:
					time.Sleep(time.Duration(random.Int64N(2*w.interval + 1)))
				case 1:
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
				}
				if random.IntN(50) == 0 {
					moves++
					l := NewLink(sharedStore{store}, 300*time.Millisecond)
					if random.IntN(2) == 0 {
						if err := l.Try(t.Context()); err != nil {
							t.Error(err)
						}
					}
					nodes[random.IntN(count)].fleet.Move(l)
				}
				for range 1 + random.IntN(4) {
					if now := wire.Now(); nodes[random.IntN(count)].Take(2, 1, now).OK {
						given.add(1, now)
					}
				}
			}
			if over, most := given.over(), int64(count)*lease; over > most {
				t.Errorf("%+v, %d hosts, %d moves: %d more than the limit, want %d at most", w, count, moves, over, most)
			}
			time.Sleep(3 * time.Second)
			for i, n := range nodes {
				n.wantTold(t, i, 2)
				if s := n.fleet.Status(); !s.Up || s.Failed != 0 {
					t.Errorf("host %d: %+v", i, s)
				}
			}
			if moves < 10 || given.count == 0 {
				t.Errorf("%d moves, %d given", moves, given.count)
			}
		})
	}
}
