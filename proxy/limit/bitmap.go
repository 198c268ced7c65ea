package limit

import (
	"math/bits"
	"sync/atomic"
)

// bitmap is a set of numbers that any number of goroutines put something in and one takes out of. It has a fixed size and cannot overflow;
// setting a number twice does nothing. A second level says where to look, so that an empty set costs little to look through.
type bitmap struct{ words, summary []atomic.Uint64 }

func newBitmap(n int) bitmap {
	words := (n + 63) / 64
	return bitmap{make([]atomic.Uint64, words), make([]atomic.Uint64, (words+63)/64)}
}

// set reports whether the number was not there.
func (b *bitmap) set(n int) bool {
	w, bit := &b.words[n/64], uint64(1)<<(n%64)
	if w.Load()&bit != 0 || w.Or(bit)&bit != 0 {
		return false
	}
	b.summary[n/64/64].Or(1 << (n / 64 % 64))
	return true
}

// take calls f with numbers, which it takes out, from one on and around, until f returns false. It returns where to go on, and whether it
// has seen all of them.
func (b *bitmap) take(from int, f func(n int) bool) (next int, all bool) {
	from %= len(b.words) * 64
	first := from / 64 / 64
	for i := range len(b.summary) + 1 {
		at := (first + i) % len(b.summary)
		s := b.summary[at].Swap(0)
		if i == 0 {
			// What lies before the beginning comes last.
			s = b.later(at, s, ^uint64(0)<<(from/64%64))
		}
		for ; s != 0; s &= s - 1 {
			w := at*64 + bits.TrailingZeros64(s)
			for rest := b.words[w].Swap(0); rest != 0; rest &= rest - 1 {
				n := w*64 + bits.TrailingZeros64(rest)
				if f(n) {
					continue
				}
				// This one was seen; the others go back.
				b.words[w].Or(rest & (rest - 1))
				b.summary[at].Or(s)
				return n + 1, false
			}
		}
	}
	return 0, true
}

// later puts the words of a summary back that are not among the wanted ones.
func (b *bitmap) later(at int, summary, wanted uint64) uint64 {
	b.summary[at].Or(summary &^ wanted)
	return summary & wanted
}
