package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// ward answers checks as a test says, and notes when they came.
type ward struct {
	mu    sync.Mutex
	ill   map[string]bool
	asked map[string][]time.Time
	takes time.Duration
	bug   func(name string) error // is asked first, if there is one
}

func (w *ward) ask(life context.Context, e *endpoint) error {
	w.mu.Lock()
	w.asked[e.name] = append(w.asked[e.name], time.Now())
	ill, takes, bug := w.ill[e.name], w.takes, w.bug
	w.mu.Unlock()
	if bug != nil {
		if err := bug(e.name); err != nil {
			return err
		}
	}
	if takes > 0 && !sleep(life, takes) {
		return errors.New("stopped")
	}
	if ill {
		return errors.New("it is ill")
	}
	return nil
}

func (w *ward) set(name string, ill bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ill[name] = ill
}

const (
	healthEvery  = 5 * time.Second
	healthPeriod = healthEvery + healthEvery/10 // the longest from check to check
)

// healthService is a service whose endpoints w answers for.
func healthService(w *ward, resolver Resolver, targets ...string) *Service {
	w.ill, w.asked = make(map[string]bool), make(map[string][]time.Time)
	o := Options{
		Name: "test", IdleFor: time.Minute, Resolver: resolver,
		Health: Health{Kind: HealthHTTP, Path: "/", Every: healthEvery, Timeout: time.Second, HealthyAfter: 2, UnhealthyAfter: 3},
	}
	for _, address := range targets {
		o.Targets = append(o.Targets, target(address))
	}
	return newService(o, w.ask)
}

// chosen are the endpoints that requests go to, and after "|" those that are healthy though unchecked.
func chosen(s *Service) string {
	var names []string
	for _, e := range s.set.Load().endpoints {
		names = append(names, strings.TrimSuffix(e.name, ":80"))
	}
	return strings.Join(names, " ")
}

// TestHealthRows: an endpoint leaves after as many failures in a row as it takes, and comes back after as many successes.
func TestHealthRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w ward
		s := healthService(&w, nil, "192.0.2.1:80", "192.0.2.2:80")
		defer s.Retire()
		const a, b = "192.0.2.1:80", "192.0.2.2:80"
		want := func(names string) {
			t.Helper()
			synctest.Wait()
			if got := chosen(s); got != names {
				t.Fatalf("requests go to %q, want %q", got, names)
			}
		}
		// checks waits until b was checked n times more, and what that changes has been done.
		checks := func(n int) {
			t.Helper()
			w.mu.Lock()
			until := len(w.asked[b]) + n
			w.mu.Unlock()
			for {
				w.mu.Lock()
				done := len(w.asked[b]) >= until
				w.mu.Unlock()
				if done {
					break
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(2 * republishEvery)
		}
		want("192.0.2.1 192.0.2.2") // before any check
		checks(1)
		want("192.0.2.1 192.0.2.2")
		w.set(b, true)
		checks(2)
		want("192.0.2.1 192.0.2.2")
		checks(1)
		want("192.0.2.1")
		// Flapping is no recovery.
		for range 10 {
			w.set(b, false)
			checks(1)
			want("192.0.2.1")
			w.set(b, true)
			checks(1)
			want("192.0.2.1")
		}
		w.set(b, false)
		checks(2)
		want("192.0.2.1 192.0.2.2")
		// Nor is it illness.
		for range 10 {
			w.set(b, true)
			checks(2)
			w.set(b, false)
			checks(1)
			want("192.0.2.1 192.0.2.2")
		}
		// If none is healthy, all are asked.
		w.set(a, true)
		w.set(b, true)
		time.Sleep(4 * healthPeriod)
		want("192.0.2.1 192.0.2.2")
		if st := s.Status(); st.Endpoints[0].Health != "unhealthy" || st.Endpoints[0].Reason != "it is ill" || st.Endpoints[1].Health != "unhealthy" {
			t.Errorf("%+v", st)
		}
		w.set(b, false)
		time.Sleep(3 * healthPeriod)
		want("192.0.2.2")
		w.set(a, false)
		time.Sleep(3 * healthPeriod)
		want("192.0.2.1 192.0.2.2")
		if st := s.Status().Endpoints[1]; st.Health != "healthy" || st.Reason != "" || st.Changes != 4 || st.Passed == 0 || st.Failed == 0 {
			t.Errorf("%+v", st)
		}
	})
}

// brokenError is an error that nobody can read, for a bug.
type brokenError struct{ error }

// TestHealthCaught: after a bug in a check, or in what is made of its result, the next check comes in its time.
func TestHealthCaught(t *testing.T) {
	f := func(bug func() error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var w ward
			s := healthService(&w, nil, "192.0.2.1:80", "192.0.2.2:80")
			defer s.Retire()
			before := proxy.Panics.Load()
			var bugs atomic.Uint64
			w.mu.Lock()
			w.bug = func(name string) error {
				if name != "192.0.2.1:80" || bugs.Load() == 3 {
					return nil
				}
				bugs.Add(1)
				return bug()
			}
			w.mu.Unlock()
			time.Sleep(firstCheck + 2*healthPeriod)
			synctest.Wait()
			if n := proxy.Panics.Load() - before; n != 3 || bugs.Load() != 3 || len(s.checking) != 0 {
				t.Errorf("%d bugs were counted, of %d, and %d checks are under way", n, bugs.Load(), len(s.checking))
			}
			w.set("192.0.2.1:80", true)
			time.Sleep(4 * healthPeriod)
			synctest.Wait()
			if got := chosen(s); got != "192.0.2.2" {
				t.Errorf("requests go to %q", got)
			}
		})
	}
	f(func() error { panic("a bug of the test in a check") })
	f(func() error { return brokenError{} })
}

