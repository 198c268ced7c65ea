//go:build !race

package address

import (
	"net/netip"
	"testing"

	"sluice/proxy"
)

func TestCheckAllocates(t *testing.T) {
	g, err := New(parse(t, "10.0.0.0/8 2001:db8::/32"), parse(t, "10.1.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	x := proxy.Acquire()
	defer x.Release()
	f := func(client string, admitted bool) {
		t.Helper()
		x.Client.Addr = netip.MustParseAddr(client)
		var last error
		if got := testing.AllocsPerRun(1000, func() { last = g.Check(x) }); got != 0 {
			t.Fatalf("%v allocations, want 0", got)
		}
		if (last == nil) != admitted {
			t.Fatalf("unexpected outcome: %v", last)
		}
	}

	f("10.0.0.1", true)
	f("10.1.0.1", false)
	f("2001:db8::1", true)
	f("::ffff:10.0.0.1", true)
	f("fe80::1%eth0", false)

	if g, err = New(nil, million(100_000)); err != nil {
		t.Fatal(err)
	}
	f("255.255.255.255", true)
	f("2a00::1", true)
	f(million(1)[0].Addr().String(), false)
}
