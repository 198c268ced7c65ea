package oauth

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/recall"
)

// Flights lets those who ask the same at the same time ask once, and bounds how many questions are under way. The zero value admits none.
type Flights[T any] struct {
	Max int // questions that are under way at a time

	mu  sync.Mutex
	all map[recall.Sum]*flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// Why there is no answer.
var (
	ErrBusy     = errors.New("as many questions are under way as may be")
	ErrTooLate  = errors.New("the answer was not there in the time that the request has")
	errPanicked = errors.New("asking ended in a bug")
)

// Do returns what ask does, which runs on its own: that one of those who wait goes away does not change anything for the others. It ends at
// the latest after AnswerMax, if it heeds its context.
func (f *Flights[T]) Do(x *proxy.Exchange, about recall.Sum, ask func(context.Context) (T, error)) (T, error) {
	f.mu.Lock()
	one := f.all[about]
	if one == nil {
		if len(f.all) >= f.Max {
			f.mu.Unlock()
			var none T
			return none, ErrBusy
		}
		if f.all == nil {
			f.all = make(map[recall.Sum]*flight[T])
		}
		one = &flight[T]{done: make(chan struct{}), err: errPanicked}
		f.all[about] = one
		go f.fly(about, one, ask)
	}
	f.mu.Unlock()
	x.Waited = true
	t := time.NewTimer(Patience(x, AnswerMax))
	defer t.Stop()
	select {
	case <-one.done:
		return one.value, one.err
	case <-t.C:
	case <-x.Done():
	}
	var none T
	return none, ErrTooLate
}

func (f *Flights[T]) fly(about recall.Sum, one *flight[T], ask func(context.Context) (T, error)) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
		f.mu.Lock()
		delete(f.all, about)
		f.mu.Unlock()
		close(one.done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), AnswerMax)
	defer cancel()
	one.value, one.err = ask(ctx)
}

// UnderWay is how many questions are.
func (f *Flights[T]) UnderWay() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}
