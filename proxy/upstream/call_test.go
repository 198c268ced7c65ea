package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// newCall is a call of gRPC whose client waits for so long.
func newCall(timeout string) *proxy.Exchange {
	x := newExchange("POST", "/a.B/c", "")
	x.Request.Head.AddString("content-type", "application/grpc")
	x.Request.Head.AddString("grpc-timeout", timeout)
	x.BeginCall()
	x.Deadline = x.CallBy
	return x
}

// TestCallOver: a service that is never silent is read no longer than until the end of the call; what has come whole by then is the answer.
func TestCallOver(t *testing.T) {
	f := func(to Target, whole bool) {
		t.Helper()
		x := newCall("1H")
		defer end(x)
		s := testService(t, nil, to)
		if err := s.Serve(x, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "there is something to read", func() bool { return x.Response.Body.Buffered() >= 2 })
		if whole {
			eventually(t, "all is there", func() bool { return x.Response.Body.Buffered() == 10 })
		}
		buf := make([]byte, 1)
		if _, err := x.Response.Body.Read(buf); err != nil {
			t.Errorf("before the end: %v", err)
		}
		x.CallBy = 1
		_, err := x.Response.Body.Read(buf)
		if whole && err != nil || !whole && err != proxy.ErrCallTimeout {
			t.Errorf("after the end: %v", err)
		}
		if err := x.Response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	h2 := func(ends bool) Target {
		return h2Origin(t, each(func(o *h2origin, id uint32) {
			o.head(id, false, ":status", "200")
			_ = o.WriteData(id, ends, make([]byte, 10))
		}))
	}
	f(h2(false), false)
	f(h2(true), true)
	f(origin(t, func(int, *http.Request, string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n"
	}), false)
}

// TestBeginCall: what is sent has time left, and says how much if a good part is gone, unless a policy has said something else.
func TestBeginCall(t *testing.T) {
	const removed = "-"
	f := func(timeout string, ago time.Duration, edit string, want string, from, to time.Duration) {
		t.Helper()
		x := newCall(timeout)
		defer end(x)
		x.Started -= int64(ago)
		x.BeginCall()
		x.Deadline = x.CallBy
		switch edit {
		case "":
		case removed:
			x.Request.Head.Del("grpc-timeout")
		default:
			x.Request.Head.SetString("grpc-timeout", edit)
		}
		err := beginCall(x)
		said := string(x.Request.Head.Get("grpc-timeout"))
		if err != nil {
			said = code(err)
		}
		left, ok := x.Request.GRPCTimeout()
		if want == removed {
			want = ""
			left, ok = 0, said == ""
		}
		if want != "" && said != want || want == "" && (!ok || left < from || left > to) {
			t.Errorf("%s, %s ago, then %q: got %q (%s), want %q between %s and %s", timeout, ago, edit, said, left, want, from, to)
		}
	}
	f("0100M", 0, "", "0100M", 0, 0)
	f("0100M", 50*time.Second, "", "0100M", 0, 0)
	f("100M", 70*time.Second, "", "", 90*time.Minute, 99*time.Minute)
	f("100M", 99*time.Minute, "", "", 0, time.Minute)
	f("100M", 100*time.Minute, "", "call_timeout", 0, 0)
	f("100M", 50*time.Minute, removed, removed, 0, 0)
	f("100M", 50*time.Minute, "10M", "10M", 0, 0)
	f("100M", 50*time.Minute, "200M", "", 40*time.Minute, 50*time.Minute)
	f("nonsense", 50*time.Minute, "", "nonsense", 0, 0)
}

// TestCallTimeout: it is told whose time was over, the route's or the client's.
func TestCallTimeout(t *testing.T) {
	f := func(deadline, callBy, headAt int64, want error) {
		t.Helper()
		x := newExchange("POST", "/", "")
		defer end(x)
		x.Deadline, x.CallBy, x.HeadAt = deadline, callBy, headAt
		if got := timeout(x); got != want {
			t.Errorf("deadline %d, call until %d, head at %d: %v, want %v", deadline, callBy, headAt, got, want)
		}
	}
	later := wire.Now() + int64(time.Hour)
	f(0, 0, 0, errTimeout)
	f(5, 0, 0, errTimeout)
	f(later, later, 0, errTimeout)
	f(5, later, 0, errTimeout)
	f(5, 5, 0, proxy.ErrCallTimeout)
	f(4, 5, 0, errTimeout)
	f(4, 5, 4, proxy.ErrCallTimeout)
	f(4, later, 4, errTimeout)
}

// TestCallWaits: the end of a call is the end of its wait for a connection, and the origin is not asked.
func TestCallWaits(t *testing.T) {
	big := string(make([]byte, 1<<20))
	s := testService(t, func(o *Options) { o.MaxConns = 1 }, origin(t, func(_ int, r *http.Request, _ string) string {
		if r.Method == "POST" {
			t.Error("the origin is asked")
		}
		return ok(big)
	}))
	first := newExchange("GET", "/", "")
	defer end(first)
	if err := s.Serve(first, nil); err != nil {
		t.Fatal(err)
	}
	x := newCall("50m")
	defer end(x)
	if err := s.Serve(x, nil); err != proxy.ErrCallTimeout || x.Asked || x.Attempts != 1 {
		t.Errorf("got %v, asked: %v, %d attempts", err, x.Asked, x.Attempts)
	}
	_, err := io.Copy(io.Discard, &first.Response.Body)
	if err = errors.Join(err, first.Response.Body.Close()); err != nil {
		t.Error(err)
	}
	if e := s.endpointAt(0); e.inFlight.Load() != 0 || !e.usable(wire.Now()) {
		t.Errorf("%d are in flight, usable: %v", e.inFlight.Load(), e.usable(wire.Now()))
	}
}

// TestCallWaits2 is TestCallWaits over HTTP/2. A call that the origin was sent has asked it.
func TestCallWaits2(t *testing.T) {
	began, hold := make(chan string, 9), make(chan struct{})
	s := testService(t, func(o *Options) { o.MaxConns = 1 }, h2Origin(t, each(func(o *h2origin, id uint32) {
		began <- "one"
		<-hold
	}), http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}))
	defer close(hold)
	first := newCall("1H")
	defer end(first)
	served := make(chan error, 1)
	go func() { served <- s.Serve(first, nil) }()
	receive(t, "the origin is asked", began)
	x := newCall("50m")
	defer end(x)
	if err := s.Serve(x, nil); err != proxy.ErrCallTimeout || x.Asked || x.Attempts != 1 || len(began) > 0 {
		t.Errorf("got %v, asked: %v, %d attempts", err, x.Asked, x.Attempts)
	}
	first.Cancel(proxy.ErrClientGone)
	if err := receive(t, "the first call ends", served); err != proxy.ErrClientGone || !first.Asked {
		t.Errorf("the first call: %v, asked: %v", err, first.Asked)
	}
}

