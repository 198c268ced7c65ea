//go:build !race && !invariants

package limit

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/limit/ledger"
)

// TestCheckAllocates: a decision allocates nothing, whatever is counted by and whatever comes of it.
func TestCheckAllocates(t *testing.T) {
	f := func(name string, g proxy.Guard, x *proxy.Exchange) {
		t.Helper()
		client, head := x.Client, x.Request
		run := func() {
			x := proxy.Acquire()
			x.Started, x.Client, x.Request = start, client, head
			x.MatchedPath = []byte(nil)
			if err := g.Check(x); err != nil {
				x.Err = proxy.AsError(err)
			}
			x.EditHead()
			x.Finish()
			x.Request = proxy.Request{}
			x.Release()
		}
		for range 2000 {
			run() // the list of heavy keys is made when it is first needed
		}
		if n := testing.AllocsPerRun(2000, run); n > 0.01 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	x := request(start, "192.0.2.1", [2]string{"X-Api-Key", "0123456789abcdef0123456789abcdef"}, [2]string{"Cookie", "a=b; id=7"})
	x.Request.Query = []byte("key=7")
	for _, part := range []Part{{Source: "ip", V4: 24, V6: 64}, {Source: "header", Name: "X-Api-Key"}, {Source: "header", Name: "X-None"}, {Source: "cookie", Name: "id"}, {Source: "query", Name: "key"}, {Source: "host"}, {Source: "route"}} {
		o := options(window(1_000_000, time.Second, 1_000_000, Key{part}), window(1_000_000, time.Second, 1_000_000, nil))
		f(fmt.Sprint(part, " let in"), mustGuard(t, mustRates(t, o), 1), x)
		o = options(window(1, time.Hour, 1, Key{part}))
		f(fmt.Sprint(part, " refused"), mustGuard(t, mustRates(t, o), 1), x)
		o.Cost.Header, o.Cost.Unit = "X-Cost", 1000
		f(fmt.Sprint(part, " with a cost"), mustGuard(t, mustRates(t, o), 1), x)
		for _, burst := range []int{1_000_000, 4} { // let in, and refused because the lease is used up
			o = options(window(1_000_000, time.Second, burst, Key{part}))
			o.Across = &Across{Fleet: NewFleet(FleetOptions{Idle: true}), Held: new(counter), Fallbacks: new(counter)}
			f(fmt.Sprint(part, " across hosts"), mustGuard(t, mustRates(t, o), 1), x)
		}
		_, c := mustSlots(t, 100, Ceiling{Text: "1", Max: 1, By: Key{part}})
		f(fmt.Sprint(part, " at a time"), c, x)
	}

	// A quota of a key that was there before.
	i := proxy.NewIdentity("jwt", "https://id.shop.example", "user-7", []proxy.Claim{{Path: "plan", Value: []byte("gold")}})
	for _, plan := range []string{"gold", "default"} {
		q := newQuotas(t, func(o *QuotaOptions) { o.Cost = Cost{Request: 1, Status: []StatusCost{{500, 599, 0}}, Unit: 1000} },
			map[string][]int64{"default": {1}, "gold": {ledger.AmountMax, ledger.AmountMax}})
		for j := range q.options.Plans {
			for k := range q.options.Plans[j].Limits {
				l := &q.options.Plans[j].Limits[k]
				l.Batch = l.Most // the file is written once: its goroutine allocates
			}
		}
		g := mustQuota(t, q, 1)
		f("quota "+plan, guardOf(i, plan == "gold", g), x)
	}
}

// TestDoorAllocates: what a listener refuses, and the handshakes that it lets in, allocate nothing, listed or not.
func TestDoorAllocates(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1:2:3::4")
	d := mustDoor(t, DoorOptions{
		Connect: []Window{window(1, 1000*time.Hour, 1, byIP())}, Handshake: []Window{window(1e6, time.Second, 1e6, nil), window(1e6, time.Second, 1e6, byIP())},
		Allowed: new(counter),
	})
	for _, client := range []netip.Addr{a, b} {
		if n := testing.AllocsPerRun(1000, func() {
			_, _ = d.Enter(client)
			if !d.Handshake(client) {
				t.Error("a handshake was refused")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", client, n)
		}
	}
	if refused := d.Refused(); refused[ManyConnects] < 2000 {
		t.Errorf("%v were refused", refused)
	}
}

// guardOf lets a guard see an identity.
func guardOf(i *proxy.Identity, claims bool, g proxy.Guard) proxy.Guard {
	if !claims {
		i = proxy.NewIdentity("jwt", i.Issuer(), i.Subject(), nil)
	}
	return identifies{i, g}
}

type identifies struct {
	identity *proxy.Identity
	guard    proxy.Guard
}

func (g identifies) Check(x *proxy.Exchange) error {
	x.Identity = g.identity
	return g.guard.Check(x)
}