// TestHealthFirst: a new endpoint gets requests at once, and its first check decides.
func TestHealthFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w ward
		s := healthService(&w, nil, "192.0.2.1:80", "192.0.2.2:80")
		defer s.Retire()
		w.set("192.0.2.2:80", true)
		if got := s.Status().Endpoints[1].Health; got != "unchecked" {
			t.Errorf("before its first check an endpoint is %s", got)
		}
		time.Sleep(firstCheck + 2*republishEvery)
		synctest.Wait()
		if got := chosen(s); got != "192.0.2.1" {
			t.Errorf("requests go to %q", got)
		}
	})
}

// TestHealthSchedule: checks come in time, not in step, and never two of one endpoint at once.
func TestHealthSchedule(t *testing.T) {
	f := func(takes time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var w ward
			var targets []string
			for i := range 200 {
				targets = append(targets, fmt.Sprintf("192.0.2.%d:80", i+1))
			}
			w.takes = takes
			s := healthService(&w, nil, targets...)
			time.Sleep(10 * time.Minute)
			s.Retire()
			moments := make(map[time.Time]bool)
			for name, asked := range w.asked {
				for i := 1; i < len(asked); i++ {
					moments[asked[i]] = true
					apart := asked[i].Sub(asked[i-1])
					// When many take their time, some wait for others.
					if apart < max(healthEvery-healthEvery/10, takes) || takes < time.Second && apart > healthPeriod+4*takes {
						t.Fatalf("%s was checked after %s", name, apart)
					}
				}
				if takes < time.Second && len(asked) < 100 {
					t.Errorf("%s was checked %d times", name, len(asked))
				}
			}
			if takes == 0 && len(moments) < 1000 {
				t.Errorf("there were only %d moments at which something was checked", len(moments))
			}
		})
	}
	f(0)
	f(100 * time.Millisecond)
	f(20 * time.Second)
}

// TestHealthResolved: addresses that come are checked, those that go are not any more, and those that stay keep what is known.
func TestHealthResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scriptedResolver{answers: []answer{
			{addresses: "192.0.2.1 192.0.2.2", ttl: time.Minute}, {addresses: "192.0.2.2 192.0.2.3", ttl: time.Minute},
			{addresses: "192.0.2.1 192.0.2.2 192.0.2.3", ttl: time.Hour},
		}}
		var w ward
		s := healthService(&w, r, "name.example:80")
		w.set("192.0.2.2:80", true)
		w.set("192.0.2.3:80", true)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if got := chosen(s); got != "192.0.2.1" {
			t.Fatalf("at first requests go to %q", got)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if got := chosen(s); got != "192.0.2.3" { // new, and not known to be ill; 192.0.2.2 is
			t.Fatalf("at the change requests go to %q", got)
		}
		w.mu.Lock()
		before := len(w.asked["192.0.2.1:80"])
		w.mu.Unlock()
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if got := chosen(s); got != "192.0.2.2 192.0.2.3" { // none is healthy
			t.Fatalf("then requests go to %q", got)
		}
		w.mu.Lock()
		if after := len(w.asked["192.0.2.1:80"]); after != before || before == 0 {
			t.Errorf("an address that is gone was checked %d times, then %d", before, after)
		}
		w.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := chosen(s); got != "192.0.2.1" {
			t.Fatalf("when the address is back, requests go to %q", got)
		}
		s.Retire()
		w.mu.Lock()
		asked := len(w.asked["192.0.2.2:80"])
		w.mu.Unlock()
		time.Sleep(24 * time.Hour)
		if w.mu.Lock(); len(w.asked["192.0.2.2:80"]) != asked {
			t.Error("a retired service is still checked")
		}
		w.mu.Unlock()
	})
}

// TestHealthStops: a service that is retired does not wait for the checks that are under way.
func TestHealthStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ward{takes: time.Hour}
		s := healthService(&w, nil, "192.0.2.1:80", "192.0.2.2:80")
		time.Sleep(time.Minute)
		began := time.Now()
		s.Retire()
		if took := time.Since(began); took > time.Second {
			t.Errorf("that took %s", took)
		}
		if st := s.Status().Endpoints[0]; st.Failed+st.Passed != 0 {
			t.Errorf("a check that was stopped counts: %+v", st)
		}
	})
}

// TestHealthBalance: what is left is balanced as if it were all there is, whatever the balancer, without an allocation.
func TestHealthBalance(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	x.Started = wire.Now()
	for _, b := range []Balance{RoundRobin, LeastRequest, Hash} {
		s := bareService(b, 1, 1, 1, 1)
		all := s.set.Load().endpoints
		f := func(want string, sick ...int) {
			t.Helper()
			for i, e := range all {
				e.checks.sick.Store(false)
				for _, n := range sick {
					if i == n {
						e.checks.sick.Store(true)
					}
				}
			}
			s.update.Lock()
			s.publish(all)
			s.update.Unlock()
			counts := make(map[string]int)
			for n := range 4000 {
				x.Client.Text = fmt.Appendf(nil, "192.0.2.%d", n)
				counts[s.pick(x, nil).name]++
			}
			got := ""
			for _, e := range all {
				if n := counts[e.name]; n > 4000/len(want)/2 && n < 4000/len(want)*2 {
					got += e.name
				} else if n > 0 {
					t.Errorf("%d: %s got %d of 4000", b, e.name, n)
				}
			}
			if got != want {
				t.Errorf("%d: requests went to %q, want %q", b, got, want)
			}
			if n := testing.AllocsPerRun(1000, func() { s.pick(x, nil) }); n != 0 {
				t.Errorf("%d: choosing allocates %v times", b, n)
			}
		}
		f("abcd")
		f("acd", 1)
		f("d", 0, 1, 2)
		f("abcd", 0, 1, 2, 3)
	}
}
