package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

func (p *pool) queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// TestPoolQueue serves those who wait for a connection in the order they came, and never opens more than the limit.
func TestPoolQueue(t *testing.T) {
	arrived, answer := make(chan string, 10), make(chan bool)
	var now, most atomic.Int64
	s := testService(t, func(o *Options) { o.MaxConns = 1 }, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		answerAll(c, r, n, func(_ int, req *http.Request, _ string) string {
			arrived <- req.URL.Path
			<-answer
			return ok(req.URL.Path)
		})
	}))
	t.Cleanup(func() { close(answer) })
	var wg sync.WaitGroup
	var want []string
	for i := range 6 {
		path := fmt.Sprintf("/%d", i)
		want = append(want, path)
		wg.Go(func() {
			x := newExchange("GET", path, "")
			defer end(x)
			if got, err := serve(s, x); got != "200 "+path {
				t.Errorf("%s: %q %v", path, got, err)
			}
		})
		// The first one gets the connection, the others their place in the queue, one after the other.
		eventually(t, "the request has its place", func() bool {
			open, _ := s.endpointAt(0).pool.counts()
			return open == 1 && s.endpointAt(0).pool.queued() == i
		})
	}
	var got []string
	for range 6 {
		got = append(got, receive(t, "a request", arrived))
		answer <- true
	}
	wg.Wait()
	if !slices.Equal(got, want) || most.Load() != 1 {
		t.Fatalf("served %v over %d connections at a time", got, most.Load())
	}
	settled(t, s, 1, 1)
}

// TestPoolBusy refuses what has waited too long, and leaves nothing of it in the queue.
func TestPoolBusy(t *testing.T) {
	hold := make(chan bool)
	arrived := make(chan bool, 1)
	s := testService(t, func(o *Options) { o.MaxConns, o.Wait = 1, 50*time.Millisecond }, origin(t, func(_ int, req *http.Request, _ string) string {
		if req.URL.Path == "/hold" {
			arrived <- true
			<-hold
		}
		return ok("")
	}))
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	first := make(chan error, 1)
	go func() {
		x := newExchange("GET", "/hold", "")
		defer end(x)
		_, err := serve(s, x)
		first <- err
	}()
	receive(t, "the first request", arrived)

	x := newExchange("POST", "/", "body")
	began := time.Now()
	_, err := serve(s, x)
	waited := time.Since(began)
	e := proxy.AsError(err)
	if e.Code != "upstream_busy" || e.Status != 503 || !e.Unsent || e.RetryAfter == 0 || waited < 50*time.Millisecond {
		t.Fatalf("%v after %s", err, waited)
	}
	end(x)

	// A request whose own time is up first does not wait longer than that.
	x = newExchange("GET", "/", "")
	x.Deadline = wire.Now() + int64(5*time.Millisecond)
	if _, err = serve(s, x); code(err) != "upstream_timeout" || proxy.AsError(err).Status != 504 {
		t.Fatalf("its time was over in the queue: %v", err)
	}
	end(x)

	// One that is canceled leaves at once.
	s.options.Wait = patience
	s.endpointAt(0).options.Wait = patience
	x = newExchange("GET", "/", "")
	var canceled sync.WaitGroup
	canceled.Go(func() {
		eventually(t, "the request is in the queue", func() bool { return s.endpointAt(0).pool.queued() == 1 })
		x.Cancel(proxy.ErrClientGone)
	})
	if _, err = serve(s, x); err != proxy.ErrClientGone {
		t.Fatal(err)
	}
	canceled.Wait()
	end(x)
	if n := s.endpointAt(0).pool.queued(); n != 0 {
		t.Fatalf("%d are left in the queue", n)
	}
	release()
	if err := receive(t, "the first answer", first); err != nil {
		t.Fatal(err)
	}
	settled(t, s, 1, 1)
	if n := s.endpointAt(0).inFlight.Load(); n != 0 {
		t.Fatalf("%d in flight for ever", n)
	}
}

