package main

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// noticeMax is how long a drain waits at most for a balancer to notice, while new connections are still accepted.
const noticeMax = 2 * time.Second

// sameSignal is how far apart two signals are that mean one thing: a terminal and a supervisor both pass on Ctrl-C.
const sameSignal = 250 * time.Millisecond

// closeMax is how long the rest may take once no client is left: all of it together. Nearly always that is an instant; it is for a slow disk,
// and for quotas of millions of clients.
const closeMax = 10 * time.Second

// drain ends the gateway: /readyz fails, a balancer gets a moment to notice, then nothing is accepted any more and
// what is under way may end within limits.drain. A signal on the way ends the waiting for clients, and one after that the waiting for the
// rest. The error says that something was cut or lost.
func (g *gateway) drain(signals <-chan os.Signal, first os.Signal) error {
	g.reloading.Lock()
	g.over = true
	g.reloading.Unlock()
	limit := g.serving.Load().plan.Drain
	slog.Info("draining", "connections", g.server.Counts().Open, "limit", limit.String())
	begin := time.Now()
	g.draining.Store(true)
	g.server.StartDraining()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waits := make(chan struct{})
	go func() {
		defer close(waits)
		awaitSecond(ctx, cancel, signals)
	}()
	if first != syscall.SIGINT { // somebody at a terminal has no balancer to wait for
		select {
		case <-time.After(min(limit/10, noticeMax)):
		case <-ctx.Done():
		}
	}
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	cut := g.server.Shutdown(limited)
	cancel()
	<-waits // it takes no signal any more

	closing, stop := context.WithTimeout(context.Background(), closeMax)
	defer stop()
	go awaitSecond(closing, stop, signals)
	lost := g.close(closing)
	if lost != nil {
		slog.Error("not everything was written to its end", "error", lost)
	}
	switch took := time.Since(begin).String(); {
	case cut != nil:
		slog.Error("ended, but requests were cut", "took", took)
	case lost != nil:
		slog.Error("ended, but something was lost", "took", took)
	default:
		slog.Info("ended", "took", took)
		return nil
	}
	return errFailed
}

// awaitSecond calls cancel when another signal to end comes.
func awaitSecond(ctx context.Context, cancel func(), signals <-chan os.Signal) {
	began := time.Now()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP || time.Since(began) < sameSignal {
				continue
			}
			slog.Warn("second signal: ending at once", "signal", s.String())
			cancel()
			return
		case <-ctx.Done():
			return
		}
	}
}
