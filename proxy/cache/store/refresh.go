package store

import "sluice/proxy/wire"

// Refresh stores e's body anew with the Meta, KeepFor and Tags of it, those of e if it has none; Key and URL are e's. It is for when the origin has said that the
// body is still the one to use. e must not be freed yet, and stays what it was.
//
// What was purged (not softly) since e was found stays purged, even if the origin was asked later.
func (s *Store) Refresh(e *Entry, it *Item) error {
	if e.buf == nil {
		panic("BUG: an entry is refreshed after Free")
	}
	old := &e.head
	if _, hard, _ := s.judgeSince(old.stamp, old.url(e.value), old.tagsOf(e.value)); hard {
		return ErrPurged
	}
	if s.replaced(e) {
		return ErrReplaced
	}
	anew := *it
	anew.Key, anew.URLFrom, anew.URLTo = old.key(e.value), old.urlFrom, old.urlTo
	tags := old.tagsOf(e.value)
	if anew.Tags == nil {
		anew.Tags = make([][]byte, old.tags) // as many
	} else {
		tags = nil
	}
	h, err := s.headOf(&anew)
	if err != nil {
		return err
	}
	if h.overhead()+e.first > s.entryMax {
		return ErrTooLarge // the next one asks for the whole
	}
	if !e.whole() {
		s.counts.torn.Add(1)
		return ErrTorn
	}
	size := h.overhead() + e.first
	b := wire.GetBuf(size)
	defer b.Free()
	s.fill(b.B, &anew)
	h.chunk, h.size, h.id = old.chunk, old.size, old.id
	copy(h.tagsOf(b.B), tags)
	if _, err := e.ReadAt(b.B[h.overhead():size], 0); err != nil {
		return err
	}
	return s.set(&h, b.B[:size], it.Began)
}

// replaced reports whether there is by now another object with e's key. One that comes in at this very moment may yet
// be overwritten by e, which is as good as if it had come before.
func (s *Store) replaced(e *Entry) bool {
	other := false
	k := s.keyOf(e.head.key(e.value))
	// ErrNotFound: it was evicted, and may come back.
	_ = s.cache.PeekFn(k[:], func(value []byte) error {
		var h head
		other = h.decode(value) && h.id != e.head.id && string(h.key(value)) == string(e.head.key(e.value))
		return nil
	})
	return other
}
