package servicetoken

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// When the gateway's own token is fetched.
const (
	coolDown = time.Second // between two fetches, whoever asks for them
	retryMin = time.Second // after a failure, doubled with each further one
	retryMax = time.Minute
)

// Start begins to fetch. Only the first call counts.
func (o *Own) Start() {
	if !o.options.Client.Provider().Idle() {
		o.work.Start(o.run)
	}
}

// Stop ends fetching. Requests under way may go on with the token that there is.
func (o *Own) Stop() { o.work.Stop() }

func (o *Own) run() {
	for failures := 0; ; {
		h, err := o.fetch()
		ended := wire.Now()
		var pause time.Duration
		if err == nil {
			failures = 0
			// Hosts that were started together do not ask together.
			pause = time.Duration(h.renew - ended)
			pause -= time.Duration(rand.Int64N(int64(max(pause, 10) / 10)))
		} else {
			pause = min(retryMin<<min(failures, 10), retryMax)
			failures++
		}
		if !o.work.Sleep(max(pause, coolDown), o.wake) || !o.work.Sleep(coolDown-time.Duration(wire.Now()-ended), nil) {
			return
		}
	}
}

// fetch asks once, and tells those who wait.
func (o *Own) fetch() (*held, error) {
	o.mu.Lock()
	o.last, o.under = wire.Now(), true
	select {
	case <-o.wake: // of somebody who waits for this one
	default:
	}
	asked := o.last
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(o.work.Life(), oauth.AnswerMax)
	token, err := o.ask(ctx, o.form)
	cancel()
	var h *held
	if err == nil {
		h, err = hold(token, asked)
	}
	o.mu.Lock()
	o.learn(h, err)
	r := o.next
	o.next, o.under = newRound(), false
	o.mu.Unlock()
	close(r.done)
	return h, err
}

// learn takes what a fetch has brought. One that a service has refused is shown on if there is no better one.
func (o *Own) learn(h *held, err error) {
	if o.work.Over() && err != nil {
		return // it was broken off
	}
	source := o.options.Client.Status().Source
	if err != nil {
		o.failed.Add(1)
		if old := o.held.Load(); old != nil {
			old.doubted.Store(false)
		}
		if o.problem == "" {
			slog.Warn("a token for services was not fetched", "from", source, "error", err, "routes", routes[o.good() != nil])
		}
		o.problem = err.Error()
		return
	}
	o.fetched.Add(1)
	if o.problem != "" {
		slog.Info("tokens for services are fetched again", "from", source)
		o.problem = ""
	}
	o.held.Store(h)
}

// routes is what becomes of them while fetching fails.
var routes = map[bool]string{true: "go on with the last token until it ends", false: "are closed"}
