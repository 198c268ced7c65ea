package address

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// set is a set of addresses: sorted ranges that neither overlap nor touch, IPv4 and IPv6 apart. The zone of an
// IPv6 address makes no difference.
type set struct {
	v4 []range4
	v6 []range6
}

// range4 and range6 include both ends.
type (
	range4 struct{ first, last uint32 }
	range6 struct{ first, last uint128 }
)

// contains reports whether addr, which must not be an IPv4-mapped one, is in the set. The zero Addr is in none.
func (s *set) contains(addr netip.Addr) bool {
	switch {
	case addr.Is4():
		b := addr.As4()
		return s.contains4(binary.BigEndian.Uint32(b[:]))
	case addr.Is6():
		return s.contains6(uint128Of(addr.As16()))
	}
	return false
}

// contains4 looks for the last range that does not begin behind a: no other can contain it.
func (s *set) contains4(a uint32) bool {
	low, high := 0, len(s.v4)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if s.v4[middle].first <= a {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low > 0 && a <= s.v4[low-1].last
}

// contains6 is contains4 for IPv6. A shared generic form would call a comparison function at each step.
func (s *set) contains6(a uint128) bool {
	low, high := 0, len(s.v6)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if !a.less(s.v6[middle].first) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low > 0 && !s.v6[low-1].last.less(a)
}

func newSet(prefixes []netip.Prefix) (set, error) {
	var v4, v6 []range6
	for _, p := range prefixes {
		if !p.IsValid() {
			return set{}, fmt.Errorf("%v is no prefix", p)
		}
		addr, bits := p.Addr(), p.Bits()
		if addr.Is4In6() {
			if bits < 96 {
				return set{}, fmt.Errorf("%s means IPv4 and IPv6 addresses: write a prefix of 96 bits or more, or the IPv4 prefix itself", p)
			}
			addr, bits = addr.Unmap(), bits-96
		}
		if addr.Is4() {
			v4 = append(v4, rangeOf(addr, bits+96))
		} else {
			v6 = append(v6, rangeOf(addr, bits))
		}
	}
	var s set
	for _, r := range merge(v4) {
		s.v4 = append(s.v4, range4{first: uint32(r.first.low), last: uint32(r.last.low)})
	}
	s.v6 = merge(v6)
	return s, nil
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
	return slices.Clip(merged)
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
