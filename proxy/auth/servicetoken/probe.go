package servicetoken

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/auth/oauth"
)

// probe finds out whether a provider answers that has not answered a request, and when it does again: a gateway that gets no requests because it
// is not ready would not notice. It offers a token that is nobody's.
type probe struct {
	ask     func(context.Context, string) error
	failing atomic.Bool
	wake    chan struct{}
	life    context.Context
	end     context.CancelFunc

	mu    sync.Mutex
	ended chan struct{} // closed when the goroutine is gone; nil: there was none
}

const probeMax = 30 * time.Second

func (p *probe) init(ask func(context.Context, string) error) {
	p.ask, p.wake = ask, make(chan struct{}, 1)
	p.life, p.end = context.WithCancel(context.Background())
}

func (p *probe) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil || p.life.Err() != nil {
		return
	}
	p.ended = make(chan struct{})
	go p.run()
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

// learn is told how the question of a request went. That there was no answer may be due to the token, which must not close the gateway for
// others: it is tried with another one.
func (p *probe) learn(answered bool) {
	if answered {
		p.is(true)
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *probe) is(answering bool) {
	if !p.failing.CompareAndSwap(answering, !answering) {
		return
	}
	if answering {
		slog.Info("tokens are exchanged again for services")
	} else {
		slog.Warn("tokens cannot be exchanged for services: only those that are remembered serve")
	}
}

func (p *probe) run() {
	defer close(p.ended)
	for {
		select {
		case <-p.wake:
		case <-p.life.Done():
			return
		}
		for pause := retryMin; ; pause = min(2*pause, probeMax) {
			ctx, cancel := context.WithTimeout(p.life, oauth.AnswerMax)
			err := p.ask(ctx, rand.Text())
			cancel()
			if p.life.Err() == nil {
				p.is(isAnswer(err))
			}
			t := time.NewTimer(pause) // also before it is asked again because of a request
			select {
			case <-t.C:
			case <-p.life.Done():
				t.Stop()
				return
			}
			if !p.failing.Load() {
				break
			}
		}
	}
}
