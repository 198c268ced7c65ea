package store

import "time"

// rest is how long a purge is remembered at least: what had begun before it is on its way into the store for that long. Whatever takes
// longer is not stored, because nobody knows any more whether it was purged. It is also how often the whole store is looked through at
// most while purges keep coming, unless they crowd: with 4 GiB that takes some seconds of one core.
const rest = 10 * time.Minute

// lurker judges every entry after purges, so that these can be forgotten. None of it is needed for a purge to work.
type lurker struct {
	waken chan struct{}
	stop  chan struct{}
	ended chan struct{} // nil: it was never started
}

func (l *lurker) init() {
	l.waken, l.stop = make(chan struct{}, 1), make(chan struct{})
}

func (l *lurker) wake() {
	select {
	case l.waken <- struct{}{}:
	default:
	}
}

// Start begins to tidy up behind purges, until Close. It is for the owner of the store, once. Without it, purges are remembered until they
// are too many, which purges everything.
func (s *Store) Start() {
	s.lurker.ended = make(chan struct{})
	go s.lurk()
}

// Close ends what Start began and makes the store empty for good: Get finds nothing, Put stores nothing. Entries that were found before
// can be read on.
func (s *Store) Close() {
	s.once.Do(func() {
		s.marks.close()
		close(s.lurker.stop)
		if s.lurker.ended != nil {
			<-s.lurker.ended
		}
	})
}

func (s *Store) lurk() {
	defer close(s.lurker.ended)
	for {
		if held, _ := s.marks.held(); held == 0 {
			select {
			case <-s.lurker.waken:
			case <-s.lurker.stop:
				return
			}
		}
		up := s.marks.last.Load()
		if !s.rested() {
			return
		}
		if _, crowded := s.marks.held(); crowded {
			up = s.marks.last.Load()
		}
		if !s.tidy(up) {
			return
		}
		s.marks.forget(up)
	}
}

// rested waits until the purges have rested, or are so many that they cannot. It returns false when the store is closed.
func (s *Store) rested() bool {
	timer := time.NewTimer(rest)
	defer timer.Stop()
	for {
		if _, crowded := s.marks.held(); crowded {
			return true
		}
		select {
		case <-timer.C:
			return true
		case <-s.lurker.waken:
		case <-s.lurker.stop:
			return false
		}
	}
}

// strideMax is how many bytes are looked at in one go. freecache's iterator copies whatever it shows, so that tidying up may take half
// of one core's time at most.
const strideMax = 4 << 20

// tidy judges every entry, deletes what was purged and notes the rest as judged. It returns false when the store is closed.
//
// The iterator misses an entry when another of its slot is deleted in front of it. Such an entry is purged when the marks are forgotten,
// because it has not been judged up to there: no harm but one request more. It happens now and then, by evictions; the
// lurker itself deletes what it found one stride ago, in slots that the iterator has left.
func (s *Store) tidy(up uint64) bool {
	var purged, before [][]byte
	defer func() {
		s.delAll(before)
		s.delAll(purged)
	}()
	began, stride := time.Now(), 0
	for it := s.cache.NewIterator(); ; {
		entry := it.Next()
		if entry == nil {
			return true
		}
		if !s.tidyEntry(entry.Key, up) {
			purged = append(purged, entry.Key)
		}
		if stride += entryHead + len(entry.Key) + len(entry.Value); stride < strideMax {
			continue
		}
		select {
		case <-s.lurker.stop:
			return false
		case <-time.After(time.Since(began)):
		}
		s.delAll(before)
		purged, before = before[:0], purged
		began, stride = time.Now(), 0
	}
}

func (s *Store) delAll(keys [][]byte) {
	for _, k := range keys {
		s.del(k)
	}
}

// tidyEntry judges one entry and returns false if it was purged.
func (s *Store) tidyEntry(k []byte, up uint64) bool {
	if len(k) == chunkKey {
		return true // goes with the entry that it belongs to
	}
	purged := false
	var stamp uint64
	// ErrNotFound: it has gone meanwhile.
	err := s.cache.PeekFn(k, func(value []byte) error {
		var h head
		if purged = !h.decode(value) || s.judge(&h, value) == Missing; !purged {
			stamp = h.stamp
		}
		return nil
	})
	if err == nil && !purged && stamp >= up && !s.noted(k, up) {
		s.rewrite(k)
	}
	return !purged
}

// noted reports whether judge's note has reached the entry.
func (s *Store) noted(k []byte, up uint64) (ok bool) {
	// ErrNotFound: it has gone meanwhile, or been replaced by what is judged already.
	err := s.cache.PeekFn(k, func(value []byte) error {
		var h head
		ok = h.decode(value) && h.stamp >= up
		return nil
	})
	return ok || err != nil
}

// rewrite judges an entry that lies around the end of its segment, where notes do not reach it. It then counts as used just now,
// which is at most one entry of a segment.
func (s *Store) rewrite(k []byte) {
	now := s.now()
	// Nothing new is longer than what was there, so that there is no error.
	_, _, _ = s.cache.Update(k, func(value []byte, found bool) ([]byte, bool, int) {
		var h head
		if !found || !h.decode(value) || s.judge(&h, value) == Missing || h.expires <= now {
			return nil, false, 0
		}
		return value, true, secondsOf(h.expires - now)
	})
}
