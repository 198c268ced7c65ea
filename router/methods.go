package router

import (
	"fmt"
	"slices"
)

// methodSet gives each method that a table names, and the usual ones, a bit, so that
// a set of methods is one word. Its order is alphabetical, as in Allow.
type methodSet []string

// The bits that have a meaning of their own.
const (
	getBit  = uint64(1) << 62
	headBit = uint64(1) << 61

	// unknownBit stands for every method that the table does not name. Routes for
	// any method have it, no other does.
	unknownBit = uint64(1) << 63
	anyMethod  = ^uint64(0)
)

// maxMethods is how many methods a table can tell apart: as many as there are bits
// below those.
const maxMethods = 61

var usualMethods = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

// newMethodSet collects the methods of all patterns. If they are too many it returns
// the index of the first pattern that is one too much, and an error.
func newMethodSet(patterns []Pattern) (methodSet, int, error) {
	set := slices.Clone(usualMethods)
	for i, p := range patterns {
		for _, m := range p.Methods {
			if slices.Contains(set, m) {
				continue
			}
			if len(set) == maxMethods {
				return nil, i, fmt.Errorf("method %s is one too many: a table knows at most %d, the usual ones included", m, maxMethods)
			}
			set = append(set, m)
		}
	}
	slices.Sort(set)
	return set, 0, nil
}

// bitOf returns the bit of the method at index i of the set.
func (s methodSet) bitOf(i int) uint64 {
	switch s[i] {
	case "GET":
		return getBit
	case "HEAD":
		return headBit
	}
	return 1 << i
}

// bits returns the bits of a route's methods.
func (s methodSet) bits(methods []string) uint64 {
	if len(methods) == 0 {
		return anyMethod
	}
	bits := uint64(0)
	for _, m := range methods {
		i, _ := slices.BinarySearch(s, m) // newMethodSet put it there
		bits |= s.bitOf(i)
	}
	return bits
}

// asked returns the bits that a route may have to take a request of the method.
func (s methodSet) asked(method []byte) uint64 {
	switch string(method) {
	case "GET":
		return getBit
	case "HEAD":
		return headBit | getBit
	}
	for i := range s {
		if s[i] == string(method) {
			return 1 << i
		}
	}
	return unknownBit
}

// taken returns bits and what they imply: a route for GET takes HEAD.
func taken(bits uint64) uint64 {
	if bits&getBit != 0 {
		bits |= headBit
	}
	return bits
}

// appendAllow appends the methods of the set that are in bits, and OPTIONS.
func (s methodSet) appendAllow(dst []byte, bits uint64) []byte {
	bits = taken(bits)
	separator := ""
	for i, m := range s {
		if bits&s.bitOf(i) != 0 || m == "OPTIONS" {
			dst = append(dst, separator...)
			dst = append(dst, m...)
			separator = ", "
		}
	}
	return dst
}