// TestCallNotTriedAgain: when the time is over no other endpoint is tried, and the one that was is not left out for it.
func TestCallNotTriedAgain(t *testing.T) {
	f := func(h2 bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			a, b := target("192.0.2.1:1"), target("192.0.2.2:1")
			a.H2, b.H2 = h2, h2
			var dialled atomic.Int32
			over := make(chan struct{})
			s := testService(t, func(o *Options) {
				o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					dialled.Add(1)
					select {
					case <-ctx.Done():
					case <-over: // over HTTP/2 others may want the connection: it is opened whatever becomes of the call
					}
					return nil, errors.New("nobody is there")
				}
			}, a, b)
			x := newCall("50m")
			defer end(x)
			if err := s.Serve(x, nil); err != proxy.ErrCallTimeout {
				t.Errorf("HTTP/2 %v: got %v", h2, err)
			}
			if n := dialled.Load(); n != 1 || x.Attempts != 1 || x.Asked == h2 {
				t.Errorf("HTTP/2 %v: %d endpoints were dialled in %d attempts, asked: %v", h2, n, x.Attempts, x.Asked)
			}
			for i := range 2 {
				if e := s.endpointAt(i); !e.usable(wire.Now()) || e.inFlight.Load() != 0 {
					t.Errorf("HTTP/2 %v: endpoint %d, usable: %v, %d in flight", h2, i, e.usable(wire.Now()), e.inFlight.Load())
				}
			}
			close(over)
		})
	}
	f(false)
	f(true)
}
