package limit

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

// node is a host of a fleet in a test.
type node struct {
	*Shared
	rates *Rates
	guard *Rate
	fleet *Fleet
	held  counter
	back  counter // fallbacks
}

func newNode(t *testing.T, store Store, down IfDown, w Window, keys int) *node {
	t.Helper()
	n := &node{fleet: NewFleet(FleetOptions{Name: "redis", Store: store, Timeout: 250 * time.Millisecond})}
	o := options(w)
	o.Keys = keys
	o.Across = &Across{Name: "fair", Fleet: n.fleet, IfDown: down, Seed: Seed(nil, "fair"), Fallbacks: &n.back, Held: &n.held}
	n.rates = mustRates(t, o)
	n.guard = mustGuard(t, n.rates, 1)
	n.Shared = n.rates.tokens[0].(*Shared)
	n.fleet.Join(n.rates)
	n.fleet.Start()
	return n
}

// newNodes starts hosts that share a store, and waits until they are used to it. The function that it returns ends them.
func newNodes(t *testing.T, count int, store *fakeStore, down IfDown, w Window) ([]*node, func()) {
	t.Helper()
	nodes := make([]*node, count)
	for i := range nodes {
		nodes[i] = newNode(t, sharedStore{store}, down, w, 1000)
	}
	time.Sleep(time.Duration(mergeTime) + time.Second) // what they know counts no more than what it knows
	return nodes, func() {
		for _, n := range nodes {
			n.fleet.Stop()
		}
	}
}

// history is when tokens were given. What there is between any two moments has a bound.
type history struct {
	w     *Window
	first int64
	level int64 // in nanoseconds, as if what comes were taken off
	least int64
	most  int64 // the highest above the least before
	count int64
}

func newHistory(w *Window) *history { return &history{w: w, first: wire.Now(), least: math.MaxInt64} }

func (h *history) add(n, now int64) {
	h.least = min(h.least, h.count*h.w.interval-(now-h.first))
	h.count += n
	h.most = max(h.most, h.count*h.w.interval-(now-h.first)-h.least)
}

// over is how many tokens more than a burst were given beyond what has come, between any two moments.
func (h *history) over() int64 { return (h.most+h.w.interval-1)/h.w.interval - int64(h.w.Burst) }

// newSlowStore returns a store that takes up to so many milliseconds for an answer.
func newSlowStore(slowest int, source rand.Source) *fakeStore {
	store, delays := newFakeStore(), rand.New(source)
	store.delay = func() time.Duration {
		store.mu.Lock()
		defer store.mu.Unlock()
		return time.Duration(delays.IntN(slowest)) * time.Millisecond
	}
	return store
}

// wantTold looks whether the host has told the store of all that a key was charged.
func (n *node) wantTold(t *testing.T, host int, key uint64) {
	t.Helper()
	if slot := n.table.find(key); slot != nil {
		if u := &n.untold[n.table.index(slot)]; u.taken.Load() != 0 || u.charged.Load() != 0 {
			t.Errorf("host %d has not told of %d and %d", host, u.taken.Load(), u.charged.Load())
		}
	}
}

// TestSharedWithinBound: however hosts are asked and however slow the store is, between any two moments the fleet gives the burst, what has come
// in between, and one lease for each host at the most. Nor does it give much less, if it is asked for more.
func TestSharedWithinBound(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if os.Getenv("SLUICE_SOAK") != "" {
		seeds = 500
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 9))
			w := Window{Text: "w", Count: 1 + random.IntN(2000), Per: time.Second, Burst: 1 + random.IntN(500), By: byIP()}
			if random.IntN(2) == 0 {
				w.Per = time.Minute
			}
			store := newSlowStore(1+random.IntN(60), rand.NewPCG(seed, 10))
			count := 1 + random.IntN(6)
			nodes, stop := newNodes(t, count, store, DownLocal, w)
			defer stop()
			if err := w.measure(); err != nil {
				t.Fatal(err)
			}
			given, lease := newHistory(&w), int64(w.Lease())
			cost := min(int64(1+random.IntN(3)), int64(w.Burst))
			for range 2000 {
				switch random.IntN(3) {
				case 0:
					time.Sleep(time.Duration(random.Int64N(2*w.interval + 1)))
				case 1:
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
				}
				if random.IntN(500) == 0 {
					time.Sleep(time.Duration(random.Int64N(2 * w.interval * int64(w.Burst)))) // it fills up
				}
				for range 1 + random.IntN(4) {
					if now := wire.Now(); nodes[random.IntN(count)].Take(2, cost, now).OK {
						given.add(cost, now)
					}
				}
			}
			if over, most := given.over(), int64(count)*max(lease, cost); over > most {
				t.Errorf("%+v, %d hosts, cost %d: %d more than the limit, want %d at most", w, count, cost, over, most)
			}
			// What is left untold is told, and nothing else: the store has charged what was given.
			time.Sleep(3 * time.Second)
			for i, n := range nodes {
				n.wantTold(t, i, 2)
				if !n.fleet.Up() {
					t.Errorf("host %d has lost the store", i)
				}
			}
		})
	}
}

