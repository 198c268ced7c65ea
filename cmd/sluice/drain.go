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
// what is under way may end within limits.drain, a change of the configuration included. A signal on the way ends the waiting for these, and one
// after that the waiting for the rest. first came at a moment. The error says that something was cut or lost.
func (g *gateway) drain(signals <-chan os.Signal, first os.Signal, at time.Time) error {
	g.draining.Store(true)
	g.server.StartDraining()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rest, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	go heed(rest, signals, at, func() {
		if ctx.Err() == nil {
			cancel()
			return
		}
		giveUp()
	})
	g.publishing.Lock()
	g.over = true
	g.publishing.Unlock()

	limit := g.serving.Load().plan.Drain
	slog.Info("draining", "connections", g.server.Counts().Open, "limit", limit.String())
	if first != syscall.SIGINT { // somebody at a terminal has no balancer to wait for
		select {
		case <-time.After(min(limit/10, noticeMax)):
		case <-ctx.Done():
		}
	}
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	cut := g.server.Shutdown(limited)
	stuck := !g.reloading.lockBefore(limited)
	if stuck {
		slog.Error("a change of the configuration did not end in time")
	} else {
		g.reloading.Unlock() // the next one finds that it is too late
	}
	cancel()

	closing, stop := context.WithTimeout(rest, closeMax)
	defer stop()
	lost := g.close(closing)
	if lost != nil {
		slog.Error("not everything was written to its end", "error", lost)
	}
	switch took := time.Since(at).String(); {
	case cut != nil:
		slog.Error("ended, but requests were cut", "took", took)
	case lost != nil, stuck:
		slog.Error("ended, but not everything was brought to its end", "took", took)
	default:
		slog.Info("ended", "took", took)
		return nil
	}
	return errFailed
}

// heed calls more for every further signal, until ctx ends. last is when the one before came.
func heed(ctx context.Context, signals <-chan os.Signal, last time.Time, more func()) {
	for {
		select {
		case s := <-signals:
			now := time.Now()
			if now.Sub(last) < sameSignal {
				continue
			}
			last = now
			slog.Warn("second signal: ending at once", "signal", s.String())
			more()
		case <-ctx.Done():
			return
		}
	}
}
