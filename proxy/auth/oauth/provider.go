package oauth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/background"
	"sluice/proxy/wire"
)

// ProviderOptions say where a provider is. What Known says is not asked for; nothing is, unless there is an Issuer.
type ProviderOptions struct {
	Issuer  string
	Known   Metadata
	RootCAs *x509.CertPool // whom to trust as its servers; nil: whom the system trusts
	// Idle never asks anything: it is for explaining what would be done.
	Idle bool
}

// Provider knows where an issuer's endpoints are. It asks in the background, ahead of need, and keeps the last good answer for as long as
// asking fails. All methods are safe for concurrent use.
type Provider struct {
	options  ProviderOptions
	http     *http.Client
	metadata atomic.Pointer[Metadata]
	work     *background.Work
	waiting  atomic.Int64

	mu     sync.Mutex
	asked  chan struct{} // closed when the issuer was asked once, whatever came of it
	known  chan struct{} // closed when there is Metadata
	status Status
}

// Status says how asking goes.
type Status struct {
	Source        string // without what might be secret in a URL
	Asked, Failed uint64 // all questions, and those of them that had no answer
	Problem       string // why the last question failed; empty: it did not
}

// When the issuer is asked about itself, and how long requests wait for that.
const (
	refreshEvery = time.Hour
	retryMin     = time.Second // after a failure, doubled with each further one
	retryMax     = time.Minute
	waitMax      = 5 * time.Second // of a request
	waitersMax   = 1024            // requests that wait at a time; others are refused at once
	connections  = 32              // kept open to a server
)

// NewProvider returns a provider that asks once Start was called.
func NewProvider(o ProviderOptions) *Provider {
	p := &Provider{options: o, http: NewHTTP(o.RootCAs, connections), work: background.New(), asked: make(chan struct{}), known: make(chan struct{})}
	p.status.Source = ShownURL(cmp.Or(o.Issuer, o.Known.Introspection, o.Known.Token))
	if o.Issuer == "" {
		p.metadata.Store(&o.Known)
		close(p.known)
	}
	return p
}

// Start begins to ask. Only the first call counts.
func (p *Provider) Start() {
	if p.options.Issuer != "" && !p.options.Idle {
		p.work.Start(p.run)
	}
}

// Stop ends that.
func (p *Provider) Stop() {
	p.work.Stop()
	p.http.CloseIdleConnections()
}

// Status says how asking goes.
func (p *Provider) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Unready says what is missing, if the endpoints are not known; else it is empty.
func (p *Provider) Unready() string {
	if p.metadata.Load() != nil {
		return ""
	}
	return "nothing known of " + p.Status().Source
}

// Idle reports whether nothing is ever asked.
func (p *Provider) Idle() bool { return p.options.Idle }

// Known is closed once there is Metadata.
func (p *Provider) Known() <-chan struct{} { return p.known }

// Metadata returns what is known of the provider, nil if it has not answered yet.
func (p *Provider) Metadata() *Metadata { return p.metadata.Load() }

// Await is Metadata for a request, which waits for the first answer; not when asking has failed, as then it is tried again in the background.
func (p *Provider) Await(x *proxy.Exchange) *Metadata {
	if m := p.Metadata(); m != nil || p.options.Idle || p.work.Over() {
		return m
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > waitersMax {
		return nil
	}
	x.Waited = true
	t := time.NewTimer(Patience(x, waitMax))
	defer t.Stop()
	select {
	case <-p.asked:
	case <-t.C:
	case <-x.Done():
	case <-p.work.Life().Done():
	}
	return p.Metadata()
}

// Patience is how long a request waits: max, or as long as its route allows.
func Patience(x *proxy.Exchange, max time.Duration) time.Duration {
	if x.Deadline == 0 {
		return max
	}
	return min(max, time.Duration(x.Deadline-wire.Now()))
}

func (p *Provider) run() {
	for failures := 0; ; {
		ctx, cancel := context.WithTimeout(p.work.Life(), AnswerMax)
		m, err := p.ask(ctx)
		cancel()
		if p.work.Over() {
			return // it was broken off
		}
		p.learn(m, err)
		pause := refreshEvery - time.Duration(rand.Int64N(int64(refreshEvery/10))) // hosts that were started together do not ask together
		if failures++; err == nil {
			failures = 0
		} else {
			pause = min(retryMin<<min(failures-1, 10), retryMax)
		}
		if !p.work.Sleep(pause, nil) {
			return
		}
	}
}

func (p *Provider) ask(ctx context.Context) (*Metadata, error) {
	m, err := Discover(ctx, p.http, p.options.Issuer)
	if err != nil {
		return nil, err
	}
	known := &p.options.Known
	for _, e := range []struct{ found, known *string }{
		{&m.Authorization, &known.Authorization}, {&m.Token, &known.Token}, {&m.Introspection, &known.Introspection}, {&m.EndSession, &known.EndSession}, {&m.Keys, &known.Keys},
	} {
		if *e.known != "" {
			*e.found = *e.known
		}
		if *e.found != "" && CheckURL(*e.found) != nil {
			return nil, errors.New("an endpoint that the issuer names is no URL of https")
		}
	}
	return m, nil
}

func (p *Provider) learn(m *Metadata, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	s.Asked++
	if err != nil {
		s.Failed++
		if s.Problem == "" {
			slog.Warn("an issuer does not say where its endpoints are", "issuer", s.Source, "error", err, "known", p.metadata.Load() != nil)
		}
		s.Problem = err.Error()
	} else {
		if s.Problem != "" {
			slog.Info("an issuer says again where its endpoints are", "issuer", s.Source)
		}
		s.Problem = ""
		if p.metadata.Swap(m) == nil {
			close(p.known)
		}
	}
	select {
	case <-p.asked:
	default:
		close(p.asked)
	}
}
