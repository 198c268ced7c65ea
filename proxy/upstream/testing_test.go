package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// patience bounds everything a test waits for.
const patience = 10 * time.Second

// testService starts a service in front of these targets, without its background work: tests that look into its pools
// must not meet it there. edit, which may be nil, changes the options before.
func testService(t testing.TB, edit func(o *Options), targets ...Target) *Service {
	t.Helper()
	s := livingService(t, edit, targets...)
	s.end()
	s.running.Wait()
	return s
}

func livingService(t testing.TB, edit func(o *Options), targets ...Target) *Service {
	t.Helper()
	sweeper := wire.NewSweeper()
	o := Options{
		Name: "test", Targets: targets, Try: patience, Connect: 5 * time.Second, Idle: patience, Tunnel: patience,
		MaxIdle: 16, IdleFor: time.Minute, Wait: patience, Limits: wire.Limits{HeadBytes: 8 << 10, TargetBytes: 1, Fields: 50},
		Sweeper: sweeper,
	}
	if edit != nil {
		edit(&o)
	}
	s := New(o)
	t.Cleanup(func() {
		s.Retire()
		sweeper.Stop()
	})
	return s
}

// target is the configured address of an origin.
func target(address string) Target {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err)
	}
	return Target{Network: "tcp", Host: host, Port: port, Weight: 1, URL: "http://" + address}
}

// bareService has a set of endpoints but neither connections nor goroutines: enough to choose with.
func bareService(b Balance, weights ...int) *Service {
	s := &Service{options: Options{Balance: b}}
	var endpoints []*endpoint
	for i, w := range weights {
		endpoints = append(endpoints, newEndpoint(string(rune('a'+i)), &Target{Network: "tcp", Weight: w}, &s.options))
	}
	s.set.Store(newSet(endpoints, b))
	return s
}

// listen accepts connections until the test ends and hands each, with its number, to serve, which closes it by returning.
func listen(t testing.TB, l net.Listener, serve func(c net.Conn, r *bufio.Reader, n int)) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var open []net.Conn
	closed := false
	wg.Add(1)
	go func() {
		defer wg.Done()
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if closed {
				c.Close()
			}
			open = append(open, c)
			mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				serve(c, bufio.NewReader(c), n)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// rawOrigin is an origin on a port of its own.
func rawOrigin(t testing.TB, serve func(c net.Conn, r *bufio.Reader, n int)) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen(t, l, serve)
	return target(l.Addr().String())
}

// origin answers every request with what f says, as bytes, and keeps the connection. An empty answer closes it.
func origin(t testing.TB, f func(conn int, r *http.Request, body string) string) Target {
	t.Helper()
	return rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) { answerAll(c, r, n, f) })
}

func answerAll(c net.Conn, r *bufio.Reader, n int, f func(conn int, r *http.Request, body string) string) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		answer := f(n, req, string(body))
		if answer == "" {
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// ok is a response with this body.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// deadTarget is an address where nobody listens. Its port stays taken until the test ends, or else somebody else may listen on it.
func deadTarget(t testing.TB) Target {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return target(fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port))
}

// testEdge is the client's side of an exchange.
type testEdge struct{ interims []string }

func (e *testEdge) Interim(_ *proxy.Exchange, status int, h *wire.Head) error {
	e.interims = append(e.interims, fmt.Sprintf("%d %s", status, h.AppendTo(nil)))
	return nil
}

// newExchange returns a request as an edge would hand it to a route.
func newExchange(method, path, body string) *proxy.Exchange {
	x := proxy.Acquire()
	x.Edge = &testEdge{}
	x.Started = wire.Now()
	x.Request.Method, x.Request.Scheme = method, "http"
	x.Request.Host, x.Request.Path = []byte("client.example"), []byte(path)
	x.Client.Text = []byte("192.0.2.1")
	x.Request.Body.SetWhole([]byte(body))
	return x
}

func end(x *proxy.Exchange) {
	x.Finish()
	x.Release()
}

// serve sends x and returns status and body as one text. The response is closed, x is not released.
func serve(s *Service, x *proxy.Exchange) (string, error) {
	if err := s.Serve(x, nil); err != nil {
		return "", err
	}
	body, err := io.ReadAll(&x.Response.Body)
	if err2 := x.Response.Body.Close(); err == nil {
		err = err2
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", x.Response.Status, body)), err
}

// expect sends a request and compares the answer; want is "200 body", or the code of an error.
func expect(t testing.TB, s *Service, method, path, body, want string) (attempts int) {
	t.Helper()
	x := newExchange(method, path, body)
	defer end(x)
	got, err := serve(s, x)
	if err != nil {
		got = code(err)
	}
	if got != want {
		t.Fatalf("%s %s: got %q (%v), want %q", method, path, got, err, want)
	}
	return x.Attempts
}

func code(err error) string {
	var e *proxy.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

// eventually waits for what no event tells.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen within %s", what, patience)
		}
	}
}

// receive waits for c, but not for ever.
func receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: did not happen within %s", what, patience)
	}
	return v
}

func (s *Service) endpointAt(i int) *endpoint { return s.set.Load().endpoints[i] }

// settled waits until the first endpoint has this many connections.
func settled(t testing.TB, s *Service, open, idle int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d connections, %d idle", open, idle), func() bool {
		o, i := s.endpointAt(0).pool.counts()
		return o == open && i == idle
	})
}

// staleIdle waits until the kernel knows that the peer of the one idle connection has closed.
func staleIdle(t testing.TB, s *Service) {
	t.Helper()
	p := &s.endpointAt(0).pool
	eventually(t, "the idle connection is closed by the origin, or carries bytes", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle) == 1 && (p.idle[0].ResetOrClosed() || p.idle[0].Stale())
	})
}

// ResetOrClosed asks the kernel in a way of its own whether a FIN or RST is there.
func (c *conn) ResetOrClosed() bool { return peerClosed(c.Conn.Conn) }

var discardLog = log.New(io.Discard, "", 0)
