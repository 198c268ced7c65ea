package upstream

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

// scriptedResolver answers from a list, the last entry for ever, and notes when it was asked.
type scriptedResolver struct {
	mu      sync.Mutex
	answers []answer
	asked   []time.Time
}

type answer struct {
	addresses string // separated by spaces; "!" is a failure, and "?" a bug
	ttl       time.Duration
	takes     time.Duration
}

func (r *scriptedResolver) Lookup(ctx context.Context, _ string) ([]netip.Addr, time.Duration, error) {
	r.mu.Lock()
	r.asked = append(r.asked, time.Now())
	a := r.answers[0]
	if len(r.answers) > 1 {
		r.answers = r.answers[1:]
	}
	r.mu.Unlock()
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	switch a.addresses {
	case "!":
		return nil, 0, errors.New("SERVFAIL")
	case "?":
		panic("a bug of the test in a resolver")
	}
	return parseAddrs(strings.Fields(a.addresses)...), a.ttl, nil
}

// TestResolveAgain looks a name up when its answer has expired, neither sooner nor later, and keeps what was good.
func TestResolveAgain(t *testing.T) {
	// A step is how long to wait and what the endpoints are then.
	type step struct {
		wait time.Duration
		want string
	}
	f := func(answers []answer, steps ...step) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{
				Name: "test", Targets: []Target{target("name.example:80")}, IdleFor: time.Minute, Resolver: &scriptedResolver{answers: answers},
			})
			defer s.Retire()
			for i, step := range steps {
				time.Sleep(step.wait)
				synctest.Wait()
				if got := strings.ReplaceAll(strings.Join(s.addresses(), " "), ":80", ""); got != step.want {
					t.Fatalf("step %d: got %q, want %q", i, got, step.want)
				}
			}
		})
	}
	const tick = time.Millisecond
	a, b := answer{addresses: "192.0.2.1", ttl: 10 * time.Second}, answer{addresses: "192.0.2.2", ttl: 10 * time.Second}
	failed := answer{addresses: "!"}
	f([]answer{a, b}, step{0, "192.0.2.1"}, step{10*time.Second - tick, "192.0.2.1"}, step{tick, "192.0.2.2"})
	// TTLs are honoured within bounds.
	f([]answer{{addresses: "192.0.2.1"}, b}, step{0, "192.0.2.1"}, step{ttlMin - tick, "192.0.2.1"}, step{tick, "192.0.2.2"})
	f([]answer{{addresses: "192.0.2.1", ttl: 48 * time.Hour}, b}, step{ttlMax - tick, "192.0.2.1"}, step{tick, "192.0.2.2"})
	// Failures and empty answers keep the last good addresses, and are tried again soon.
	f([]answer{a, failed, failed, b}, step{10 * time.Second, "192.0.2.1"}, step{2*retryAfter - tick, "192.0.2.1"}, step{tick, "192.0.2.2"})
	f([]answer{a, {}, b}, step{10 * time.Second, "192.0.2.1"}, step{retryAfter, "192.0.2.2"})
	// A bug is a failure, too, and the next lookup comes.
	bug := answer{addresses: "?"}
	f([]answer{a, bug, b}, step{10 * time.Second, "192.0.2.1"}, step{retryAfter - tick, "192.0.2.1"}, step{tick, "192.0.2.2"})
	f([]answer{bug, a}, step{0, ""}, step{retryAfter, "192.0.2.1"})
	// A name that cannot be resolved yet is no error, and New does not wait for it for ever.
	f([]answer{failed, a}, step{0, ""}, step{retryAfter, "192.0.2.1"})
	f([]answer{{addresses: "192.0.2.1", takes: 3 * time.Second, ttl: time.Hour}}, step{0, ""}, step{2*time.Second - tick, ""}, step{tick, "192.0.2.1"})
	// A lookup that hangs is given up.
	f([]answer{{takes: time.Hour}, a}, step{lookupMax - firstLookup, ""}, step{retryAfter, "192.0.2.1"})
	// Records in another order are the same set.
	f([]answer{{addresses: "192.0.2.1 192.0.2.2", ttl: time.Second}, {addresses: "192.0.2.2 192.0.2.1"}},
		step{0, "192.0.2.1 192.0.2.2"}, step{time.Minute, "192.0.2.1 192.0.2.2"})
}

// TestResolveKeepsEndpoints keeps what stays, by identity, and retires what goes.
func TestResolveKeepsEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scriptedResolver{answers: []answer{
			{addresses: "192.0.2.1 192.0.2.2", ttl: time.Second}, {addresses: "192.0.2.2 192.0.2.1", ttl: time.Second},
			{addresses: "192.0.2.2 192.0.2.3", ttl: time.Hour},
		}}
		s := New(Options{Name: "test", Targets: []Target{target("name.example:80")}, IdleFor: time.Minute, Resolver: r})
		first := s.set.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		if s.set.Load() != first {
			t.Fatal("a set that is the same was built anew")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		now := s.set.Load()
		if now == first || now.endpoints[0] != first.endpoints[1] || now.endpoints[1] == first.endpoints[0] {
			t.Fatal("endpoints were not kept")
		}
		if !first.endpoints[0].pool.retired || now.endpoints[0].pool.retired {
			t.Fatal("the wrong endpoint was retired")
		}
		// A retired service looks nothing up any more.
		s.Retire()
		asked := len(r.asked)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if len(r.asked) != asked {
			t.Fatal("a retired service still looks names up")
		}
	})
}

// TestLeftOutGrows measures how long an endpoint is left out: doubling with every failure in a row up to a limit, give or
// take a quarter, and from the start again once it was reached.
func TestLeftOutGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint("a", &Target{Network: "tcp", Weight: 1}, &Options{})
		fails := func(want time.Duration) {
			t.Helper()
			if !e.usable(wire.Now()) {
				t.Fatal("left out already")
			}
			failures := e.failures.Load()
			began := wire.Now()
			e.failed(errClosed)
			// Others that fail at the same time are the same failure.
			e.failed(errClosed)
			if e.failures.Load() != failures+2 {
				t.Fatal("a failure was not counted")
			}
			got := time.Duration(e.leftOutUntil.Load() - began)
			if got < want*3/4 || got > want*5/4 {
				t.Fatalf("left out for %s, want %s give or take a quarter", got, want)
			}
			time.Sleep(got - 1)
			if e.usable(wire.Now()) {
				t.Fatal("used again too soon")
			}
			time.Sleep(1)
		}
		for range 3 {
			for d := leftOutMin; d < leftOutMax; d *= 2 {
				fails(d)
			}
			fails(leftOutMax)
			fails(leftOutMax)
			e.reached()
		}
		if !e.usable(wire.Now()) {
			t.Fatal("left out after it was reached")
		}
		// Endpoints that fell together do not come back together.
		ends := make(map[int64]bool)
		for range 50 {
			e := newEndpoint("a", &Target{Network: "tcp", Weight: 1}, &Options{})
			e.failed(errClosed)
			ends[e.leftOutUntil.Load()] = true
		}
		if len(ends) < 25 {
			t.Fatalf("only %d different moments", len(ends))
		}
	})
}
