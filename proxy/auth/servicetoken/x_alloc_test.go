//go:build !race && !invariants

package servicetoken

import (
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

type quiet struct{}

func (quiet) Serve(*proxy.Exchange, *proxy.Chain) error { return nil }

// TestAllocations holds that a token that is there costs no allocation to show.
func TestAllocations(t *testing.T) {
	p := &provider{life: time.Hour}
	o, e := own(t, p), exchanged(t, p, 100, 100)
	o.Start()
	f := func(name string, policy proxy.Policy) {
		t.Helper()
		chain := proxy.NewChain(proxy.Link{Name: "p", Policy: policy}, proxy.Link{Name: "s", Policy: quiet{}})
		x := proxy.Acquire()
		defer x.Release()
		serve := func() {
			x.Request.Head.Reset()
			x.Request.Decided = x.Request.Decided[:0]
			x.Request.Head.AddString("Authorization", "Bearer x")
			x.Token = aToken
			if err := chain.Serve(x); err != nil {
				t.Fatal(name, err)
			}
		}
		serve()
		if n := testing.AllocsPerRun(1000, serve); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if got := string(x.Request.Head.GetKnown(wire.Authorization)); !strings.HasPrefix(got, "Bearer token-") {
			t.Errorf("%s: %s", name, got)
		}
	}
	f("the gateway's own", o)
	f("one for a client", e)
}

var aToken = []byte(strings.Repeat("a-token-of-a-usual-length.", 30))
