package wire

import "sync"

// Buf is a pooled buffer of one of a few sizes. Whoever holds it calls Free once; bytes that were lent from it
// are dead from then on. Built with the tag invariants, Free overwrites them so that a late use fails loudly.
type Buf struct {
	B     []byte
	class int
}

// The sizes. A head usually fits the smallest, a response with a small body the second; the two large ones
// carry bodies in bulk, where fewer and larger copies cost up to 40 % less.
const (
	Small  = 4 << 10
	Medium = 16 << 10
	Large  = 64 << 10
	Bulk   = 256 << 10
)

var bufSizes = [...]int{Small, Medium, Large, Bulk}

var bufPools [len(bufSizes)]sync.Pool

// GetBuf returns a buffer of at least size bytes. Above Bulk it is not pooled.
func GetBuf(size int) *Buf {
	for class, s := range bufSizes {
		if size <= s {
			if b, ok := bufPools[class].Get().(*Buf); ok {
				return b
			}
			return &Buf{B: make([]byte, s), class: class}
		}
	}
	return &Buf{B: make([]byte, size), class: -1}
}

// Free gives the buffer back. Free of nil does nothing.
func (b *Buf) Free() {
	if b == nil {
		return
	}
	mangle(b.B)
	if b.class >= 0 {
		bufPools[b.class].Put(b)
	}
}
