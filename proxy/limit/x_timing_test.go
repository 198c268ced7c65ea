package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/limit/ledger"
	"sluice/proxy/wire"
)

// crowd is the buckets of many keys, none of them idle, and the keys.
type crowd struct {
	*Local
	keys []uint64
}

// filled makes a crowd when it is first needed: a benchmark is called several times before it knows b.N.
func filled(b *testing.B, n int) func() crowd {
	return sync.OnceValue(func() crowd {
		l := newLocalFor(b, Window{Text: "w", Count: 1_000_000, Per: time.Second, Burst: 1 << 30}, n)
		random := rand.New(rand.NewPCG(1, 2))
		keys := make([]uint64, n)
		for i := range keys {
			keys[i] = clean(random.Uint64())
			l.Take(keys[i], 1<<29, start)
		}
		return crowd{l, keys}
	})
}

// BenchmarkTake is a decision on one of many live keys: even is each as often as any other, in no order, which is the worst that can
// happen to a processor's cache; zipf is some much more often than others, as clients are.
func BenchmarkTake(b *testing.B) {
	f := func(name string, keys []uint64, crowd func() crowd) {
		b.Run(name, func(b *testing.B) {
			l, keys := crowd(), keys
			if keys == nil {
				keys = l.keys
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
	million := filled(b, 1_000_000)
	f("1k-even", nil, filled(b, 1000))
	f("1m-even", nil, million)
	f("1m-zipf", zipf(million().keys), million)
	if os.Getenv("SLUICE_SOAK") != "" { // filling takes longer than a gate can wait
		millions := filled(b, 10_000_000)
		f("10m-even", nil, millions)
		f("10m-zipf", zipf(millions().keys), millions)
	}
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

// BenchmarkTakeShared is a decision on one of a thousand keys whose buckets hosts share, while a store in memory settles them.
func BenchmarkTakeShared(b *testing.B) {
	fleet := NewFleet(FleetOptions{Name: "redis", Store: newFakeStore(), Timeout: time.Second})
	o := options(Window{Text: "w", Count: 1_000_000, Per: time.Second, Burst: 1 << 30, By: byIP()})
	o.Across = &Across{Fleet: fleet, Held: new(counter), Fallbacks: new(counter)}
	r := mustRates(b, o)
	fleet.Join(r)
	fleet.Start()
	defer fleet.Stop()
	for !fleet.Up() {
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	b.ResetTimer()
	now := int64(0)
	for i := range b.N {
		if i%1000 == 0 {
			now = wire.Now()
		}
		if !r.tokens[0].Take(clean(uint64(i%1000)*0x9E3779B97F4A7C15), 1, now).OK {
			b.Fatal("refused")
		}
	}
}

// BenchmarkTakeParallel is the same from every core: to be compared with -cpu 1,2.
func BenchmarkTakeParallel(b *testing.B) {
	l := filled(b, 1_000_000)()
	keys := l.keys
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

// BenchmarkCheck is a request at the guard, of one of 65,536 clients, in an exchange of its own; exchange is what that costs alone.
func BenchmarkCheck(b *testing.B) {
	const mask = 1<<16 - 1
	clients := make([]netip.Addr, mask+1)
	for i := range clients {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(i)*2654435761)
		clients[i] = netip.AddrFrom4(a)
	}
	f := func(name string, check func(x *proxy.Exchange) error) {
		now := start
		serve := func(b *testing.B, n int) {
			for i := range n {
				x := proxy.Acquire()
				now += 2000 // half as fast as the limit by host
				x.Started, x.Client.Addr = now, clients[i&mask]
				x.Request.Head.AddString("X-Api-Key", "0123456789abcdef0123456789abcdef")
				if err := check(x); err != nil {
					b.Fatal(err)
				}
				x.EditHead()
				x.Finish()
				x.Release()
			}
		}
		known := sync.OnceFunc(func() { serve(b, len(clients)) })
		b.Run(name, func(b *testing.B) {
			known()
			b.ReportAllocs()
			b.ResetTimer()
			serve(b, b.N)
		})
	}
	rates := func(fields bool, windows ...Window) func(x *proxy.Exchange) error {
		o := options(windows...)
		o.Keys, o.Fields = 2*len(clients), fields
		return mustGuard(b, mustRates(b, o), 1).Check
	}
	fast := func(by Key) Window { return window(1_000_000, time.Second, 1_000_000, by) }
	three := []Window{fast(byIP()), fast(Key{{Source: "header", Name: "X-Api-Key"}}), fast(Key{{Source: "host"}})}
	_, few := mustSlots(b, 2*len(clients), Ceiling{Text: "10 per ip", Max: 10, By: byIP()})
	f("exchange", func(*proxy.Exchange) error { return nil })
	f("1-window", rates(false, three[0]))
	f("3-windows", rates(false, three...))
	f("3-windows-told", rates(true, three...))
	f("concurrency", few.Check)
}

// BenchmarkDoor is a connection that comes and goes through three limits.
func BenchmarkDoor(b *testing.B) {
	d, err := NewDoor(DoorOptions{
		Connect:   []Window{window(1_000_000, time.Second, 1_000_000, byIP()), window(1_000_000, time.Second, 1_000_000, nil)},
		Handshake: []Window{window(1_000_000, time.Second, 1_000_000, byIP())},
		Open:      []Ceiling{{Text: "1000 per ip", Max: 1000, By: byIP()}}, Keys: 100_000,
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := uint32(0); pb.Next(); i++ {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			if leave, ok := d.Enter(a); ok {
				d.Handshake(a)
				leave()
			}
		}
	})
}

// BenchmarkQuota is a client that is known, at a quota of a day and one of a month.
func BenchmarkQuota(b *testing.B) {
	q := newQuotas(b, nil, map[string][]int64{"default": {ledger.AmountMax, ledger.AmountMax}})
	for i := range q.options.Plans[0].Limits {
		l := &q.options.Plans[0].Limits[i]
		l.Batch = l.Most
	}
	g := mustQuota(b, q, 1)
	client := identified("acme", "").Identity
	b.ReportAllocs()
	for b.Loop() {
		x := proxy.Acquire()
		x.Started, x.Identity = start, client
		if err := g.Check(x); err != nil {
			b.Fatal(err)
		}
		x.EditHead()
		x.Finish()
		x.Release()
	}
}
