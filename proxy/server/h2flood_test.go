package server

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

// TestGrudges: who was told to calm down does not begin anew by connecting again.
func TestGrudges(t *testing.T) {
	synctest.Test(t, testGrudges) // or else resets are earned back meanwhile
}

func testGrudges(t *testing.T) {
	var g grudges
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var f flood
	for f.reset() == nil {
	}
	g.bear(one, &f, true)
	g.bear(netip.Addr{}, &f, true) // somebody whom nobody counts
	again := flood{resets: g.against(one)}
	if again.reset() == nil && again.reset() == nil && again.reset() == nil {
		t.Error("the client may reset as much as before")
	}
	for _, other := range []netip.Addr{two, {}} {
		if f := (flood{resets: g.against(other)}); f.reset() != nil {
			t.Errorf("%v must not reset because of another client", other)
		}
	}
	// What is borne is bounded.
	a := netip.MustParseAddr("198.51.100.0")
	for range 3 * grudgesMax {
		a = a.Next()
		g.bear(a, &f, true)
	}
	if len(g.of) > grudgesMax {
		t.Errorf("%d grudges are borne", len(g.of))
	}
}

// TestGrudges_shun: who floods over ever new connections gets none for a while, and nobody else has to look for a grudge then.
func TestGrudges_shun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g grudges
		one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		f := func(client netip.Addr, want bool) {
			t.Helper()
			if g.shuns(client) != want {
				t.Errorf("%v is shunned: %v", client, !want)
			}
		}
		bear := func(times int) {
			for range times {
				g.bear(one, new(flood), true)
			}
		}
		bear(calmsMax)
		f(one, false)
		// What clients do that only have no patience is not held against their neighbours.
		hasty := &flood{resets: g.against(one)}
		for hasty.reset() == nil {
		}
		for range 2 * calmsMax {
			g.bear(one, hasty, true)
			g.bear(one, new(flood), false)
		}
		f(one, false)
		bear(1)
		f(one, true)
		f(two, false)
		f(netip.Addr{}, false)
		time.Sleep(calmEvery)
		f(one, false)
		bear(1)
		f(one, true)
		time.Sleep(calmsMax * calmEvery) // all but one are forgiven, and there was one too many
		bear(calmsMax - 1)
		f(one, false)

		// However many it were, there is an end; also of what is kept in memory, if others are to be remembered.
		bear(1000)
		time.Sleep(shunMax - 1)
		f(one, true)
		time.Sleep(1)
		f(one, false)
		time.Sleep(calmsMax * calmEvery)
		if o := g.of[one]; !o.forgiven(wire.Now()) {
			t.Errorf("%+v is not forgiven", o)
		}
	})
}

// TestGrudges_news: the log hears of each address when it becomes shunned, and of one a second at most.
func TestGrudges_news(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g grudges
		f := func(client string, times, want int) {
			t.Helper()
			got := 0
			for range times {
				if g.bear(netip.MustParseAddr(client), &flood{}, true) {
					got++
				}
			}
			if got != want {
				t.Errorf("the log hears of %s %d times, want %d", client, got, want)
			}
		}
		f("192.0.2.1", calmsMax, 0)
		f("192.0.2.1", 1, 1)
		f("192.0.2.1", 10, 0)
		f("192.0.2.2", 20, 0) // it is too soon
		time.Sleep(shunNewsEvery)
		f("192.0.2.1", 10, 0) // nothing new
		f("192.0.2.3", 20, 1)
		time.Sleep(shunMax)
		f("192.0.2.1", 10, 1) // it was forgiven enough to come back
	})
}
