// Package background runs what goes on beside requests for something that lasts longer than they do: keys are fetched, a provider is asked, a file
// is looked at.
package background

import (
	"context"
	"sync"
	"time"
)

// Work is one goroutine, from Start to Stop. Safe for concurrent use.
type Work struct {
	life context.Context
	end  context.CancelFunc

	mu    sync.Mutex
	ended chan struct{} // closed when the goroutine is gone; nil: there was none
}

// New returns work that has not begun.
func New() *Work {
	w := &Work{}
	w.life, w.end = context.WithCancel(context.Background())
	return w
}

// Start begins to do it. Only the first call counts, and none after Stop. It returns when its Life is over.
func (w *Work) Start(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil || w.Over() {
		return
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		do()
	}()
}

// Begun reports whether it was started, be it over or not.
func (w *Work) Begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended != nil
}

// Stop ends its life, and waits for it to return.
func (w *Work) Stop() {
	w.end()
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// Life ends with Stop; what the work asks and waits for ends with it.
func (w *Work) Life() context.Context { return w.life }

// Over reports whether its life is.
func (w *Work) Over() bool { return w.life.Err() != nil }

// Sleep waits for a while, or until somebody wakes it, and reports whether life goes on.
func (w *Work) Sleep(d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-w.life.Done():
	}
	return !w.Over()
}

// Await waits for what is to come, and reports whether life goes on.
func (w *Work) Await(what <-chan struct{}) bool {
	select {
	case <-what:
	case <-w.life.Done():
	}
	return !w.Over()
}
