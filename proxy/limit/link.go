package limit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Link is a way to a store: to another server, or to the same one with another password. It can be tried before a fleet depends on it.
type Link struct {
	store   Store
	timeout time.Duration // how long an answer may take

	once  sync.Once
	tried chan struct{} // closed when it was tried
	err   error         // what has come of that
	took  time.Duration
}

// NewLink returns a link that was not tried.
func NewLink(store Store, timeout time.Duration) *Link {
	return &Link{store: store, timeout: timeout, tried: make(chan struct{})}
}

// Try finds out, the first time that it is called, whether the store answers. It returns after the timeout at the latest.
func (l *Link) Try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	l.once.Do(func() {
		go func() {
			defer close(l.tried)
			ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
			defer cancel()
			began := time.Now()
			l.err = l.store.Settle(ctx, nil)
			l.took = time.Since(began)
		}()
	})
	select {
	case <-l.tried:
		return l.err
	default:
	}
	select {
	case <-l.tried:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s: %w", l.timeout, ctx.Err())
	}
}

// wait waits for the end of a try: who has waited for its answer may have given up before.
func (l *Link) wait() { <-l.tried }

func (l *Link) reset(e Entry) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	return l.store.Reset(ctx, e)
}

// Close ends it.
func (l *Link) Close() { l.store.Close() }
