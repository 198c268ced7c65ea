package address

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// million makes n networks as they are in lists of bad addresses: two of three are of IPv4, mostly single addresses and /24, and those of
// IPv6 are mostly /48 and /64 of a few providers.
func million(n int) []netip.Prefix {
	random := rand.New(rand.NewPCG(1, 2))
	var providers [300]uint64
	for i := range providers {
		providers[i] = 0x2001<<48 | random.Uint64()>>16&^0xffff
		if i%3 > 0 {
			providers[i] = 0x2a00<<48 | random.Uint64()>>16&^0xffff
		}
	}
	prefixes := make([]netip.Prefix, 0, n)
	for i := range n {
		if i%3 < 2 {
			prefixes = append(prefixes, netip.PrefixFrom(address4(random.Uint32()), []int{32, 24, 32, 28, 22}[i%5]))
			continue
		}
		high := providers[random.IntN(len(providers))] | random.Uint64()&0xffff_ffff
		prefixes = append(prefixes, netip.PrefixFrom(address6(high, random.Uint64()), []int{48, 64, 56, 128}[i%4]))
	}
	return prefixes
}

func address4(a uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a)
	return netip.AddrFrom4(b)
}

func address6(high, low uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}

// model is a set of prefixes that is asked one length after the other.
type model [129]map[netip.Prefix]bool

func newModel(prefixes []netip.Prefix) *model {
	var m model
	for _, p := range prefixes {
		if m[p.Bits()] == nil {
			m[p.Bits()] = map[netip.Prefix]bool{}
		}
		m[p.Bits()][p.Masked()] = true
	}
	return &m
}

func (m *model) contains(a netip.Addr) bool {
	for bits, of := range m {
		if of == nil || bits > a.BitLen() {
			continue
		}
		if p, err := a.Prefix(bits); err == nil && of[p] {
			return true
		}
	}
	return false
}

// TestSet compares with the model, at and around every network and at random, where networks lie in ways that an index may not like.
func TestSet(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	f := func(name string, n int, one func(i int) netip.Prefix) {
		t.Helper()
		prefixes := make([]netip.Prefix, n)
		for i := range prefixes {
			prefixes[i] = one(i)
		}
		s, err := NewSet(prefixes)
		if err != nil {
			t.Fatal(err)
		}
		m := newModel(prefixes)
		check := func(a netip.Addr) {
			if a.IsValid() && !a.Is4In6() && s.Contains(a) != m.contains(a) {
				t.Fatalf("%s: %s is in the set: %v", name, a, s.Contains(a))
			}
		}
		for _, p := range prefixes {
			first, last := p.Masked().Addr(), lastOf(p)
			for _, a := range []netip.Addr{first, first.Prev(), last, last.Next(), p.Addr()} {
				check(a)
			}
			check(address4(random.Uint32()))
			check(address6(random.Uint64(), random.Uint64()))
		}
		for _, a := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
			check(netip.MustParseAddr(a))
		}
		// However they lie, the index is no larger than a few nodes for each.
		if nodes := len(s.index4) + len(s.index6); nodes > 5*n+1 {
			t.Errorf("%s: %d networks have %d nodes", name, n, nodes)
		}
	}
	list := million(6_000)
	f("as in lists", len(list), func(i int) netip.Prefix { return list[i] })
	f("at random", 2000, func(int) netip.Prefix { return netip.PrefixFrom(address4(random.Uint32()), random.IntN(20)+13) })
	f("at random, IPv6", 2000, func(int) netip.Prefix {
		return netip.PrefixFrom(address6(random.Uint64(), random.Uint64()), random.IntN(100)+29)
	})
	f("one after the other", 2000, func(i int) netip.Prefix { return netip.PrefixFrom(address4(uint32(i)*2), 32) })
	f("one after the other, IPv6", 2000, func(i int) netip.Prefix { return netip.PrefixFrom(address6(1<<61, uint64(i)*2), 128) })
	f("at both ends", 4000, func(i int) netip.Prefix {
		return netip.PrefixFrom(address6(-uint64(i&1), uint64(i)*3^-uint64(i&1)), 128)
	})
	f("one for each bit", 127, func(i int) netip.Prefix {
		if i < 64 {
			return netip.PrefixFrom(address6(1<<i, 0), 128)
		}
		return netip.PrefixFrom(address6(0, 1<<(i-64)), 128)
	})
	// Two halves, each with two halves, and long runs of bits in common between.
	f("a tree", 1024, func(i int) netip.Prefix {
		var high, low uint64
		for bit := range 10 {
			if at := bit * 10; i>>bit&1 == 1 && at < 64 {
				high |= 1 << (63 - at)
			} else if i>>bit&1 == 1 {
				low |= 1 << (127 - at)
			}
		}
		return netip.PrefixFrom(address6(high, low), 128)
	})
	f("few", 8, func(i int) netip.Prefix { return netip.PrefixFrom(address4(uint32(i)<<29), 8) })
	f("one more than few", 9, func(i int) netip.Prefix { return netip.PrefixFrom(address4(uint32(i)<<28), 8) })
	f("one", 1, func(int) netip.Prefix { return netip.MustParsePrefix("10.0.0.0/8") })
	f("all", 1, func(int) netip.Prefix { return netip.MustParsePrefix("0.0.0.0/0") })
	f("none", 0, nil)
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
