//go:build !race

package address

import (
	"net/netip"
	"runtime"
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

// TestSetMemory: a million networks take less than 100 MiB, and are few objects for the garbage collector.
func TestSetMemory(t *testing.T) {
	prefixes := million(1_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := NewSet(prefixes)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d ranges, %d and %d nodes, %d bytes, the heap has grown by %d", s.Ranges(), len(s.index4), len(s.index6), s.Bytes(), grown)
	if s.Bytes() > 100<<20 || grown > 100<<20 {
		t.Errorf("a million networks take %d bytes, the heap has grown by %d", s.Bytes(), grown)
	}
	if objects := int64(after.HeapObjects) - int64(before.HeapObjects); objects > 1000 {
		t.Errorf("a million networks are %d objects", objects)
	}
	runtime.KeepAlive(prefixes)
	if !s.Contains(prefixes[0].Addr()) || s.Ranges() < 500_000 {
		t.Errorf("the set has %d ranges", s.Ranges())
	}
}