// TestPoolTurnAndTimeout lets turns and timeouts meet: no connection and no slot is ever lost.
func TestPoolTurnAndTimeout(t *testing.T) {
	s := testService(t, func(o *Options) { o.MaxConns, o.Wait = 2, 200*time.Microsecond }, origin(t, func(n int, req *http.Request, _ string) string {
		if req.URL.Path == "/close" {
			return strings.Replace(ok(""), "\r\n", "\r\nConnection: close\r\n", 1)
		}
		return ok("")
	}))
	var wg sync.WaitGroup
	var served, busy atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			for n := range 60 {
				path := "/"
				if (i+n)%5 == 0 {
					path = "/close"
				}
				x := newExchange("GET", path, "")
				switch _, err := serve(s, x); {
				case err == nil:
					served.Add(1)
				case code(err) == "upstream_busy":
					busy.Add(1)
				default:
					t.Error(err)
				}
				end(x)
			}
		})
	}
	wg.Wait()
	e := s.endpointAt(0)
	if open, idle := e.pool.counts(); open != idle || open > 2 || e.pool.queued() != 0 || e.inFlight.Load() != 0 {
		t.Fatalf("%d open, %d idle, %d queued, %d in flight", open, idle, e.pool.queued(), e.inFlight.Load())
	}
	if served.Load() == 0 {
		t.Fatal("nothing was served")
	}
	t.Logf("%d served, %d busy", served.Load(), busy.Load())
}

func TestPoolIdle(t *testing.T) {
	together := make(chan bool)
	closed := make(chan int, 10)
	s := testService(t, func(o *Options) { o.MaxIdle = 2 }, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		answerAll(c, r, n, func(_ int, req *http.Request, _ string) string {
			if req.URL.Path == "/together" {
				together <- true
			}
			return ok("")
		})
		closed <- n
	}))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { expect(t, s, "GET", "/together", "", "200") })
	}
	settled(t, s, 3, 0) // a request may be in flight and have no connection yet: it could take one that was used already
	for range 3 {
		receive(t, "a request", together)
	}
	wg.Wait()
	// Two are kept, the third is closed at once.
	settled(t, s, 2, 2)
	receive(t, "the surplus connection is closed", closed)

	// The one used last is used next, so that the other idles out.
	p := &s.endpointAt(0).pool
	older, newer := p.idle[0], p.idle[1]
	older.idleSince -= int64(s.options.IdleFor) / 2
	expect(t, s, "GET", "/", "", "200")
	if p.idle[0] != older || p.idle[1] != newer {
		t.Fatal("the connection that idled longer was used")
	}
	p.expire(older.idleSince + int64(s.options.IdleFor) - 1)
	settled(t, s, 2, 2)
	p.expire(older.idleSince + int64(s.options.IdleFor))
	settled(t, s, 1, 1)
	receive(t, "the idle connection is closed", closed)
	if p.idle[0] != newer {
		t.Fatal("the wrong one was closed")
	}
}

// TestPoolExpireClosed throws away what the origin has closed, long before it would idle out.
func TestPoolExpireClosed(t *testing.T) {
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		answerOne(c, r, ok(""))
	}))
	expect(t, s, "GET", "/", "", "200")
	staleIdle(t, s)
	s.endpointAt(0).pool.expire(wire.Now())
	settled(t, s, 0, 0)
}

// TestMaintain sees a service close idle connections by itself.
func TestMaintain(t *testing.T) {
	s := livingService(t, func(o *Options) { o.IdleFor = 10 * time.Millisecond }, origin(t, func(int, *http.Request, string) string { return ok("") }))
	expect(t, s, "GET", "/", "", "200")
	settled(t, s, 0, 0)
}

// answerOne reads one request and answers it.
func answerOne(c net.Conn, r *bufio.Reader, answer string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return false
	}
	_, err = io.WriteString(c, answer)
	return err == nil
}

// mistrust lets the one idle connection have idled for just as long as it takes for no request to go out over it without a look.
func mistrust(s *Service) {
	p := &s.endpointAt(0).pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle[0].idleSince -= int64(trustFor)
}

