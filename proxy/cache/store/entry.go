package store

import (
	"fmt"
	"io"

	"sluice/proxy/wire"
)

// Entry is an object that Get found. The zero value is ready for Get; it holds a pooled buffer from then until Free.
type Entry struct {
	Meta  []byte // of the Item; lives in the buffer
	First []byte // the body, or as much of it as lies with the head and is not too much to be held; lives in the buffer
	Size  int64  // of the body

	store *Store
	key   [8]byte // of freecache
	buf   *wire.Buf
	value []byte
	head  head
	first int // bytes of the body that lie with the head
}

// held is the largest entry that is copied as a whole. A client may take its time, and what is copied is held for it.
const held = wire.Large

// take copies an entry, with the lock of its segment held. Of a large one it copies what stands before the body.
func (e *Entry) take(s *Store, key [8]byte, h *head, value []byte) {
	e.first = len(h.body(value))
	if len(value) > held {
		value = value[:h.overhead()]
	}
	b := wire.GetBuf(len(value))
	e.store, e.key, e.buf, e.head = s, key, b, *h
	e.value = b.B[:copy(b.B, value)]
	e.Meta, e.First, e.Size = h.meta(e.value), h.body(e.value), h.size
}

// Release lets go of the buffer without giving it back: whoever asks for it has to. Meta and First stay what they are.
func (e *Entry) Release() *wire.Buf {
	b := e.buf
	e.buf = nil
	return b
}

// ID is the object's number, which no other one has had.
func (e *Entry) ID() uint64 { return e.head.id }

// Free gives the buffer back. ReadAt goes on working for what lies behind First.
func (e *Entry) Free() {
	e.buf.Free()
	e.buf, e.value, e.Meta, e.First = nil, nil, nil, nil
}

// ReadAt is io.ReaderAt for the body. ErrTorn says that a piece is gone, which is rare: Get has just looked after all. It allocates once in
// a while if it reads a part of a piece that lies around the end of freecache's memory, and never if it reads whole pieces.
func (e *Entry) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("cannot read a body from %d", off)
	}
	n := 0
	for n < len(p) && off < e.Size {
		m := 0
		if off < int64(len(e.First)) {
			m = copy(p[n:], e.First[off:])
		} else if off < int64(e.first) {
			if m = e.readFirst(p[n:], off); m == 0 {
				e.store.counts.torn.Add(1)
				return n, ErrTorn
			}
		} else if m = e.readChunk(p[n:], off); m == 0 {
			e.store.counts.torn.Add(1)
			return n, ErrTorn
		}
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readFirst reads what lies with the head and was not copied. 0: it is gone.
func (e *Entry) readFirst(p []byte, off int64) (n int) {
	// The error is ErrNotFound or nil: n tells.
	_ = e.store.cache.GetFn(e.key[:], func(value []byte) error {
		var h head
		if h.decode(value) && h.id == e.head.id {
			n = copy(p, h.body(value)[off:])
		}
		return nil
	})
	return n
}

// readChunk reads from one chunk. 0: it is gone.
func (e *Entry) readChunk(p []byte, off int64) (n int) {
	chunk := int64(e.head.chunk)
	number := (off - int64(e.first)) / chunk
	from := int64(e.first) + number*chunk
	size := int(min(chunk, e.Size-from))
	k := chunkKeyOf(e.head.id, int(number))
	if off == from && len(p) >= size {
		value, err := e.store.cache.GetWithBuf(k[:], p[:size:size])
		if err != nil || len(value) != size {
			return 0
		}
		return size
	}
	// The error is ErrNotFound or nil: n tells.
	_ = e.store.cache.GetFn(k[:], func(value []byte) error {
		if len(value) == size {
			n = copy(p, value[off-from:])
		}
		return nil
	})
	return n
}

// whole reports whether every chunk is there, and tells freecache that they are in use.
func (e *Entry) whole() bool {
	return e.store.touch(e.head.id, chunksOf(e.Size-int64(e.first), e.head.chunk))
}

func (s *Store) touch(id uint64, chunks int) bool {
	for i := range chunks {
		k := chunkKeyOf(id, i)
		if s.cache.Touch(k[:], 0) != nil {
			return false
		}
	}
	return true
}
