package limit

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/router"
)

// counter is a plain Counter.
type counter struct{ atomic.Uint64 }

func (c *counter) Add(n uint64) { c.Uint64.Add(n) }

// start is the time at which tests begin.
const start = int64(1 << 60)

func byIP() Key { return Key{{Source: "ip", V4: 32, V6: 64}} }

// window is count in a time, and a burst.
func window(count int, per time.Duration, burst int, by Key) Window {
	return Window{Text: fmt.Sprintf("%d/%s burst %d", count, per, burst), Count: count, Per: per, Burst: burst, By: by}
}

// options of a policy with these windows.
func options(windows ...Window) Options {
	return Options{Name: "fair", Windows: windows, Keys: 1000, Fields: true, Cost: Cost{Request: 1}, Allowed: new(counter), Refused: new(counter)}
}

func mustRates(t testing.TB, o Options) *Rates {
	t.Helper()
	r, err := NewRates(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustGuard(t testing.TB, r *Rates, cost int) *Rate {
	t.Helper()
	g, err := r.Guard(route(t, "/items/{tenant}"), cost)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func route(t testing.TB, pattern string) *proxy.Route {
	t.Helper()
	p, err := router.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return &proxy.Route{Name: "a", Pattern: p}
}

// request is one that came now, from an address. lines are fields of its head.
func request(now int64, from string, lines ...[2]string) *proxy.Exchange {
	x := proxy.Acquire()
	x.Started = now
	if from != "" {
		x.Client.Addr = netip.MustParseAddr(from)
	}
	x.Request.Host = []byte("shop.example")
	for _, l := range lines {
		x.Request.Head.AddString(l[0], l[1])
	}
	return x
}

// newLocalFor has the buckets of a window in a table of its own.
func newLocalFor(t testing.TB, w Window, keys int) *Local {
	t.Helper()
	if err := w.measure(); err != nil {
		t.Fatal(err)
	}
	table, err := newTable(keys, timeMask)
	if err != nil {
		t.Fatal(err)
	}
	return newLocal(table, &w)
}
