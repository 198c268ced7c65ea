package oauth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/recall"
)

// TestFlights: who asks the same waits for the same answer, which comes also if the first one has gone; others are asked beside it, up to a bound.
func TestFlights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := Flights[int]{Max: 2}
		var asked atomic.Int64
		slow := func(ctx context.Context) (int, error) {
			asked.Add(1)
			select {
			case <-time.After(time.Second):
				return 7, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		var group sync.WaitGroup
		gone := proxy.Acquire()
		group.Go(func() {
			if _, err := f.Do(gone, recall.Sum{1}, slow); !errors.Is(err, ErrTooLate) {
				t.Errorf("one that has gone: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			group.Go(func() {
				x := proxy.Acquire()
				defer x.Release()
				if n, err := f.Do(x, recall.Sum{1}, slow); n != 7 || err != nil || !x.Waited {
					t.Errorf("got %d, %v", n, err)
				}
			})
		}
		synctest.Wait()
		gone.Cancel(proxy.ErrClientGone)
		group.Go(func() {
			x := proxy.Acquire()
			defer x.Release()
			if _, err := f.Do(x, recall.Sum{2}, func(context.Context) (int, error) { time.Sleep(time.Second); panic("on purpose") }); err == nil {
				t.Error("a panic is an answer")
			}
		})
		synctest.Wait()
		x := proxy.Acquire()
		defer x.Release()
		if _, err := f.Do(x, recall.Sum{3}, slow); !errors.Is(err, ErrBusy) || f.UnderWay() != 2 {
			t.Errorf("one too many: %v, with %d", err, f.UnderWay())
		}
		group.Wait()
		gone.Release()
		if asked.Load() != 1 || f.UnderWay() != 0 {
			t.Errorf("asked %d times, and %d are under way", asked.Load(), f.UnderWay())
		}
		if _, err := f.Do(x, recall.Sum{1}, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrTooLate) {
			t.Errorf("one that never ends: %v", err)
		}
	})
	proxy.Panics.Store(0)
}
