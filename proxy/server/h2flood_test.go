package server

import (
	"net/netip"
	"testing"
	"time"

	"sluice/proxy/wire"
)

// TestGrudges: who was told to calm down does not begin anew by connecting again.
func TestGrudges(t *testing.T) {
	var g grudges
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var f flood
	for f.reset() == nil {
	}
	g.bear(one, f.resets)
	g.bear(netip.Addr{}, f.resets) // somebody whom nobody counts
	again := flood{resets: g.against(one)}
	if again.reset() == nil && again.reset() == nil && again.reset() == nil {
		t.Error("the client may reset as much as before")
	}
	for _, other := range []netip.Addr{two, {}} {
		if f := (flood{resets: g.against(other)}); f.reset() != nil {
			t.Errorf("%v must not reset because of another client", other)
		}
	}
	// What has been earned back is no grudge, and what is borne is bounded.
	var past flood
	_ = past.resets.Spend(wire.Now()-int64(time.Hour), resetsMax, resetEvery)
	g.bear(two, past.resets)
	if len(g.resets) != 1 {
		t.Errorf("%d grudges are borne", len(g.resets))
	}
	a := netip.MustParseAddr("198.51.100.0")
	for range 3 * grudgesMax {
		a = a.Next()
		g.bear(a, f.resets)
	}
	if len(g.resets) > grudgesMax {
		t.Errorf("%d grudges are borne", len(g.resets))
	}
}
