package address

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"sluice/proxy"
)

func BenchmarkCheck(b *testing.B) {
	f := func(name string, prefixes []netip.Prefix, clients []netip.Addr) {
		b.Run(name, func(b *testing.B) {
			g, err := New(nil, prefixes)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				x := proxy.Acquire()
				defer x.Release()
				refused := 0
				for i := 0; pb.Next(); i++ {
					x.Client.Addr = clients[i%len(clients)]
					if g.Check(x) != nil {
						refused++
					}
				}
				if b.N > 1000*len(clients) && refused == 0 {
					b.Error("no client was refused")
				}
			})
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	some := func(n int, v6 bool) (prefixes []netip.Prefix, clients []netip.Addr) {
		for range n {
			var a [16]byte
			binary.BigEndian.PutUint64(a[:], random.Uint64())
			addr, bits := netip.AddrFrom4([4]byte(a[:4])), 24
			if v6 {
				addr, bits = netip.AddrFrom16(a), 48
			}
			prefixes = append(prefixes, netip.PrefixFrom(addr, bits))
		}
		for i := range 1024 {
			addr := prefixes[i%n].Addr()
			if i%2 == 0 {
				addr = prefixes[i%n].Masked().Addr().Prev()
			}
			clients = append(clients, addr)
		}
		return prefixes, clients
	}

	prefixes, clients := some(3, false)
	f("v4-3-prefixes", prefixes, clients)
	prefixes, clients = some(10000, false)
	f("v4-10000-prefixes", prefixes, clients)
	prefixes, clients = some(10000, true)
	f("v6-10000-prefixes", prefixes, clients)
	prefixes = million(1_000_000)
	// Half of them are asked for in turn, so that neither the index nor the clients fit into the processor's cache.
	var v4, v6 []netip.Addr
	for i, p := range prefixes {
		if i%4 > 1 {
			continue
		}
		if a := p.Addr(); a.Is4() {
			v4 = append(v4, address4(random.Uint32()), a)
		} else {
			v6 = append(v6, a, p.Masked().Addr().Prev())
		}
	}
	f("million-v4", prefixes, v4)
	f("million-v6", prefixes, v6)
}

func BenchmarkNew(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	b.Run("million", func(b *testing.B) {
		prefixes := million(1_000_000)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := New(nil, prefixes); err != nil {
				b.Fatal(err)
			}
		}
	})
	var prefixes []netip.Prefix
	for range 10000 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], random.Uint32())
		prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4(a), 16+random.IntN(17)))
	}
	b.Run("10000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := New(prefixes, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
