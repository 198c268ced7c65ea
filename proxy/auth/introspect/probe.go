package introspect

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/auth/oauth"
)

// probe finds out whether the endpoint answers, at the start and after it has not: a gateway that gets no requests because it is not ready
// would not notice that the endpoint is there again.
type probe struct {
	name    string // of the guard
	from    string // who is asked
	ask     func(context.Context, string) (*verdict, error)
	failing atomic.Pointer[string] // why the last question had no answer; nil: it had one
	wake    chan struct{}
	least   time.Duration // probeMin; tests do not wait for that
	life    context.Context
	end     context.CancelFunc

	mu    sync.Mutex
	ended chan struct{} // closed when the goroutine is gone; nil: there was none
}

// How often an endpoint that does not answer is tried.
const (
	probeMin = time.Second // doubled with each failure
	probeMax = 30 * time.Second
)

func (p *probe) init(name, from string, ask func(context.Context, string) (*verdict, error)) {
	p.name, p.from, p.ask, p.wake, p.least = name, from, ask, make(chan struct{}, 1), probeMin
	p.life, p.end = context.WithCancel(context.Background())
}

// start may be called again while it runs. A provider that is never asked is not tried.
func (p *probe) start(of *oauth.Provider) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil || p.life.Err() != nil || of.Idle() {
		return
	}
	p.ended = make(chan struct{})
	go p.run(of)
}

func (p *probe) stop() {
	p.end()
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// answered and missed say how a question went, whoever has made it.
func (p *probe) answered() { p.learn(nil) }

func (p *probe) missed() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *probe) run(of *oauth.Provider) {
	defer close(p.ended)
	for pause := time.Duration(0); ; {
		select {
		case <-of.Known():
		case <-p.life.Done():
			return
		}
		// Nobody has such a token: the answer is that it is not active.
		ctx, cancel := context.WithTimeout(p.life, oauth.AnswerMax)
		_, err := p.ask(ctx, rand.Text())
		cancel()
		if p.life.Err() != nil {
			return
		}
		p.learn(err)
		if err == nil {
			pause = 0
			select {
			case <-p.wake: // what was said while it was asked
			default:
			}
		} else {
			pause = min(max(p.least, 2*pause), probeMax)
		}
		if !p.sleep(pause) {
			return
		}
	}
}

// learn tells the log of changes only: of many who find out about one, the first does.
func (p *probe) learn(err error) {
	if errors.Is(err, oauth.ErrCooling) && p.failing.Load() != nil {
		return // why that is so is known
	}
	was := p.failing.Swap(reason(err))
	about := []any{"policy", p.name, "from", p.from}
	switch {
	case err != nil && was == nil:
		slog.Warn("an introspection endpoint gives no answer: only tokens that are remembered are admitted", append(about, "error", *reason(err))...)
	case err == nil && was != nil:
		slog.Info("an introspection endpoint answers again", about...)
	}
}

// reason says why there is no answer; nil: there is one.
func reason(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	if refused := (*oauth.Refusal)(nil); errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		text += "; it refuses the gateway: are client_id and the secret or the key those that it knows?"
	}
	return &text
}

// sleep waits, or, when all is well, until a question was not answered.
func (p *probe) sleep(pause time.Duration) bool {
	if pause == 0 {
		select {
		case <-p.wake:
		case <-p.life.Done():
			return false
		}
		pause = p.least
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.life.Done():
		return false
	}
}
