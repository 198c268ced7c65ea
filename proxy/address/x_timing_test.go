package address

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"sluice/proxy"
)

func BenchmarkCheck(b *testing.B) {
	// A list is made once: testing calls a case several times before it knows b.N.
	f := func(name string, list func() (*Guard, []netip.Addr)) {
		b.Run(name, func(b *testing.B) {
			g, clients := list()
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
	some := func(n int, v6 bool) func() (*Guard, []netip.Addr) {
		return sync.OnceValues(func() (*Guard, []netip.Addr) {
			var prefixes []netip.Prefix
			for range n {
				var a [16]byte
				binary.BigEndian.PutUint64(a[:], random.Uint64())
				addr, bits := netip.AddrFrom4([4]byte(a[:4])), 24
				if v6 {
					addr, bits = netip.AddrFrom16(a), 48
				}
				prefixes = append(prefixes, netip.PrefixFrom(addr, bits))
			}
			var clients []netip.Addr
			for i := range 1024 {
				addr := prefixes[i%n].Addr()
				if i%2 == 0 {
					addr = prefixes[i%n].Masked().Addr().Prev()
				}
				clients = append(clients, addr)
			}
			return denying(b, prefixes), clients
		})
	}
	f("v4-3-prefixes", some(3, false))
	f("v4-10000-prefixes", some(10000, false))
	f("v6-10000-prefixes", some(10000, true))

	large := sync.OnceValues(func() (*Guard, []netip.Prefix) {
		prefixes := million(1_000_000)
		return denying(b, prefixes), prefixes
	})
	// Half of them are asked for in turn, so that neither the index nor the clients fit into the processor's cache.
	half := func(v4 bool) func() (*Guard, []netip.Addr) {
		return sync.OnceValues(func() (*Guard, []netip.Addr) {
			g, prefixes := large()
			var clients []netip.Addr
			for i, p := range prefixes {
				switch a := p.Addr(); {
				case i%4 > 1 || a.Is4() != v4:
				case v4:
					clients = append(clients, address4(random.Uint32()), a)
				default:
					clients = append(clients, a, p.Masked().Addr().Prev())
				}
			}
			return g, clients
		})
	}
	f("million-v4", half(true))
	f("million-v6", half(false))
}

func denying(b *testing.B, prefixes []netip.Prefix) *Guard {
	g, err := New(nil, prefixes)
	if err != nil {
		b.Fatal(err)
	}
	return g
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
