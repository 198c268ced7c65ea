package address

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"unsafe"
)

// Set is a set of addresses: sorted ranges that neither overlap nor touch, IPv4 and IPv6 apart, and an index over each. It holds no
// pointers but to these, so that the garbage collector has nothing to look at in the longest list. The zone of an IPv6 address makes no
// difference. It is immutable.
type Set struct {
	v4     []range4
	v6     []range6
	index4 []node
	index6 []node
}

// range4 and range6 include both ends.
type (
	range4 struct{ first, last uint32 }
	range6 struct{ first, last uint128 }
)

// NewSet makes a set of prefixes. Host bits may be set. Prefixes of IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) mean the IPv4
// prefix.
func NewSet(prefixes []netip.Prefix) (*Set, error) {
	var v4, v6 []range6
	for _, p := range prefixes {
		if !p.IsValid() {
			return nil, fmt.Errorf("%v is no prefix", p)
		}
		addr, bits := p.Addr(), p.Bits()
		if addr.Is4In6() {
			if bits < 96 {
				return nil, fmt.Errorf("%s means IPv4 and IPv6 addresses: write a prefix of 96 bits or more, or the IPv4 prefix itself", p)
			}
			addr, bits = addr.Unmap(), bits-96
		}
		if addr.Is4() {
			v4 = append(v4, rangeOf(addr, bits+96))
		} else {
			v6 = append(v6, rangeOf(addr, bits))
		}
	}
	s := new(Set)
	v4 = merge(v4)
	s.v4 = make([]range4, len(v4))
	for i, r := range v4 {
		s.v4[i] = range4{first: uint32(r.first.low), last: uint32(r.last.low)}
	}
	s.v6 = slices.Clone(merge(v6)) // of what merging has left over, nothing is kept
	s.index4 = newIndex(len(s.v4), 32, func(i int) uint128 { return wide(s.v4[i].first) })
	s.index6 = newIndex(len(s.v6), 128, func(i int) uint128 { return s.v6[i].first })
	return s, nil
}

// Bytes is what the set takes in memory.
func (s *Set) Bytes() int {
	return cap(s.v4)*int(unsafe.Sizeof(range4{})) + cap(s.v6)*int(unsafe.Sizeof(range6{})) + (cap(s.index4)+cap(s.index6))*int(unsafe.Sizeof(node{}))
}

// Ranges is how many ranges the set consists of.
func (s *Set) Ranges() int { return len(s.v4) + len(s.v6) }

// Contains reports whether addr, which must not be an IPv4-mapped one, is in the set. The zero Addr is in none.
func (s *Set) Contains(addr netip.Addr) bool {
	switch {
	case addr.Is4():
		b := addr.As4()
		return s.contains4(binary.BigEndian.Uint32(b[:]))
	case addr.Is6():
		return s.contains6(uint128Of(addr.As16()))
	}
	return false
}

// contains4 looks for the last range that does not begin behind a: no other can contain it. The index leads to a few in a row of which it is
// one, unless it is the one before them.
func (s *Set) contains4(a uint32) bool {
	if len(s.index4) == 0 {
		return false
	}
	n := &s.index4[0]
	for n.bits != 0 {
		if n.skips {
			if first := s.v4[n.from].first; (a^first)>>(32-n.at) != 0 { // a is in none of the blocks below n
				if a > first {
					return a <= s.v4[n.to-1].last
				}
				return n.from > 0 && a <= s.v4[n.from-1].last
			}
		}
		n = &s.index4[n.child+a<<n.at>>(32-n.bits)]
	}
	i := n.to
	for i > n.from && a < s.v4[i-1].first {
		i--
	}
	return i > 0 && a <= s.v4[i-1].last
}

// contains6 is contains4 for IPv6. A shared generic form would call a comparison function at each step.
func (s *Set) contains6(a uint128) bool {
	if len(s.index6) == 0 {
		return false
	}
	n := &s.index6[0]
	for n.bits != 0 {
		if n.skips {
			if first := s.v6[n.from].first; a.common(first) < int(n.at) {
				if first.less(a) {
					return !s.v6[n.to-1].last.less(a)
				}
				return n.from > 0 && !s.v6[n.from-1].last.less(a)
			}
		}
		n = &s.index6[n.child+a.bits(n.at, n.bits)]
	}
	i := n.to
	for i > n.from && a.less(s.v6[i-1].first) {
		i--
	}
	return i > 0 && !s.v6[i-1].last.less(a)
}

// rangeOf returns the addresses that have the first bits (of 128) in common with addr.
func rangeOf(addr netip.Addr, bits int) range6 {
	a := uint128Of(addr.As16())
	host := hostMask(bits)
	return range6{
		first: uint128{a.high &^ host.high, a.low &^ host.low},
		last:  uint128{a.high | host.high, a.low | host.low},
	}
}

// hostMask has all but the first bits set.
func hostMask(bits int) uint128 {
	if bits <= 64 {
		return uint128{^uint64(0) >> bits, ^uint64(0)}
	}
	return uint128{0, ^uint64(0) >> (bits - 64)}
}

// merge sorts ranges and joins those that overlap or touch. It works in place.
func merge(ranges []range6) []range6 {
	slices.SortFunc(ranges, func(a, b range6) int {
		switch {
		case a.first.less(b.first):
			return -1
		case b.first.less(a.first):
			return 1
		}
		return 0
	})
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && !merged[n-1].endsBefore(r.first) {
			if merged[n-1].last.less(r.last) {
				merged[n-1].last = r.last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// endsBefore reports whether there is an address between r and a, which is not less than r.first.
func (r range6) endsBefore(a uint128) bool {
	next := uint128{r.last.high, r.last.low + 1}
	if next.low == 0 {
		next.high++
		if next.high == 0 {
			return false // r ends with the last address of all
		}
	}
	return next.less(a)
}

// uint128 is an IPv6 address as a number.
type uint128 struct{ high, low uint64 }

func uint128Of(b [16]byte) uint128 {
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a uint128) less(b uint128) bool {
	return a.high < b.high || a.high == b.high && a.low < b.low
}

// common is how many of the first bits of a and b are the same.
func (a uint128) common(b uint128) int {
	if x := a.high ^ b.high; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(a.low^b.low)
}

// bits returns n bits of a, 1 to 32, that follow its first at bits.
func (a uint128) bits(at, n uint8) uint32 {
	x := a.low << (at & 63)
	if at < 64 {
		x = a.high<<at | a.low>>(64-at)
	}
	return uint32(x >> (64 - n))
}

// wide is an IPv4 address in the first bits of an IPv6 one.
func wide(a uint32) uint128 { return uint128{high: uint64(a) << 32} }
