package store

import (
	"sync/atomic"
	"time"
)

// coarse is the clock that freecache reads under its locks: whole seconds, which never go back. If they did, its notion of
// what has not been used for long would be off from then on.
type coarse struct{ seconds atomic.Uint32 }

// Now is freecache.Timer.
func (c *coarse) Now() uint32 { return c.seconds.Load() }

// now reads the clock and moves the coarse one.
func (s *Store) now() int64 {
	now := s.clock()
	for second := uint32((now-s.start)/int64(time.Second)) + 1; ; {
		was := s.coarse.seconds.Load()
		if second <= was || s.coarse.seconds.CompareAndSwap(was, second) {
			return now
		}
	}
}
