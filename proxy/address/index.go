package address

import "math/bits"

// The index over a set's ranges is a compressed trie (Nilsson and Karlsson, "IP-address lookup using LC-tries", 1999): a node branches by as
// many bits at once as there are blocks to fill, and skips those that all of its ranges have in common. So a list of a million
// networks is a few nodes deep, and the upper ones stay in the processor's cache.

// node is a block of addresses that have their first bits in common, and the ranges that begin in it.
type node struct {
	from, to uint32 // these ranges
	child    uint32 // the first of 1<<bits nodes; unless bits is 0
	at       uint8  // how many bits come before those that it branches by
	bits     uint8  // by how many it branches; 0: it does not, its ranges are few
	skips    bool   // of the bits before, some were not looked at on the way here: an address may be in another block
}

const (
	leafMax    = 8  // ranges that are looked through one by one
	branchMax  = 18 // bits
	fillFactor = 8  // of the blocks of a branch, at least one in so many has ranges
)

// newIndex makes the index over n ranges, which are sorted, by the first addresses of each; width is how many of the bits of these count.
// There are at most a few nodes for each range, however they lie: a branch has no more blocks than half of its ranges, and no more than
// fillFactor for each that is not empty.
func newIndex(n int, width int, first func(int) uint128) []node {
	if n == 0 {
		return nil
	}
	nodes := []node{{to: uint32(n)}}
	looked := []uint8{0} // bits that were looked at on the way to each node
	for i := 0; i < len(nodes); i++ {
		from, to := int(nodes[i].from), int(nodes[i].to)
		if to-from <= leafMax {
			continue
		}
		at := first(from).common(first(to - 1))
		by := branch(from, to, at, min(width-at, branchMax), first)
		nodes[i].child, nodes[i].at, nodes[i].bits, nodes[i].skips = uint32(len(nodes)), uint8(at), uint8(by), at != int(looked[i])
		next := from
		for block := range uint32(1) << by {
			begin := next
			for next < to && first(next).bits(uint8(at), uint8(by)) == block {
				next++
			}
			nodes = append(nodes, node{from: uint32(begin), to: uint32(next)})
			looked = append(looked, uint8(at+by))
		}
	}
	return append([]node(nil), nodes...)
}

// branch chooses by how many bits, at most most, a node branches whose ranges have at bits in common.
func branch(from, to, at, most int, first func(int) uint128) int {
	var parting [branchMax + 1]int // ranges that differ from the one before in this bit for the first time
	for i := from + 1; i < to; i++ {
		if bit := first(i).common(first(i-1)) - at; bit < len(parting) {
			parting[bit]++
		}
	}
	by, filled := 1, 1+parting[0]
	for n := 2; n <= min(most, bits.Len(uint(to-from))-2); n++ {
		filled += parting[n-1]
		if filled*fillFactor >= 1<<n {
			by = n
		}
	}
	return by
}
