package limit

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/proxy/wire"
)

// fakeStore is what a Store has to be, in a few lines and in memory. It can be slow, away, wrong, and lose everything.
type fakeStore struct {
	mu      sync.Mutex
	full    map[uint64]int64 // when buckets are full
	delay   func() time.Duration
	away    bool
	swallow bool               // nothing comes back
	answer  func(e *Entry)     // says something else than the truth
	judge   func(list []Entry) // is shown what is settled
	calls   int
	closed  bool
}

func newFakeStore() *fakeStore { return &fakeStore{full: map[uint64]int64{}} }

// set changes how the store is.
func (s *fakeStore) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

var errAway = errors.New("the store is away")

func (s *fakeStore) Settle(ctx context.Context, entries []Entry) error {
	s.mu.Lock()
	delay, away, swallow := s.delay, s.away, s.swallow
	s.mu.Unlock()
	if swallow {
		<-ctx.Done()
		return ctx.Err()
	}
	if away {
		return errAway
	}
	if delay != nil {
		// It is charged somewhere on the way.
		d := delay()
		if !pauseFor(ctx, d/2) {
			return ctx.Err()
		}
		defer pauseFor(ctx, d-d/2)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := wire.Now()
	s.calls++
	for i := range entries {
		e := &entries[i]
		at, known := s.full[e.Key]
		if !known || e.Merge {
			at = max(at, now+e.View)
		}
		at = max(at, now) + e.Take
		if e.Charge > 0 {
			at = min(at+e.Charge, max(at, now+2*e.Burst))
		} else {
			at = max(at+e.Charge, now)
		}
		at = min(at, now+e.Most())
		s.full[e.Key] = at
		e.Full = at - now
		if s.answer != nil {
			s.answer(e)
		}
	}
	if s.judge != nil {
		s.judge(entries)
	}
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *fakeStore) Reset(_ context.Context, e Entry) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return false, errAway
	}
	s.calls++
	_, known := s.full[e.Key]
	s.full[e.Key] = wire.Now()
	return known, nil
}

func (s *fakeStore) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// sharedStore is the one store of several hosts, of which each closes its own.
type sharedStore struct{ *fakeStore }

func (sharedStore) Close() {}
