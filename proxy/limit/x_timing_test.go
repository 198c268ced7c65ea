package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"sluice/proxy"
)

// filled has the buckets of so many keys, none of them idle, and returns the keys.
func filled(b *testing.B, n int) (*Local, []uint64) {
	b.Helper()
	l := newLocalFor(b, Window{Text: "w", Count: 1_000_000, Per: time.Second, Burst: 1 << 30}, n)
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = clean(random.Uint64())
		l.Take(keys[i], 1<<29, start)
	}
	return l, keys
}

// BenchmarkTake is a decision on one of many live keys: even is each as often as any other, in no order, which is the worst that can
// happen to a processor's cache; zipf is some much more often than others, as clients are.
func BenchmarkTake(b *testing.B) {
	f := func(name string, n int, even bool) {
		b.Run(name, func(b *testing.B) {
			l, keys := filled(b, n)
			if !even {
				keys = zipf(keys)
			}
			b.ReportAllocs()
			b.ResetTimer()
			now := start
			for i := range b.N {
				now += 100
				if !l.Take(keys[i%len(keys)], 1, now).OK {
					b.Fatal("refused")
				}
			}
		})
	}
	f("1k-even", 1000, true)
	f("1m-even", 1_000_000, true)
	f("1m-zipf", 1_000_000, false)
	f("10m-zipf", 10_000_000, false)
}

// zipf returns a million keys out of those given, the first ones most often.
func zipf(keys []uint64) []uint64 {
	z := rand.NewZipf(rand.New(rand.NewPCG(3, 4)), 1.1, 1, uint64(len(keys)-1))
	drawn := make([]uint64, 1_000_000)
	for i := range drawn {
		drawn[i] = keys[z.Uint64()]
	}
	return drawn
}

// BenchmarkTakeParallel is the same from every core: to be compared with -cpu 1,2.
func BenchmarkTakeParallel(b *testing.B) {
	l, keys := filled(b, 1_000_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		now := start
		for i := rand.IntN(len(keys)); pb.Next(); i++ {
			now += 100
			if !l.Take(keys[i%len(keys)], 1, now).OK {
				b.Error("refused")
			}
		}
	})
}

// BenchmarkEnter is a decision on a key that nobody knows, in a table whose places all change hands: a flood.
func BenchmarkEnter(b *testing.B) {
	l := newLocalFor(b, Window{Text: "w", Count: 1000, Per: time.Second, Burst: 1}, 1_000_000)
	random := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	now := start
	for b.Loop() {
		now += 100
		l.Take(clean(random.Uint64()), 1, now)
	}
}

// BenchmarkCheck is a request at the guard among a million clients, in an exchange of its own; exchange is what that costs alone.
func BenchmarkCheck(b *testing.B) {
	const mask = 1<<20 - 1
	clients := make([]netip.Addr, mask+1)
	for i := range clients {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(i)*2654435761)
		clients[i] = netip.AddrFrom4(a)
	}
	f := func(name string, check func(x *proxy.Exchange) error) {
		b.Run(name, func(b *testing.B) {
			now := start
			b.ReportAllocs()
			for i := range b.N {
				x := proxy.Acquire()
				now += 2000
				x.Started, x.Client.Addr = now, clients[i&mask]
				x.Request.Head.AddString("X-Api-Key", "0123456789abcdef0123456789abcdef")
				if err := check(x); err != nil {
					b.Fatal(err)
				}
				x.EditHead()
				x.Finish()
				x.Release()
			}
		})
	}
	rates := func(fields bool, windows ...Window) func(x *proxy.Exchange) error {
		o := options(windows...)
		o.Keys, o.Fields = 4<<20, fields
		return mustGuard(b, mustRates(b, o), 1).Check
	}
	fast := func(by Key) Window { return window(1_000_000, time.Second, 1_000_000, by) }
	three := []Window{fast(byIP()), fast(Key{{Source: "header", Name: "X-Api-Key"}}), fast(Key{{Source: "host"}})}
	s, err := NewSlots(SlotOptions{Name: "few", Ceilings: []Ceiling{{Text: "10 per ip", Max: 10, By: byIP()}}, Keys: 2 << 20, Allowed: new(counter), Refused: new(counter)})
	if err != nil {
		b.Fatal(err)
	}
	few, err := s.Guard(route(b, "/items/{tenant}"))
	if err != nil {
		b.Fatal(err)
	}
	f("exchange", func(*proxy.Exchange) error { return nil })
	f("1-window", rates(false, three[0]))
	f("3-windows", rates(false, three...))
	f("3-windows-told", rates(true, three...))
	f("concurrency", few.Check)
}