// TestStaleProbed sends nothing over a connection that is known to be dead, or that carries what nobody asked for: a POST
// must not be sent twice, and no client may get another one's answer.
func TestStaleProbed(t *testing.T) {
	f := func(what, method, body string, first func(c net.Conn, r *bufio.Reader)) {
		t.Helper()
		answered := make(chan bool)
		s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
			if n == 0 {
				answerOne(c, r, ok(""))
				<-answered // what follows must not be taken for a part of the answer
				first(c, r)
				return
			}
			answerAll(c, r, n, func(n int, _ *http.Request, body string) string { return ok(fmt.Sprint(n, " ", body)) })
		}))
		expect(t, s, "GET", "/", "", "200")
		close(answered)
		staleIdle(t, s)
		mistrust(s)
		if attempts := expect(t, s, method, "/", body, strings.TrimSpace("200 1 "+body)); attempts != 1 {
			t.Fatalf("%s: %d attempts", what, attempts)
		}
		settled(t, s, 1, 1)
	}
	closes := func(net.Conn, *bufio.Reader) {}
	f("closed", "POST", "body", closes)
	f("closed", "PATCH", "body", closes)
	f("half-closed", "POST", "body", func(c net.Conn, r *bufio.Reader) {
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	f("a farewell nobody asked for", "POST", "body", func(c net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	// A body behind an answer to HEAD, say: to the next request it would be the answer.
	stray := func(c net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		_, _ = io.Copy(io.Discard, c)
	}
	f("stray bytes", "GET", "", stray)
	f("stray bytes", "POST", "body", stray)
	f("reset", "POST", "body", func(c net.Conn, r *bufio.Reader) {
		_ = c.(*net.TCPConn).SetLinger(0)
	})
}

// TestTrusted: a request goes out without a look over a connection that was cleared just now, and over no other.
func TestTrusted(t *testing.T) {
	s := testService(t, nil, origin(t, func(_ int, r *http.Request, _ string) string {
		switch r.URL.Path {
		case "/none":
			return "HTTP/1.1 204 No Content\r\n\r\n"
		case "/unchanged":
			return "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
		case "/empty":
			return ok("")
		case "/chunked":
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
		case "/large":
			return ok(strings.Repeat("x", 100<<10))
		}
		if r.Method == "HEAD" {
			return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
		}
		return ok("hello")
	}))
	f := func(before string, next string, after time.Duration, want bool) {
		t.Helper()
		method, path, _ := strings.Cut(before, " ")
		x := newExchange(method, path, "")
		if _, err := serve(s, x); err != nil {
			t.Fatal(err)
		}
		end(x)
		settled(t, s, 1, 1)
		c := s.endpointAt(0).pool.idle[0].conn
		c.waitedFor = false
		x = newExchange(next, "/", "")
		defer end(x)
		x.UpstreamAt = c.idleSince + int64(after)
		if got := c.trusted(x); got != want {
			t.Errorf("%s %v after %s: trusted is %t", next, after, before, got)
		}
		if c.waitedFor = true; c.trusted(x) {
			t.Errorf("%s %v after %s is trusted although it had to wait", next, after, before)
		}
	}
	f("GET /", "GET", 0, true)
	f("GET /", "HEAD", trustFor-1, true)
	f("POST /", "GET", trustFor/2, true)
	f("GET /", "GET", trustFor, false)
	f("GET /", "GET", time.Hour, false)
	f("GET /", "GET", -1, false)
	f("GET /", "POST", 0, false)
	f("HEAD /", "GET", 0, false)
	f("GET /none", "GET", 0, false)
	f("GET /unchanged", "GET", 0, false)
	f("GET /chunked", "GET", 0, false)
	f("GET /large", "GET", 0, false)
	f("GET /empty", "GET", 0, true)
}

// TestQueuedProbed: a connection that is handed to who waits for one is looked at as well.
func TestQueuedProbed(t *testing.T) {
	f := func(method, body string) {
		t.Helper()
		goOn, poisoned := make(chan bool), make(chan bool, 1)
		s := testService(t, func(o *Options) { o.MaxConns = 1 }, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
			if n > 0 {
				answerOne(c, r, ok("right"))
				return
			}
			answerOne(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n")
			<-goOn
			_, _ = io.WriteString(c, strings.Repeat("x", 40000)+ok("poison"))
			eventually(t, "all of it has arrived", func() bool { return unacknowledged(c) == 0 })
			poisoned <- true
			_, _ = io.Copy(io.Discard, c)
		}))
		first, second := newExchange("GET", "/", ""), newExchange(method, "/", body)
		defer end(first)
		defer end(second)
		if err := s.Serve(first, nil); err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 1)
		go func() {
			text, err := serve(s, second)
			got <- fmt.Sprint(text, " ", err)
		}()
		eventually(t, "the second request waits", func() bool { return s.endpointAt(0).pool.queued() == 1 })
		close(goOn)
		receive(t, "the poison is there before the body has been read", poisoned)
		if n, err := io.Copy(io.Discard, &first.Response.Body); n != 40000 || err != nil {
			t.Fatal(n, err)
		}
		if err := first.Response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if text := receive(t, "an answer", got); text != "200 right <nil>" {
			t.Errorf("%s: got %q", method, text)
		}
	}
	f("GET", "")
	f("POST", "body")
}

// TestStaleProbedLate looks at any connection that has idled for a while, whatever the method.
func TestStaleProbedLate(t *testing.T) {
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) { answerOne(c, r, ok(fmt.Sprint(n))) }))
	expect(t, s, "GET", "/", "", "200 0")
	staleIdle(t, s)
	s.endpointAt(0).pool.idle[0].idleSince -= int64(probeAfter)
	if attempts := expect(t, s, "GET", "/", "", "200 1"); attempts != 1 {
		t.Fatalf("%d attempts", attempts)
	}
}

