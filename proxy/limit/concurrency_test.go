package limit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/proxy"
)

func mustSlots(t testing.TB, keys int, ceilings ...Ceiling) (*Slots, *Concurrency) {
	t.Helper()
	s, err := NewSlots(SlotOptions{Name: "few", Ceilings: ceilings, Keys: keys, Allowed: new(counter), Refused: new(counter)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Guard(route(t, "/items/{tenant}"))
	if err != nil {
		t.Fatal(err)
	}
	return s, g
}

func TestConcurrency(t *testing.T) {
	s, g := mustSlots(t, 100, Ceiling{Text: "3", Max: 3}, Ceiling{Text: "2 per ip", Max: 2, By: byIP()})
	var open []*proxy.Exchange
	f := func(from string, ok bool) {
		t.Helper()
		x := request(start, from)
		err := g.Check(x)
		if (err == nil) != ok {
			t.Errorf("%s: got %v, let in %v is wanted", from, err, ok)
		}
		if err == nil {
			open = append(open, x)
			return
		}
		if err != ErrConcurrency {
			t.Errorf("refused with %v", err)
		}
		x.Finish() // a request that was refused has nothing to give back
		x.Release()
	}
	end := func(i int) {
		open[i].Finish()
		open[i].Release()
		open = append(open[:i], open[i+1:]...)
	}
	f("192.0.2.1", true)
	f("192.0.2.1", true)
	f("192.0.2.1", false)
	f("192.0.2.2", true)
	f("192.0.2.3", false) // three are under way in all
	end(0)
	f("192.0.2.1", true)
	f("192.0.2.1", false)
	if c := s.Counts(); c.Live != 3 {
		t.Errorf("%d keys are live, want 3: two addresses, and all requests", c.Live)
	}
	for len(open) > 0 {
		end(len(open) - 1)
	}
	if c := s.Counts(); c.Live != 0 {
		t.Errorf("%d keys are live, and nothing is under way", c.Live)
	}
	if s.options.Allowed.(*counter).Load() != 4 || s.options.Refused.(*counter).Load() != 3 {
		t.Errorf("%d allowed, %d refused are counted", s.options.Allowed.(*counter).Load(), s.options.Refused.(*counter).Load())
	}
}

// TestConcurrencyTogether: however requests come and go, while keys take the places of others, no key has more under way than it may, and
// none is left with something when all are over. Where there is so little room that keys share the bucket of those without a place,
// they have that on top.
func TestConcurrencyTogether(t *testing.T) {
	const most, goroutines = 3, 8
	f := func(keys, clients int, spills bool) {
		t.Helper()
		s, g := mustSlots(t, keys, Ceiling{Text: "3 per ip", Max: most, By: byIP()})
		limit := int64(most)
		if spills {
			limit *= 2
		}
		underWay := make([]atomic.Int64, clients)
		var all sync.WaitGroup
		for n := range goroutines {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(n), 1))
				var open []*proxy.Exchange
				var whose []int
				end := func(i int) {
					underWay[whose[i]].Add(-1)
					open[i].Finish()
					open[i].Release()
					open, whose = append(open[:i], open[i+1:]...), append(whose[:i], whose[i+1:]...)
				}
				for range 5000 {
					client := random.IntN(clients)
					if random.IntN(2) == 0 {
						client %= 4 // some come all the time
					}
					x := request(start, fmt.Sprintf("192.0.%d.%d", client/256, client%256))
					if g.Check(x) != nil {
						x.Release()
					} else {
						if now := underWay[client].Add(1); now > limit {
							t.Errorf("%d are under way of one client, in a table for %d keys", now, keys)
						}
						open, whose = append(open, x), append(whose, client)
					}
					if len(open) > 2 {
						end(random.IntN(len(open)))
					}
				}
				for len(open) > 0 {
					end(0)
				}
			})
		}
		all.Wait()
		c := s.Counts()
		if c.Live != 0 || c.Evicted == 0 || s.spill[0].Load() != 0 {
			t.Errorf("%+v, %d spilled, and nothing is under way", c, s.spill[0].Load())
		}
		if c.Overflow > 0 && !spills {
			t.Errorf("a table for %d keys has overflowed %d times", keys, c.Overflow)
		}
	}
	f(500, 20_000, false)
	f(4, 60, true)
}

// TestConcurrencySpills: keys that find no place share what one may have.
func TestConcurrencySpills(t *testing.T) {
	s, g := mustSlots(t, 4, Ceiling{Text: "2 per ip", Max: 2, By: byIP()})
	admitted := 0
	for i := range 200 {
		if g.Check(request(start, fmt.Sprintf("10.0.0.%d", i))) == nil {
			admitted++
		}
	}
	if slots := len(s.table.lines) * lineSlots; admitted > slots+2 || admitted < 4 {
		t.Errorf("%d are under way, and there are %d slots", admitted, slots)
	}
	if c := s.Counts(); c.Overflow == 0 || c.Evicted != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestSlots_bad(t *testing.T) {
	f := func(want string, ceilings ...Ceiling) {
		t.Helper()
		s, err := NewSlots(SlotOptions{Ceilings: ceilings, Keys: 10})
		if err == nil {
			_, err = s.Guard(route(t, "/a"))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("between 1 and 8")
	f("no number of requests", Ceiling{Text: "0"})
	f("no number of requests", Ceiling{Text: "-1", Max: -1})
	f("no parameter", Ceiling{Text: "1", Max: 1, By: Key{{Source: "path", Name: "x"}}})
}

func TestSlotsStatus(t *testing.T) {
	s, g := mustSlots(t, 100, Ceiling{Text: "2 per ip", Max: 2, By: byIP()})
	for range 3 {
		_ = g.Check(request(start, "192.0.2.1"))
	}
	st := s.Status()
	if st.Kind != "concurrency" || len(st.Keys) != 1 || st.Keys[0].Key != "192.0.2.1" || st.Keys[0].Left != 0 || st.Keys[0].Refused != 1 {
		t.Errorf("got %+v", st)
	}
	want := "[2 per ip at the same time, counted as 192.0.2.9]"
	if got := fmt.Sprint(g.Explain(request(start, "192.0.2.9"))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestConcurrencyInGRPC: a call is told the same, whoever is to blame.
func TestConcurrencyInGRPC(t *testing.T) {
	for _, err := range []*proxy.Error{ErrConcurrency, ErrClientConcurrency, ErrRateLimited} {
		if err.GRPCStatus() != proxy.GRPCResourceExhausted {
			t.Errorf("%s with %d is told as %d", err.Code, err.Status, err.GRPCStatus())
		}
	}
}