// TestSharedSteady: a fleet that is asked for more than the limit gives the limit, however the requests are spread.
func TestSharedSteady(t *testing.T) {
	t.Parallel()
	f := func(w Window, hosts int, rate float64, delay time.Duration, spread func(i int) int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w.By = byIP()
			store := newFakeStore()
			store.delay = func() time.Duration { return delay }
			nodes, stop := newNodes(t, hosts, store, DownLocal, w)
			defer stop()
			given, since := 0, time.Now()
			for i := range 14_000 {
				time.Sleep(time.Duration(float64(time.Second) / rate))
				if i == 6000 {
					since, given = time.Now(), 0 // the burst is gone
				}
				if nodes[spread(i)].Take(2, 1, wire.Now()).OK {
					given++
				}
			}
			want := time.Since(since).Seconds() * float64(w.Count) / w.Per.Seconds()
			if off := math.Abs(float64(given) - want); off > max(0.05*want, 1) {
				t.Errorf("%+v on %d hosts, with %v: %d were given, want %.0f", w, hosts, delay, given, want)
			}
		})
	}
	even := func(n int) func(int) int { return func(i int) int { return i % n } }
	uneven := func(i int) int { return max(i%10-6, 0) } // 70 % on one, a tenth on each of three others
	moving := func(i int) int { return i / 500 % 4 }
	f(window(1000, time.Second, 1000, nil), 4, 2000, time.Millisecond, even(4))
	f(window(1000, time.Second, 1000, nil), 4, 2000, 50*time.Millisecond, even(4))
	f(window(1000, time.Second, 1000, nil), 4, 2000, time.Millisecond, uneven)
	f(window(1000, time.Second, 100, nil), 4, 1200, time.Millisecond, uneven)
	f(window(1000, time.Second, 100, nil), 4, 2000, time.Millisecond, moving)
	f(window(100, time.Second, 5, nil), 4, 500, time.Millisecond, even(4))
	f(window(50, time.Second, 1, nil), 2, 500, time.Millisecond, even(2))
	f(window(600, time.Minute, 10, nil), 8, 100, 10*time.Millisecond, even(8))
}

// TestSharedNotStarved: what a host does not use is nobody's: who is asked on one host alone has the whole burst and the whole rate there at
// once, whatever others have been asked before.
func TestSharedNotStarved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := window(100, time.Second, 100, byIP())
		nodes, stop := newNodes(t, 4, newFakeStore(), DownLocal, w)
		defer stop()
		for _, n := range nodes {
			if !n.Take(2, 1, wire.Now()).OK {
				t.Fatal("a host does not give its first token")
			}
		}
		time.Sleep(time.Second) // all is back
		for i := range 100 {
			time.Sleep(time.Millisecond)
			if v := nodes[0].Take(2, 1, wire.Now()); !v.OK {
				t.Fatalf("after %d of a burst of 100: %+v", i, v)
			}
		}
	})
}

