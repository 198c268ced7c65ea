package store

import "hash/maphash"

// The purges. Once one has returned, no Get finds what it is about, nor does anything that had begun before it ever get in; softly, such
// things are found as Stale.

// PurgeURL purges every variant of host + path + "?" + query.
func (s *Store) PurgeURL(url string, soft bool) {
	s.purge(s.marks.name(maphash.String(s.urlSeed, url), soft))
}

// PurgePrefix purges whatever's host + path + "?" + query begins with prefix.
func (s *Store) PurgePrefix(prefix string, soft bool) { s.purge(s.marks.prefix(prefix, soft)) }

// PurgeTag purges whatever has the tag.
func (s *Store) PurgeTag(tag string, soft bool) {
	s.purge(s.marks.name(maphash.String(s.tagSeed, tag), soft))
}

// PurgeAll purges everything.
func (s *Store) PurgeAll(soft bool) { s.purge(s.marks.all(soft)) }

func (s *Store) purge(note func(uint64) bool) {
	s.counts.purges.Add(1)
	if s.marks.purge(note) {
		s.counts.overflows.Add(1)
	}
	s.lurker.wake()
}
