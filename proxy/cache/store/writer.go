package store

import "sluice/proxy/wire"

// Writer stores an object whose body comes piece by piece. It is for one goroutine, and ends with Commit or Abort.
type Writer struct {
	store *Store
	head  head
	began Mark
	err   error
	done  bool

	first     *wire.Buf // the entry: kept until Commit, because nothing must be found before
	firstUsed int
	chunk     *wire.Buf // the chunk that is being filled
	chunkUsed int
	chunks    int // that are in freecache
}

// Create begins an object. Get does not find it before Commit.
func (s *Store) Create(it *Item) *Writer {
	w := &Writer{store: s, began: it.Began}
	if w.head, w.err = s.headOf(it); w.err != nil {
		w.done = true
		return w
	}
	w.head.id = s.ids.Add(1)
	w.firstUsed = w.head.overhead()
	w.first = wire.GetBuf(w.firstUsed)
	s.fill(w.first.B, it)
	return w
}

// Err is why the object was given up, nil if it was not.
func (w *Writer) Err() error { return w.err }

// ID is the object's number: see Entry.ID.
func (w *Writer) ID() uint64 { return w.head.id }

// Write appends to the body. After an error the object is given up.
func (w *Writer) Write(p []byte) (int, error) {
	if w.done && w.err == nil {
		panic("BUG: a write to an object that is stored or given up")
	}
	if w.err == nil && w.head.size+int64(len(p)) > w.store.objectMax {
		w.fail(ErrTooLarge)
	}
	n := 0
	for n < len(p) && w.err == nil {
		switch {
		case w.head.chunk == 0 && w.firstUsed < w.store.entryMax:
			n += fill(&w.first, &w.firstUsed, w.store.entryMax, p[n:])
		case w.head.chunk == 0:
			w.cut()
		case w.chunkUsed < w.head.chunk:
			n += fill(&w.chunk, &w.chunkUsed, w.head.chunk, p[n:])
		default:
			w.flush()
		}
	}
	w.head.size += int64(n)
	return n, w.err
}

// fill copies to the end of a buffer, which grows up to limit.
func fill(b **wire.Buf, used *int, limit int, p []byte) int {
	p = p[:min(len(p), limit-*used)]
	if *b == nil || *used+len(p) > len((*b).B) {
		bigger := wire.GetBuf(*used + len(p))
		if *b != nil {
			copy(bigger.B, (*b).B[:*used])
			(*b).Free()
		}
		*b = bigger
	}
	copy((*b).B[*used:], p)
	*used += len(p)
	return len(p)
}

// cut moves into chunks what the entry holds too much.
func (w *Writer) cut() {
	w.head.chunk = w.store.chunkMax
	overhead := w.head.overhead()
	end := overhead + w.store.firstOf(overhead)
	for rest := w.first.B[end:w.firstUsed]; len(rest) > 0 && w.err == nil; {
		if w.chunkUsed == w.head.chunk {
			w.flush()
			continue
		}
		rest = rest[fill(&w.chunk, &w.chunkUsed, w.head.chunk, rest):]
	}
	w.firstUsed = end
}

func (w *Writer) flush() {
	k := chunkKeyOf(w.head.id, w.chunks)
	if err := w.store.cache.Set(k[:], w.chunk.B[:w.chunkUsed], 0); err != nil {
		w.fail(err)
		return
	}
	w.store.counts.sets.Add(1)
	w.chunks++
	w.chunkUsed = 0
}

// Commit makes the object what Get finds.
func (w *Writer) Commit() error {
	if w.err == nil && w.done {
		panic("BUG: an object is stored or given up twice")
	}
	if w.err == nil && w.chunkUsed > 0 {
		w.flush()
	}
	if w.err == nil && !w.store.touch(w.head.id, w.chunks) {
		w.fail(ErrTorn) // others have driven it out while it came in
	}
	if w.err == nil {
		if err := w.store.set(&w.head, w.first.B[:w.firstUsed], w.began); err != nil {
			w.fail(err)
		}
	}
	if w.err == nil {
		w.end()
	}
	return w.err
}

// Abort gives the object up. After Commit or an error it does nothing.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.drop()
}

func (w *Writer) fail(err error) {
	w.err = err
	w.drop()
}

// drop deletes the chunks. Nobody can be reading them: that is why those of an object which was replaced are left to age.
func (w *Writer) drop() {
	for i := range w.chunks {
		k := chunkKeyOf(w.head.id, i)
		w.store.del(k[:])
	}
	w.end()
}

func (w *Writer) end() {
	w.done = true
	w.first.Free()
	w.chunk.Free()
	w.first, w.chunk = nil, nil
}