// TestSharedStoreAway: while the store is away, each host applies the limit by itself, from what it knows on. When it is back, and be it empty,
// the fleet goes on together at once, and nobody gets another burst.
func TestSharedStoreAway(t *testing.T) {
	t.Parallel()
	f := func(name string, away func(s *fakeStore), back func(s *fakeStore)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const hosts = 4
			w := window(200, time.Second, 200, byIP())
			store := newFakeStore()
			nodes, stop := newNodes(t, hosts, store, DownLocal, w)
			defer stop()
			if err := w.measure(); err != nil {
				t.Fatal(err)
			}
			// ask lets 1,600 requests a second come and says how many of them are let in for each second.
			ask := func(d time.Duration) float64 {
				given, began := 0, time.Now()
				for i := 0; time.Since(began) < d; i++ {
					time.Sleep(625 * time.Microsecond)
					if nodes[i%hosts].Take(2, 1, wire.Now()).OK {
						given++
					}
				}
				return float64(given) / time.Since(began).Seconds()
			}
			within := func(when string, got, least, most float64) {
				t.Helper()
				if got < least || got > most {
					t.Errorf("%s: %s: %.0f in a second, want %.0f to %.0f", name, when, got, least, most)
				}
			}
			ask(3 * time.Second)
			within("together", ask(2*time.Second), 194, 206)
			store.set(func() { away(store) })
			ask(500 * time.Millisecond)
			for i, n := range nodes {
				if n.fleet.Up() {
					t.Errorf("%s: host %d has not noticed within 500 ms", name, i)
				}
			}
			within("each by itself", ask(2*time.Second), hosts*194, hosts*206)
			store.set(func() { back(store) })
			// Each may be by itself for a moment, and what they gave meanwhile is not forgotten.
			within("as the store comes back", ask(2*time.Second), 194, 200+(hosts-1)*200*0.3/2)
			within("together again", ask(2*time.Second), 194, 206)
			for i, n := range nodes {
				if !n.fleet.Up() {
					t.Errorf("%s: host %d has not noticed that the store is back", name, i)
				}
			}
		})
	}
	f("errors", func(s *fakeStore) { s.away = true }, func(s *fakeStore) { s.away = false })
	f("a restart", func(s *fakeStore) { s.away = true }, func(s *fakeStore) { s.away, s.full = false, map[uint64]int64{} })
	f("silence", func(s *fakeStore) { s.swallow = true }, func(s *fakeStore) { s.swallow = false })
	f("too slow", func(s *fakeStore) { s.delay = func() time.Duration { return time.Second } }, func(s *fakeStore) { s.delay = nil })
	f("below 0", func(s *fakeStore) { s.answer = func(e *Entry) { e.Full = -1 } }, func(s *fakeStore) { s.answer = nil })
	f("for ever", func(s *fakeStore) { s.answer = func(e *Entry) { e.Full = math.MaxInt64 } }, func(s *fakeStore) { s.answer = nil })
	f("too much", func(s *fakeStore) { s.answer = func(e *Entry) { e.Full = e.Most() + 1e9 } }, func(s *fakeStore) { s.answer = nil })
}

// TestSharedLost: a store that has lost everything and was never away, as far as anybody could tell, is told what the hosts know.
func TestSharedLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := window(1, time.Minute, 20, byIP())
		store := newFakeStore()
		nodes, stop := newNodes(t, 4, store, DownLocal, w)
		defer stop()
		given := 0
		ask := func() {
			for i := range 400 {
				time.Sleep(2 * time.Millisecond)
				if nodes[i%4].Take(2, 1, wire.Now()).OK {
					given++
				}
			}
		}
		ask()
		if given < 20 || given > 20+4*5 {
			t.Errorf("%d were given, of 20 and four leases of 5", given)
		}
		time.Sleep(5 * time.Second)
		store.set(func() { clear(store.full) })
		time.Sleep(time.Second) // refused clients ask again what has become of them
		given = 0
		ask()
		if given != 0 {
			t.Errorf("an empty store gives %d", given)
		}
	})
}

// TestSharedDown: what becomes of requests is what the policy says, and nothing waits.
func TestSharedDown(t *testing.T) {
	t.Parallel()
	f := func(down IfDown, want ...error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			store := newFakeStore()
			store.swallow = true
			n := newNode(t, store, down, window(1, time.Hour, 2, byIP()), 10)
			time.Sleep(time.Second)
			began := time.Now()
			for i, err := range want {
				x := request(wire.Now(), "192.0.2.1")
				if got := n.guard.Check(x); !errors.Is(got, err) || (got == nil) != (err == nil) {
					t.Errorf("%v: request %d: got %v, want %v", down, i, got, err)
				}
				x.Release()
			}
			if time.Since(began) > 0 {
				t.Errorf("%v: requests have waited for %v", down, time.Since(began))
			}
			if n.back.Load() != uint64(len(want)) || n.held.Load() != 0 {
				t.Errorf("%v: %d fallbacks and %d held", down, n.back.Load(), n.held.Load())
			}
			s := n.fleet.Status()
			if s.Up || s.Failed == 0 || s.Failed != s.Calls || s.Problem == "" {
				t.Errorf("%v: got %+v", down, s)
			}
			n.fleet.Stop()
			store.set(func() {
				if !store.closed {
					t.Error("the store is open")
				}
			})
		})
	}
	f(DownLocal, nil, nil, ErrRateLimited, ErrRateLimited)
	f(DownAllow, nil, nil, nil, nil)
	f(DownDeny, ErrStoreDown, ErrStoreDown)
}

