package store

import "sluice/proxy/wire"

// Refresh stores e's body anew with the Meta, KeepFor and Tags of it; Key and URL are e's. It is for when the origin has said that the
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
	h, err := s.headOf(&anew)
	if err != nil {
		return err
	}
	if h.overhead()+len(e.First) > s.entryMax {
		if old.chunk == 0 {
			return s.Put(&anew, e.First)
		}
		return ErrTooLarge
	}
	if !e.whole() {
		s.counts.torn.Add(1)
		return ErrTorn
	}
	b := wire.GetBuf(h.overhead() + len(e.First))
	defer b.Free()
	s.fill(b.B, &anew)
	copy(b.B[h.overhead():], e.First)
	h.chunk, h.size, h.id = old.chunk, old.size, old.id
	return s.set(&h, b.B[:h.overhead()+len(e.First)], it.Began)
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
