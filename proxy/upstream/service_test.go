package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// TestUnreachable sends what could not be sent to one endpoint to another, and leaves the first alone for a while.
func TestUnreachable(t *testing.T) {
	live := origin(t, func(_ int, req *http.Request, body string) string { return ok(req.Method + body) })
	s := testService(t, nil, deadTarget(t), live)
	dead := s.endpointAt(0)
	for _, method := range []string{"POST", "GET", "POST", "PATCH"} {
		dead.leftOutUntil.Store(0) // so that it is tried every time
		s.turn.Store(0)
		if attempts := expect(t, s, method, "/", " body", "200 "+method+" body"); attempts != 2 {
			t.Fatalf("%s: %d attempts", method, attempts)
		}
	}
	dead.leftOutUntil.Add(int64(patience)) // else it may be over already
	st := s.Status()
	if e := st.Endpoints[0]; e.Failures != 4 || !e.LeftOut || e.Open != 0 || e.InFlight != 0 {
		t.Fatalf("%+v", e)
	}
	if e := st.Endpoints[1]; e.Failures != 0 || e.LeftOut || e.Requests != 4 || e.Open != 1 || e.Idle != 1 {
		t.Fatalf("%+v", e)
	}
	// Left out, it is not tried at all.
	for range 4 {
		if attempts := expect(t, s, "GET", "/", "", "200 GET"); attempts != 1 {
			t.Fatalf("%d attempts", attempts)
		}
	}
}

// TestUnreachableBody has a body that is still on its way wait for the endpoint that can be reached.
func TestUnreachableBody(t *testing.T) {
	live := origin(t, func(_ int, _ *http.Request, body string) string { return ok(body) })
	s := testService(t, nil, deadTarget(t), live)
	x := newExchange("POST", "/", "")
	defer end(x)
	body := newFlow("flowing")
	x.Request.Body.SetFlow([]byte("prefix "), body, -1)
	if got, err := serve(s, x); got != "200 prefix flowing" || x.Attempts != 2 {
		t.Fatalf("%q %v after %d attempts", got, err, x.Attempts)
	}
}

// TestUnreachableAll fails with what happened, after as many tries as are allowed.
func TestUnreachableAll(t *testing.T) {
	f := func(targets, attempts int) {
		t.Helper()
		var list []Target
		for range targets {
			list = append(list, deadTarget(t))
		}
		s := testService(t, nil, list...)
		if got := expect(t, s, "GET", "/", "", "upstream_unreachable"); got != attempts {
			t.Fatalf("%d targets: %d attempts", targets, got)
		}
		// Trying beats refusing: although left out, they are tried again.
		if got := expect(t, s, "GET", "/", "", "upstream_unreachable"); got != attempts {
			t.Fatalf("%d targets: %d attempts", targets, got)
		}
	}
	f(1, 1)
	f(2, 2)
	f(5, attemptsMax)

	s := testService(t, func(o *Options) { o.Resolver = fixedResolver{} }, target("nowhere.example:80"))
	expect(t, s, "GET", "/", "", "no_endpoint")
}

// TestConnectTimeout bounds how long a connection may take, and a nearer deadline of the exchange bounds it more.
func TestConnectTimeout(t *testing.T) {
	// The origin accepts and never answers the TLS handshake.
	silent := rawOrigin(t, func(c net.Conn, _ *bufio.Reader, _ int) { _, _ = io.Copy(io.Discard, c) })
	silent.TLS = true
	s := testService(t, func(o *Options) { o.Connect = 50 * time.Millisecond }, silent)
	began := time.Now()
	expect(t, s, "GET", "/", "", "upstream_unreachable")
	if took := time.Since(began); took < 50*time.Millisecond || took > patience/2 {
		t.Fatalf("took %s", took)
	}
	// For how long it is left out may be over already.
	if e := s.endpointAt(0); e.leftOutUntil.Load() == 0 || e.failures.Load() != 1 {
		t.Fatalf("left out until %d after %d failures", e.leftOutUntil.Load(), e.failures.Load())
	}

	s = testService(t, nil, silent)
	x := newExchange("GET", "/", "")
	defer end(x)
	x.Deadline = wire.Now() + int64(50*time.Millisecond)
	if _, err := serve(s, x); code(err) != "upstream_timeout" {
		t.Fatal(err)
	}
	if e := s.endpointAt(0); e.leftOutUntil.Load() != 0 {
		t.Fatal("an endpoint is left out because a client was in a hurry")
	}
}

