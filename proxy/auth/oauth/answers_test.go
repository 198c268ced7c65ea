package oauth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	sums := NewSums()
	a := NewAnswers[string](100, 1000)
	of := func(s string) Sum { return sums.Of([]byte(s)) }
	f := func(secret string, now int64, want string) {
		t.Helper()
		got, ok := a.Find(of(secret), now)
		if got != want || ok != (want != "") {
			t.Errorf("%s at %d: got %q, %t; want %q", secret, now, got, ok, want)
		}
	}
	f("a", 0, "")
	a.Add(of("a"), "1", 0, 10, 1)
	a.Add(of("b"), "2", 0, 20, 1)
	f("a", 0, "1")
	f("a", 9, "1")
	f("a", 10, "")
	f("b", 10, "2")
	a.Add(of("b"), "3", 10, 20, 1)
	f("b", 10, "3")
	a.Add(of("c"), "4", 10, 10, 1) // it has ended already
	f("c", 10, "")
	a.Forget(of("b"))
	f("b", 10, "")
	if of("ab") != sums.Of([]byte("a"), []byte("b")) || of("a") == of("b") || of("a") == NewSums().Of([]byte("a")) {
		t.Error("sums are not what they should be")
	}

	for i := range 10000 { // no flood makes it larger
		var sum Sum
		binary.LittleEndian.PutUint64(sum[:], uint64(i)*0x9E3779B97F4A7C15)
		a.Add(sum, "x", 0, 100, 100)
	}
	if n := a.Len(); n > 200 || n < 50 {
		t.Errorf("there are %d", n)
	}
	for i := range 1000 { // nor do large ones
		a.Add(of(fmt.Sprint(i)), "x", 0, 100, 5000)
	}
	if a.bytes.Load() > a.bytesMax {
		t.Errorf("%d bytes, more than %d", a.bytes.Load(), a.bytesMax)
	}
	for i := range 1000 {
		a.Forget(of(fmt.Sprint(i)))
	}

	none := NewAnswers[string](0, 1000)
	none.Add(of("a"), "1", 0, 10, 1)
	none.Forget(of("a"))
	if _, ok := none.Find(of("a"), 0); ok || none.Len() != 0 {
		t.Error("a memory of nothing remembers")
	}
}

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
			if _, err := f.Do(gone, Sum{1}, slow); !errors.Is(err, ErrTooLate) {
				t.Errorf("one that has gone: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			group.Go(func() {
				x := proxy.Acquire()
				defer x.Release()
				if n, err := f.Do(x, Sum{1}, slow); n != 7 || err != nil || !x.Waited {
					t.Errorf("got %d, %v", n, err)
				}
			})
		}
		synctest.Wait()
		gone.Cancel(proxy.ErrClientGone)
		group.Go(func() {
			x := proxy.Acquire()
			defer x.Release()
			if _, err := f.Do(x, Sum{2}, func(context.Context) (int, error) { time.Sleep(time.Second); panic("on purpose") }); err == nil {
				t.Error("a panic is an answer")
			}
		})
		synctest.Wait()
		x := proxy.Acquire()
		defer x.Release()
		if _, err := f.Do(x, Sum{3}, slow); !errors.Is(err, ErrBusy) || f.UnderWay() != 2 {
			t.Errorf("one too many: %v, with %d", err, f.UnderWay())
		}
		group.Wait()
		gone.Release()
		if asked.Load() != 1 || f.UnderWay() != 0 {
			t.Errorf("asked %d times, and %d are under way", asked.Load(), f.UnderWay())
		}
		if _, err := f.Do(x, Sum{1}, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrTooLate) {
			t.Errorf("one that never ends: %v", err)
		}
	})
	proxy.Panics.Store(0)
}