// TestSharedOver: a store that is not used any more is not down: who has waited since then, in a policy before, has the limit as this host knows
// it. One that was down stays so.
func TestSharedOver(t *testing.T) {
	t.Parallel()
	f := func(down IfDown, away bool, want ...error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			store := newFakeStore()
			store.away = away
			n := newNode(t, store, down, window(3, time.Hour, 3, byIP()), 10)
			n.fleet.Prepare()
			if n.fleet.Up() == away {
				t.Fatalf("it is up: %v", !away)
			}
			n.Take(n.rates.plain[0].hash(request(0, "192.0.2.1"), &n.rates.table.seed), 1, wire.Now())
			store.set(func() { store.swallow = !away }) // what is asked then has no answer
			time.Sleep(2 * roundEvery)
			n.fleet.Stop()
			for i, w := range want {
				x := request(wire.Now(), "192.0.2.1")
				if err := n.guard.Check(x); err != w {
					t.Errorf("%v, away: %v: request %d: got %v, want %v", down, away, i, err, w)
				}
				x.Release()
			}
			if n.fleet.Status().Up {
				t.Error("it is up")
			}
		})
	}
	for _, down := range []IfDown{DownLocal, DownAllow, DownDeny} {
		f(down, false, nil, nil, ErrRateLimited, ErrRateLimited)
	}
	f(DownLocal, true, nil, nil, ErrRateLimited)
	f(DownAllow, true, nil, nil, nil)
	f(DownDeny, true, ErrStoreDown)
}

// TestSharedCharges: what responses cost, and what was given back, counts on all hosts; a reset is heard of within newsEvery.
func TestSharedCharges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := window(10, time.Minute, 10, byIP())
		store := newFakeStore()
		nodes, stop := newNodes(t, 3, store, DownLocal, w)
		defer stop()
		a, b, c := nodes[0], nodes[1], nodes[2]
		// left is how many tokens a host would give a key that it has heard of.
		left := func(n *node) int {
			t.Helper()
			full := n.Look(2, 0, wire.Now()).Full
			return n.rates.options.Windows[0].tokens(full)
		}
		settled := func() { time.Sleep(20 * time.Millisecond) }
		a.Take(2, 1, wire.Now())
		a.Charge(2, 5, wire.Now())
		settled()
		b.Take(2, 1, wire.Now())
		settled()
		if got := left(b); got != 3 {
			t.Errorf("the other host has %d left of 10, want 3", got)
		}
		b.Charge(2, -4, wire.Now())
		settled()
		a.Take(2, 1, wire.Now())
		settled()
		if got := left(a); got != 6 {
			t.Errorf("%d left, want 6", got)
		}
		// More than a burst is not charged for one response, and nobody waits for more than two.
		a.Charge(2, 1_000_000, wire.Now())
		a.Charge(2, 1_000_000, wire.Now())
		a.Charge(2, 1_000_000, wire.Now())
		settled()
		if v := a.Look(2, 0, wire.Now()); v.Full > int64(2*time.Minute) || v.Full < int64(2*time.Minute-time.Second) {
			t.Errorf("full in %v", time.Duration(v.Full))
		}
		c.Take(2, 1, wire.Now())
		settled()
		if c.Take(2, 1, wire.Now()).OK {
			t.Error("a host gives what another one has been charged for")
		}
		if err := a.rates.reset(0, 2); err != nil {
			t.Fatal(err)
		}
		if !a.Take(2, 1, wire.Now()).OK {
			t.Error("the reset key is refused")
		}
		time.Sleep(time.Duration(newsEvery))
		c.Look(2, 1, wire.Now()) // is refused, and asks
		settled()
		if v := c.Take(2, 1, wire.Now()); !v.OK {
			t.Errorf("another host has not heard of the reset: %+v", v)
		}
		if err := a.rates.reset(0, 6); err != ErrUnknownKey {
			t.Errorf("a key that nobody knows: %v", err)
		}
		// One that only other hosts know is none that nobody knows.
		b.Take(10, 1, wire.Now())
		settled()
		if err := a.rates.reset(0, 10); err != nil {
			t.Errorf("a key of another host: %v", err)
		}
		store.set(func() { store.away = true })
		if err := a.rates.reset(0, 2); !errors.Is(err, ErrStoreAway) {
			t.Errorf("without the store: %v", err)
		}
	})
}

