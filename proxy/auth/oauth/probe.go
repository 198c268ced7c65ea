package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"sluice/proxy/auth/background"
)

// ProbeOptions say what a Probe asks, and what it tells the log.
type ProbeOptions struct {
	Provider *Provider // one that is Idle is not tried
	// Ask asks about a token that is nobody's. An error says that there was no answer.
	Ask      func(ctx context.Context, token string) error
	AtStart  bool          // and not only when a request has had no answer
	Policy   string        // on whose behalf, for the log
	Down, Up string        // what the log is told, once each way
	Least    time.Duration // between two questions; 0: a second. Tests do not wait for that
}

// Probe finds out whether a provider answers that has not answered a request, and when it does again: a gateway that gets no requests because it
// is not ready would not notice. That there was no answer may be due to a client's token, which must not close the gateway for others: it is tried
// with another one. Safe for concurrent use.
type Probe struct {
	options ProbeOptions
	failing atomic.Pointer[string] // why; nil: it answers
	wake    chan struct{}
	work    *background.Work
}

const (
	probeMin = time.Second // doubled with each failure
	probeMax = 30 * time.Second
)

// NewProbe returns a probe that asks once Start was called.
func NewProbe(o ProbeOptions) *Probe {
	if o.Least == 0 {
		o.Least = probeMin
	}
	return &Probe{options: o, wake: make(chan struct{}, 1), work: background.New()}
}

// Start may be called again while it runs.
func (p *Probe) Start() {
	if !p.options.Provider.Idle() {
		p.work.Start(p.run)
	}
}

// Stop ends what Start began.
func (p *Probe) Stop() { p.work.Stop() }

// Why says why the provider does not answer; it is empty if it does.
func (p *Probe) Why() string {
	if why := p.failing.Load(); why != nil {
		return *why
	}
	return ""
}

// Learn is told how the question of a request went; err is why there was no answer.
func (p *Probe) Learn(err error) {
	if err == nil {
		p.is(nil)
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// is tells the log of changes only: of many who find out about one, the first does.
func (p *Probe) is(err error) {
	if errors.Is(err, ErrCooling) && p.failing.Load() != nil {
		return // why that is so is known
	}
	why := reason(err)
	was := p.failing.Swap(why)
	about := []any{"policy", p.options.Policy, "from", p.options.Provider.Status().Source}
	switch {
	case why != nil && was == nil:
		slog.Warn(p.options.Down, append(about, "error", *why)...)
	case why == nil && was != nil:
		slog.Info(p.options.Up, about...)
	}
}

// reason says why there is no answer; nil: there is one.
func reason(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	if refused := (*Refusal)(nil); errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		text += "; it refuses the gateway: are client_id and the secret or key those that it knows?"
	}
	return &text
}

func (p *Probe) run() {
	pause := p.options.Least
	for first := p.options.AtStart; ; first = false {
		if !first && p.failing.Load() == nil {
			pause = p.options.Least
			if !p.work.Await(p.wake) {
				return
			}
		}
		if !p.work.Await(p.options.Provider.Known()) {
			return
		}
		ctx, cancel := context.WithTimeout(p.work.Life(), AnswerMax)
		err := p.options.Ask(ctx, rand.Text())
		cancel()
		if p.work.Over() {
			return
		}
		p.is(err)
		if !p.work.Sleep(pause, nil) { // also before it is asked again because of a request
			return
		}
		pause = min(2*pause, probeMax)
	}
}
