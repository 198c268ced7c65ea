package forward

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/background"
	"sluice/proxy/wire"
)

// health is whether the service answers at all. What comes of the questions of clients is a reason to look, and no more: a client may know how to
// make a well service break off or answer 500, and must not bring the host to say that it is not ready. That a question of the gateway's own has
// failed, with nothing of any client in it, is. It is repeated until it is answered: a host that is not ready gets no requests, and would not
// notice otherwise.
type health struct {
	run     atomic.Int64 // questions of clients in a row that have failed
	why     atomic.Pointer[string]
	probing atomic.Bool
	least   time.Duration // probeMin; tests do not wait for that

	policy, service string // for the log

	work   *background.Work // never started: probes come and go, and it is their life
	mu     sync.Mutex       // between its end and what begins
	probes sync.WaitGroup
}

const (
	// askAfter is how many questions in a row have to fail: one may have been unlucky.
	askAfter = 3
	// How often a service is asked that does not answer.
	probeMin = time.Second // doubled with each failure
	probeMax = 30 * time.Second
)

func (h *health) init() {
	h.least = probeMin
	h.work = background.New()
}

// Down says why nothing can be decided, or is empty.
func (m *Memory) Down() string {
	if why := m.health.why.Load(); why != nil {
		return *why
	}
	return ""
}

// Stop ends what goes on in the background.
func (m *Memory) Stop() {
	m.health.mu.Lock()
	m.health.work.Stop()
	m.health.mu.Unlock()
	m.health.probes.Wait()
}

// answered says that a question had an answer.
func (h *health) answered() {
	h.run.Store(0)
	if h.why.Load() != nil && h.why.Swap(nil) != nil {
		slog.Info("a service that decides is well again", "service", h.service, "policy", h.policy)
	}
}

// failed says that a question had none, so that g may have to find out what is the matter.
func (h *health) failed(g *Guard) {
	if h.run.Add(1) < askAfter || !h.probing.CompareAndSwap(false, true) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.work.Over() {
		h.probes.Go(func() { h.probe(g) })
	}
}

func (h *health) probe(g *Guard) {
	defer h.probing.Store(false)
	for pause := h.least; ; pause = min(2*pause, probeMax) {
		err := g.probe(h.work.Life())
		switch {
		case h.work.Over():
			return
		case err == nil:
			h.answered()
			return
		}
		why := fmt.Sprintf("a question of the gateway's own has failed: %v", err)
		if h.why.Swap(&why) == nil { // once each way
			slog.Warn("a service that decides is ill", "service", h.service, "policy", h.policy, "error", err)
		}
		if !h.work.Sleep(pause, nil) {
			return
		}
	}
}

// probe asks whether the service is there: whatever it answers, if it is not ill.
func (g *Guard) probe(life context.Context) (err error) {
	c := proxy.Acquire()
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			err = ErrUnavailable
		}
		c.End()
	}()
	c.Edge, c.Waited, c.Started = proxy.Nobody{}, true, wire.Now()
	c.Deadline = c.Started + int64(g.options.Timeout)
	r := &c.Request
	if r.Method, r.Scheme = g.options.Method, "http"; r.Method == "" {
		r.Method = "GET"
	}
	r.Path, r.Query, r.HasQuery = g.path, g.query, g.hasQuery
	r.Head.AddKnownString(wire.Via, "1.1 sluice") // it may come back to us
	r.Head.AddString("X-Forwarded-Method", "GET")
	r.Head.AddString("X-Forwarded-Uri", "/")
	ctx, cancel := context.WithTimeout(life, g.options.Timeout)
	defer cancel()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		c.Cancel(errLate)
	})
	defer func() {
		if !stop() {
			<-ended // as in ask
		}
	}()
	if err := g.options.Service.Serve(c, nil); err != nil {
		return err
	}
	if c.Response.Status >= 500 {
		return fmt.Errorf("the service answers with status %d", c.Response.Status)
	}
	return nil
}