// TestSharedBatches: more keys than a batch holds are all settled, in turn, and never by more than one call at a time.
func TestSharedBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.delay = func() time.Duration { return time.Millisecond }
		largest := 0
		store.judge = func(list []Entry) { largest = max(largest, len(list)) }
		nodes, stop := newNodes(t, 1, store, DownLocal, window(10, time.Minute, 10, byIP()))
		defer stop()
		const keys = 900
		for k := range uint64(keys) {
			if !nodes[0].Take(clean(k<<32|k), 1, wire.Now()).OK {
				t.Fatalf("key %d is refused", k)
			}
		}
		time.Sleep(time.Second)
		store.set(func() {
			if len(store.full) != keys || largest != batchMax {
				t.Errorf("%d keys are known, in batches of %d", len(store.full), largest)
			}
		})
		if s := nodes[0].fleet.Status(); s.Settled != keys || s.PutOff != keys/batchMax {
			t.Errorf("got %+v", s)
		}
	})
}

// TestSharedEvicted: keys that are idle make room for others as they do without a store, and what was taken is charged to nobody else.
func TestSharedEvicted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.delay = func() time.Duration { return 20 * time.Millisecond } // buckets are full by then
		n := newNode(t, store, DownLocal, window(1000, time.Second, 10, byIP()), 8)
		time.Sleep(time.Second)
		taken := map[uint64]int64{}
		store.set(func() {
			store.judge = func(list []Entry) {
				for _, e := range list {
					taken[e.Key] += e.taken + e.charged
				}
			}
		})
		random := rand.New(rand.NewPCG(1, 1))
		given := map[uint64]int64{}
		sum := int64(0)
		for i := range 6000 {
			k := clean(random.Uint64())
			if i%2 == 0 { // what a response costs
				n.Charge(k, 1, wire.Now())
				given[k]++
				sum++
			} else if n.Take(k, 1, wire.Now()).OK {
				given[k]++
				sum++
			}
			if i%3 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		n.fleet.Stop()
		c := n.rates.Counts()
		if c.Evicted == 0 {
			t.Error("nothing has made room")
		}
		for k, n := range taken {
			if n > given[k] {
				t.Errorf("a key is charged with %d, of %d", n, given[k])
			}
			sum -= n
		}
		if sum != int64(c.Overflow) {
			t.Errorf("%d are charged to nobody, and %d keys found no place", sum, c.Overflow)
		}
	})
}

// TestSharedKeys: hosts with a secret in common know the same keys, and others do not.
func TestSharedKeys(t *testing.T) {
	key := func(secret, text string) uint64 {
		o := options(window(1, time.Second, 1, byIP()))
		o.Across = &Across{Fleet: NewFleet(FleetOptions{Store: newFakeStore()}), Seed: Seed([]byte(secret), text)}
		r := mustRates(t, o)
		return r.plain[0].hash(request(start, "192.0.2.1"), &r.table.seed)
	}
	if key("s", "a") != key("s", "a") || key("s", "a") == key("t", "a") || key("s", "a") == key("s", "b") {
		t.Error("keys are not what hosts have in common")
	}
}

// TestSharedSlotReused: what the store was to be told of a key is not told of the one that has come into its place, with the numbers of
// another window.
func TestSharedSlotReused(t *testing.T) {
	f := NewFleet(FleetOptions{Name: "redis", Timeout: 2 * time.Second, Idle: true})
	o := options(window(20, time.Second, 20, byIP()), window(1000, 24*time.Hour, 1000, byIP()))
	o.Keys = 1
	o.Across = &Across{Name: "fair", Fleet: f, Seed: Seed(nil, "fair"), Fallbacks: new(counter), Held: new(counter)}
	r := mustRates(t, o)
	f.Join(r)
	second, day := r.tokens[0].(*Shared), r.tokens[1].(*Shared)
	now := wire.Now()
	take := func(s *Shared, from uint64) {
		for i := range uint64(64) {
			s.Take(clean((from+i)<<40), 1, now)
		}
	}
	take(second, 1)
	now += int64(3 * time.Second) // an answer may take 2: nothing has made room yet
	take(day, 1000)
	if n := day.table.live(uint64(now)); n != 0 {
		t.Errorf("%d places were given away while the store may still be told of them", n)
	}
	now += int64(3 * time.Second)
	take(day, 1000)
	if n := day.table.live(uint64(now)); n == 0 {
		t.Fatal("the day has no place of the second")
	}
	f.collect(now)
	if len(f.batch) == 0 {
		t.Fatal("the store is told nothing")
	}
	for i := range f.batch {
		if e := &f.batch[i]; e.shared != day || e.Burst != day.burst || e.Key>>40 < 1000 {
			t.Errorf("the store is told of %x that a burst of it takes %v", e.Key, time.Duration(e.Burst))
		}
	}
}
