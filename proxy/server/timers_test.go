package server

import (
	"net"
	"testing"

	"sluice/proxy"
)

// TestTimersCaught: what timers and goroutines beside those that serve do is caught as well. Each is done here to something that is broken: the
// framers, connections and books are missing.
func TestTimersCaught(t *testing.T) {
	f := func(name string, bugs uint64, do func()) {
		t.Helper()
		before := proxy.Panics.Load()
		do()
		if n := proxy.Panics.Load() - before; n != bugs {
			t.Errorf("%s: %d bugs were counted, want %d", name, n, bugs)
		}
	}
	f("the end of the notice over HTTP/2", 1, new(h2).endNotice)
	unheard := &h2stream{c: new(h2)}
	unheard.c.streams = map[uint32]*h2stream{0: unheard}
	f("the end of an upload over HTTP/2", 1, unheard.endUnheard)

	f("idle over HTTP/3", 1, new(h3).watchIdle)
	f("GOAWAY over HTTP/3", 1, func() { (&h3{goneAway: -1}).goAway(lastStreamID) })
	f("the last stream over HTTP/3", 2, (&h3{goneAway: -1}).finish) // which cannot be told, and not be waited for
	f("the end over HTTP/3", 1, new(h3).closeDone)
	f("streams of one direction over HTTP/3", 1, new(h3).takeUniStreams)

	gone := &h3stream{x: proxy.Acquire()}
	gone.x.CancelFork(new(proxy.Exchange), func() bool { panic("a bug of the test in a flight") })
	f("a client that gives up over HTTP/3", 1, gone.lost)
	if gone.x.Canceled() != proxy.ErrClientGone {
		t.Errorf("the exchange was canceled by %v", gone.x.Canceled())
	}

	client, _ := net.Pipe()
	silent := &relay{client: client}
	f("a silent passage that cannot be cut", 2, silent.look)
	cut := false
	broken := &relay{client: client, cancel: func() { cut = true }, silence: 1 << 62} // without a clock
	f("a passage that cannot be looked at", 1, broken.look)
	if !cut || broken.ended != proxy.EndedByBug {
		t.Errorf("it goes on, %q", broken.ended)
	}
}