// TestStaleRetried sends a request a second time over a new connection when the pooled one dies under it.
func TestStaleRetried(t *testing.T) {
	f := func(method, want string, attempts int) {
		t.Helper()
		var seen atomic.Int64
		s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
			answerAll(c, r, n, func(n int, req *http.Request, _ string) string {
				if req.URL.Path == "/warm" {
					return ok("")
				}
				seen.Add(1)
				if n == 0 {
					return "" // takes the request and closes
				}
				return ok("again")
			})
		}))
		expect(t, s, "GET", "/warm", "", "200")
		if got := expect(t, s, method, "/", "", want); got != attempts || seen.Load() != int64(attempts) {
			t.Fatalf("%s: %d attempts, of which the origin saw %d; want %d", method, got, seen.Load(), attempts)
		}
		if n := s.endpointAt(0).inFlight.Load(); n != 0 {
			t.Fatalf("%d in flight for ever", n)
		}
	}
	f("GET", "200 again", 2)
	f("DELETE", "200 again", 2)
	f("PUT", "200 again", 2)
	f("POST", "upstream_closed", 1)
	f("PATCH", "upstream_closed", 1)
}

// TestStaleRetriedOnce gives up when the new connection fares no better.
func TestStaleRetriedOnce(t *testing.T) {
	var seen atomic.Int64
	s := testService(t, nil, origin(t, func(_ int, req *http.Request, _ string) string {
		if req.URL.Path == "/warm" {
			return ok("")
		}
		seen.Add(1)
		return ""
	}))
	expect(t, s, "GET", "/warm", "", "200")
	if got := expect(t, s, "GET", "/", "", "upstream_closed"); got != 2 || seen.Load() != 2 {
		t.Fatalf("%d attempts, %d seen", got, seen.Load())
	}
	// A fresh connection that dies is not a stale one: no second try.
	if got := expect(t, s, "GET", "/", "", "upstream_closed"); got != 1 || seen.Load() != 3 {
		t.Fatalf("%d attempts, %d seen", got, seen.Load())
	}
}

// TestStaleAnswered does not repeat a request whose answer had begun.
func TestStaleAnswered(t *testing.T) {
	var seen atomic.Int64
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		answerOne(c, r, ok(""))
		if answerOne(c, r, "HTTP/1.1 200 OK\r\nX-Cut: ") {
			seen.Add(1)
		}
	}))
	expect(t, s, "GET", "/", "", "200")
	if got := expect(t, s, "GET", "/", "", "upstream_closed"); got != 1 || seen.Load() != 1 {
		t.Fatalf("%d attempts, %d seen", got, seen.Load())
	}
}

// TestStaleHalfClosed notices at once that the origin will not answer any more, although it still listens.
func TestStaleHalfClosed(t *testing.T) {
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		if n > 0 {
			answerOne(c, r, ok("again"))
			return
		}
		answerOne(c, r, ok(""))
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the other side closes as well
	}))
	expect(t, s, "GET", "/", "", "200")
	staleIdle(t, s)
	began := time.Now()
	s.endpointAt(0).pool.idle[0].idleSince = wire.Now() // as if it had just been used: no probe
	expect(t, s, "GET", "/", "", "200 again")
	if took := time.Since(began); took > patience/2 {
		t.Fatalf("took %s", took)
	}
}

// TestRetire closes what is idle at once and what is in use after its exchange, which goes on to its end.
func TestRetire(t *testing.T) {
	closed := make(chan int, 10)
	more := make(chan bool)
	s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		defer func() { closed <- n }()
		answerAll(c, r, n, func(_ int, req *http.Request, _ string) string {
			if req.URL.Path != "/slow" {
				return ok("")
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
			<-more
			return " last"[:5]
		})
	}))
	x := newExchange("GET", "/slow", "")
	defer end(x)
	if err := s.Serve(x, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "GET", "/", "", "200")
	settled(t, s, 2, 1)
	s.Retire()
	s.Retire() // twice does no harm
	if n := receive(t, "the idle connection is closed", closed); n != 1 {
		t.Fatalf("connection %d was closed", n)
	}
	settled(t, s, 1, 0)
	close(more)
	body, err := io.ReadAll(&x.Response.Body)
	if string(body) != "first last" || err != nil {
		t.Fatalf("%q %v", body, err)
	}
	if err := x.Response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "the connection is closed after its exchange", closed)
	settled(t, s, 0, 0)
}