// TestCanceledDial ends the work for a client that has gone, and holds nothing against the endpoint.
func TestCanceledDial(t *testing.T) {
	arrived := make(chan bool, 1)
	silent := rawOrigin(t, func(c net.Conn, _ *bufio.Reader, _ int) {
		arrived <- true
		_, _ = io.Copy(io.Discard, c)
	})
	silent.TLS = true
	s := testService(t, nil, silent)
	x := newExchange("GET", "/", "")
	defer end(x)
	failed := make(chan error, 1)
	go func() {
		_, err := serve(s, x)
		failed <- err
	}()
	receive(t, "a connection", arrived)
	x.Cancel(proxy.ErrClientGone)
	if err := receive(t, "the end", failed); err != proxy.ErrClientGone {
		t.Fatal(err)
	}
	if st := s.Status().Endpoints[0]; st.LeftOut || st.Failures != 0 || st.Open != 0 || st.InFlight != 0 {
		t.Fatalf("%+v", st)
	}
}

// TestCanceledBefore: nothing is done for a client that has gone before its turn came.
func TestCanceledBefore(t *testing.T) {
	arrived := make(chan bool, 1)
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) {
		arrived <- true
		answerOne(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
	}))
	x := newExchange("GET", "/", "")
	x.Cancel(proxy.ErrClientGone)
	if _, err := serve(s, x); err != proxy.ErrClientGone || x.Attempts != 0 {
		t.Errorf("%d attempts, %v", x.Attempts, err)
	}
	end(x)
	select {
	case <-arrived:
		t.Error("there was a connection")
	default:
	}
	expect(t, s, "GET", "/", "", "200 done")
	if len(arrived) != 1 {
		t.Errorf("%d connections were made, want 1", len(arrived))
	}
}

// TestCanceled interrupts the wait for an answer, and the wait for the rest of one.
func TestCanceled(t *testing.T) {
	arrived := make(chan bool, 2)
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		if n == 0 {
			answerOne(c, r, "")
		} else {
			answerOne(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive.")
		}
		arrived <- true
		_, _ = io.Copy(io.Discard, c)
	}))
	failed := make(chan error, 1)
	x := newExchange("GET", "/", "")
	go func() { failed <- s.Serve(x, nil) }()
	receive(t, "a request", arrived)
	x.Cancel(proxy.ErrDraining)
	if err := receive(t, "the end", failed); err != proxy.ErrDraining { // whatever the reason was
		t.Fatal(err)
	}
	if x.Attempts != 1 {
		t.Fatalf("%d attempts for a client that had gone", x.Attempts)
	}
	end(x)
	settled(t, s, 0, 0)

	x = newExchange("GET", "/", "")
	if err := s.Serve(x, nil); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.ReadAll(&x.Response.Body)
		failed <- err
	}()
	receive(t, "a request", arrived)
	x.Cancel(proxy.ErrClientGone)
	if err := receive(t, "the end", failed); err != proxy.ErrClientGone {
		t.Fatal(err)
	}
	if err := x.Response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	end(x)
	settled(t, s, 0, 0)
}

