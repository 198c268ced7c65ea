package recall

import (
	"math/bits"
	"sync/atomic"
)

// Table holds entries, bounded in number and bytes. An entry belongs into one bucket of a few places, which are read without a lock; it takes
// the place of one that is of no use any more, or else of any other. Entries are immutable. Safe for concurrent use.
type Table[E any] struct {
	places   []atomic.Pointer[E]
	mask     uint64 // of the number of a bucket
	hand     atomic.Uint64
	count    atomic.Int64
	bytes    atomic.Int64
	bytesMax int64
	size     func(*E) int
}

const (
	ways = 4 // places of a bucket
	// sweepMax is how many places one entry that is added looks at to make room.
	sweepMax = 64
)

// NewTable returns a table for n entries, or up to twice as many, of bytesUsual each on average at most. size is about how many bytes one takes,
// always the same.
func NewTable[E any](n, bytesUsual int, size func(*E) int) *Table[E] {
	buckets := uint64(1) << bits.Len64(uint64((n-1)/ways))
	return &Table[E]{places: make([]atomic.Pointer[E], buckets*ways), mask: buckets - 1, bytesMax: int64(n) * int64(bytesUsual), size: size}
}

// Bucket returns the places in which an entry with a hash may be. What is found there may be replaced in its place by what takes as many
// bytes, with CompareAndSwap; all else is for Add and Drop.
func (t *Table[E]) Bucket(hash uint64) []atomic.Pointer[E] {
	at := (hash & t.mask) * ways
	return t.places[at : at+ways]
}

// Add puts an entry in the place of the same one, else of one that is over, else of any other.
func (t *Table[E]) Add(hash uint64, e *E, same, over func(old *E) bool) {
	bucket := t.Bucket(hash)
	at := t.hand.Add(1) % ways
	for i := range bucket {
		old := bucket[i].Load()
		if old == nil || over(old) {
			at = uint64(i)
		}
		if old != nil && same(old) {
			at = uint64(i)
			break
		}
	}
	t.account(e, 1)
	t.empty(bucket[at].Swap(e))
	for n := 0; n < sweepMax && t.bytes.Load() > t.bytesMax; n++ {
		t.empty(t.places[t.hand.Add(1)%uint64(len(t.places))].Swap(nil))
	}
}

// Drop empties a place, if the entry is still there.
func (t *Table[E]) Drop(place *atomic.Pointer[E], e *E) {
	if place.CompareAndSwap(e, nil) {
		t.empty(e)
	}
}

// Len is how many entries there are.
func (t *Table[E]) Len() int { return int(t.count.Load()) }

// empty accounts for what was in a place, if there was anything.
func (t *Table[E]) empty(old *E) {
	if old != nil {
		t.account(old, -1)
	}
}

func (t *Table[E]) account(e *E, sign int64) {
	t.count.Add(sign)
	t.bytes.Add(sign * int64(t.size(e)))
}
