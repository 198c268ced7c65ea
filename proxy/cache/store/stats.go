package store

import "sync/atomic"

// counts are what freecache does not count.
type counts struct {
	sets, deleted           atomic.Int64
	purges, overflows, torn atomic.Int64
}

// Stats describe a store.
type Stats struct {
	Bytes      int64 // that it was given
	BytesUsed  int64 // of them that hold entries, those included that are deleted or have expired and not been overwritten yet
	BytesTaken int64 // that it really takes from the heap: Bytes, and the index of freecache, which grows with the number of entries
	Entries    int64 // an object of several pieces counts once for each
	Evictions  int64 // entries that made room for others; also one that outgrew its own place
	Torn       int64 // objects that were found with a piece missing
	Purges     int64 // a URL that can be written in several forms takes one for each
	PurgesHeld int64 // that are remembered until every entry has been judged
	Overflows  int64 // how often they were too many to remember, which purged everything
}

// Stats looks into all segments, one after the other. It is for people and scrapers, not for the path of requests.
func (s *Store) Stats() Stats {
	used, index := s.innards.read(s.cache)
	entries := s.cache.EntryCount()
	held, _ := s.marks.held()
	gone := s.counts.sets.Load() - s.cache.OverwriteCount() - entries
	return Stats{
		Bytes: s.bytes, BytesUsed: used, BytesTaken: s.bytes + index, Entries: entries,
		Evictions: max(gone-s.counts.deleted.Load()-s.cache.ExpiredCount(), 0),
		Torn:      s.counts.torn.Load(),
		Purges:    s.counts.purges.Load(), PurgesHeld: int64(held), Overflows: s.counts.overflows.Load(),
	}
}