// TestTryTimeout bounds the silence before the response head, counted from the request having been sent.
func TestTryTimeout(t *testing.T) {
	silent := rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) {
		if answerOne(c, r, "") {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	quiet := testService(t, func(o *Options) { o.Try = 60 * time.Millisecond }, silent)
	for _, method := range []string{"GET", "POST"} {
		if got := expect(t, quiet, method, "/", "", "upstream_timeout"); got != 1 {
			t.Fatalf("%d attempts", got)
		}
	}
	settled(t, quiet, 0, 0)
}

// flow is the part of a request body that is still on its way. Once it has given out its text it ends, or waits for
// ever if it hangs; Interrupt ends a wait and fails later reads, as an edge's bodies do.
type flow struct {
	text  *strings.Reader
	hangs bool
	gone  chan struct{}
	reads atomic.Int64
}

func newFlow(text string) *flow {
	return &flow{text: strings.NewReader(text), gone: make(chan struct{})}
}

func hangingFlow(text string) *flow {
	f := newFlow(text)
	f.hangs = true
	return f
}

var errInterrupted = &proxy.Error{Status: 400, Code: "interrupted"}

func (f *flow) Read(p []byte) (int, error) {
	f.reads.Add(1)
	select {
	case <-f.gone:
		return 0, errInterrupted
	default:
	}
	n, err := f.text.Read(p)
	if err == io.EOF && f.hangs {
		<-f.gone
		return 0, errInterrupted
	}
	return n, err
}

func (f *flow) Buffered() int { return 0 }
func (f *flow) Close() error  { return nil }
func (f *flow) Interrupt()    { close(f.gone) }

// TestStaleFlowing has a body on its way that cannot be sent twice: once a connection is tried the pump may have taken some
// of it. So such a connection is looked at before, as for a POST.
func TestStaleFlowing(t *testing.T) {
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		if n == 0 {
			answerOne(c, r, ok(""))
			return
		}
		answerAll(c, r, n, func(_ int, _ *http.Request, body string) string { return ok(body) })
	}))
	expect(t, s, "GET", "/", "", "200")
	staleIdle(t, s)
	x := newExchange("PUT", "/", "")
	defer end(x)
	x.Request.Body.SetFlow(nil, newFlow("body"), -1)
	if got, err := serve(s, x); got != "200 body" || x.Attempts != 1 {
		t.Fatalf("%q %v after %d attempts", got, err, x.Attempts)
	}
}

// TestClosedWhileFlowing blames the origin that closes in the middle of a request, not the client whose body is
// interrupted because of it, and does not send what is left of the body to somebody else.
func TestClosedWhileFlowing(t *testing.T) {
	for range 20 {
		var seen atomic.Int64
		s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
			if n == 0 {
				answerOne(c, r, ok(""))
			}
			seen.Add(1)
			_, _ = r.ReadString('\n') // the request's first line, and closes
		}))
		expect(t, s, "GET", "/", "", "200")
		x := newExchange("PUT", "/", "")
		body := hangingFlow("")
		x.Request.Body.SetFlow(nil, body, 100)
		if _, err := serve(s, x); code(err) != "upstream_closed" || x.Attempts != 1 || seen.Load() != 1 {
			t.Fatalf("%v after %d attempts, %d seen", err, x.Attempts, seen.Load())
		}
		end(x)
		settled(t, s, 0, 0)
	}
}

// TestBodyBreaksOff ends the connection to the origin without a terminator, and says whose fault it was.
func TestBodyBreaksOff(t *testing.T) {
	f := func(size int64) {
		t.Helper()
		received := make(chan error, 1)
		s := testService(t, nil, rawOrigin(t, func(_ net.Conn, r *bufio.Reader, _ int) {
			req, err := http.ReadRequest(r)
			if err == nil {
				_, err = io.Copy(io.Discard, req.Body)
			}
			received <- err
		}))
		x := newExchange("POST", "/", "")
		defer end(x)
		x.Request.Body.SetFlow(nil, brokenFlow{newFlow("some")}, size)
		if _, err := serve(s, x); code(err) != "bad_body" {
			t.Fatal(err)
		}
		if err := receive(t, "the end of the request", received); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("the origin took it for whole: %v", err)
		}
		settled(t, s, 0, 0)
	}
	f(-1)
	f(100)
}

// brokenFlow fails where its text ends.
type brokenFlow struct{ *flow }

func (f brokenFlow) Read(p []byte) (int, error) {
	n, err := f.flow.Read(p)
	if err == io.EOF {
		err = proxy.ErrBadBody.With(io.ErrUnexpectedEOF)
	}
	return n, err
}
