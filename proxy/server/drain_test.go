package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/proxytest"
)

// patience is how long anything may take before a test gives up on it.
const patience = 10 * time.Second

// stage is a gateway in front of an origin whose handlers say that they have begun and wait until they may go on.
type stage struct {
	*proxytest.Gateway
	t     *testing.T
	began chan string
	goOn  chan struct{}
	gone  chan string // handlers whose client, the gateway, went away
}

// newStage starts one. Its origin answers /hold when it may go on, /upload when it has the whole body, /download in two
// parts, one of them when it may go on; /events sends one event and is silent; /socket echoes; all others at once.
func newStage(t *testing.T, yaml string) *stage {
	s := &stage{t: t, began: make(chan string, 10), goOn: make(chan struct{}), gone: make(chan string, 10)}
	origin := proxytest.Origin(t, s.answer)
	s.Gateway = proxytest.Start(t, fmt.Sprintf(`
services:
  origin: { to: ["http://%s"] }
routes:
  all: { match: "/**", to: origin }
`, origin)+yaml)
	return s
}

// tell says where a request is. A flood leaves more to be told than anybody listens to: that must not hold the origin's end.
func (s *stage) tell(to chan string, path string) {
	select {
	case to <- path:
	case <-s.t.Context().Done():
	}
}

func (s *stage) answer(w http.ResponseWriter, r *http.Request) {
	s.tell(s.began, r.URL.Path)
	wait := func() bool {
		select {
		case <-s.goOn:
			return true
		case <-r.Context().Done():
			s.tell(s.gone, r.URL.Path)
			return false
		}
	}
	switch r.URL.Path {
	case "/hold":
		if wait() {
			fmt.Fprint(w, "held")
		}
	case "/upload":
		b, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(b), err)
	case "/download":
		fmt.Fprint(w, "part ")
		w.(http.Flusher).Flush()
		if wait() {
			fmt.Fprint(w, "whole")
		}
	case "/events":
		fmt.Fprint(w, "data: 1\n")
		w.(http.Flusher).Flush()
		wait()
	case "/socket":
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			s.t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if rw.Flush() == nil {
			_, _ = io.Copy(c, rw) // until the other side ends it
		}
		s.tell(s.gone, r.URL.Path)
	default:
		fmt.Fprint(w, "hello")
	}
}

// dial opens a connection that waits for nothing longer than patience.
func (s *stage) dial() *proxytest.Client {
	s.t.Helper()
	c := s.Dial()
	s.bound(c)
	return c
}

func (s *stage) bound(c net.Conn) {
	s.t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
}

const get = "GET %s HTTP/1.1\r\nHost: test\r\n\r\n"

// ask sends a request and, unless the path is empty, waits until it is at the origin.
func (s *stage) ask(request, path string) *proxytest.Client {
	s.t.Helper()
	c := s.dial()
	c.Send(request)
	s.expect(s.began, path)
	return c
}

func (s *stage) expect(from chan string, want string) {
	s.t.Helper()
	select {
	case got := <-from:
		if got != want {
			s.t.Fatalf("got %s, want %s", got, want)
		}
	case <-time.After(patience):
		s.t.Fatalf("still waiting for %s", want)
	}
}

// read reads a response and checks it. last says whether it ends the connection, and then nothing must follow.
func (s *stage) read(c *proxytest.Client, status int, body string, last bool) {
	s.t.Helper()
	resp := s.head(c, status)
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != body {
		s.t.Fatalf("got %q, %v; want %q", got, err, body)
	}
	if resp.Close != last {
		s.t.Fatalf("Connection: close: %v, want %v", resp.Close, last)
	}
	if last {
		s.ended(c)
	}
}

func (s *stage) head(c *proxytest.Client, status int) *http.Response {
	s.t.Helper()
	resp, err := http.ReadResponse(c.R, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != status {
		s.t.Fatalf("got status %d, want %d", resp.StatusCode, status)
	}
	return resp
}

// ended wants the connection to be closed in good order, with nothing more on it.
func (s *stage) ended(c *proxytest.Client) {
	s.t.Helper()
	if rest, err := io.ReadAll(c.R); err != nil || len(rest) > 0 {
		s.t.Fatalf("got %q, %v; want the end of the connection", rest, err)
	}
}

// used opens a connection and has one request answered on it.
func (s *stage) used() *proxytest.Client {
	s.t.Helper()
	c := s.ask(fmt.Sprintf(get, "/"), "/")
	s.read(c, 200, "hello", false)
	return c
}

// open waits until the server has so many connections.
func (s *stage) open(want int) {
	s.t.Helper()
	for end := time.Now().Add(patience); s.Server.Counts().Open != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%d connections are open, want %d", s.Server.Counts().Open, want)
		}
	}
}

// shutdown begins a shutdown and returns the channel of its outcome.
func (s *stage) shutdown(ctx context.Context) chan error {
	done := make(chan error, 1)
	go func() { done <- s.Server.Shutdown(ctx) }()
	return done
}

// closed checks that a shutdown ends with this error and has left no connection.
func (s *stage) closed(done chan error, want error) {
	s.t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			s.t.Fatalf("Shutdown: got %v, want %v", err, want)
		}
	case <-time.After(patience):
		s.t.Fatal("Shutdown does not return")
	}
	if n := s.Server.Counts().Open; n != 0 && want == nil {
		s.t.Fatalf("%d connections are open after Shutdown", n)
	}
	s.open(0) // those that were cut are not waited for for ever
}

func TestShutdown_inFlight(t *testing.T) {
	s := newStage(t, "")
	hold := s.ask(fmt.Sprintf(get, "/hold"), "/hold")
	upload := s.ask("POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n01234", "/upload")
	download := s.ask(fmt.Sprintf(get, "/download"), "/download")
	resp := s.head(download, 200)
	used, unused := s.used(), s.dial()
	s.open(5)

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := s.shutdown(ctx)
	s.ended(used) // at once: the origin holds the others still
	s.ended(unused)
	if c, err := net.Dial("tcp", s.Addr); err == nil {
		c.Close()
		t.Fatal("a new connection is accepted")
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown has returned (%v) before what is in flight has ended", err)
	default:
	}

	close(s.goOn)
	s.read(hold, 200, "held", true)
	upload.Send("56789")
	s.read(upload, 200, "10 <nil>", true)
	// The head of this one had promised nothing else when the draining began; it is whole all the same.
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "part whole" {
		t.Fatalf("got %q, %v", body, err)
	}
	s.ended(download)
	s.closed(done, nil)
}

// TestShutdown_cut checks that streams run until the limit, and that what waits for a silent origin is cut then, too.
func TestShutdown_cut(t *testing.T) {
	s := newStage(t, "")
	socket := s.ask("GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "/socket")
	s.head(socket, 101)
	events := s.ask(fmt.Sprintf(get, "/events"), "/events")
	body := s.head(events, 200).Body
	hold := s.ask(fmt.Sprintf(get, "/hold"), "/hold")
	upload := s.ask("POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n01234", "/upload")
	used := s.used()

	limit, expire := context.WithCancel(context.Background())
	defer expire()
	done := s.shutdown(limit)
	s.ended(used) // now the draining has begun
	socket.Send("ping\n")
	if line, err := socket.R.ReadString('\n'); err != nil || line != "ping\n" {
		t.Fatalf("the WebSocket was cut before the limit: got %q, %v", line, err)
	}
	first := make([]byte, len("data: 1\n"))
	if _, err := io.ReadFull(body, first); err != nil {
		t.Fatalf("the event stream was cut before the limit: %v", err)
	}

	expire()
	s.closed(done, context.Canceled)
	if rest, err := io.ReadAll(body); err == nil {
		t.Fatalf("the event stream that was cut looks as if it had ended: %q", rest)
	}
	for _, c := range []*proxytest.Client{socket, hold, upload} {
		if rest, _ := io.ReadAll(c.R); len(rest) > 0 {
			t.Fatalf("got %q on a connection that was cut", rest)
		}
	}
	// The origin learns of it, in whatever order. The upload's handler gets an error from its body instead.
	gone := map[string]bool{}
	for range 3 {
		select {
		case path := <-s.gone:
			gone[path] = true
		case <-time.After(patience):
			t.Fatalf("only the requests of %v were given up upstream", gone)
		}
	}
	if !gone["/socket"] || !gone["/events"] || !gone["/hold"] {
		t.Fatalf("the requests of %v were given up upstream", gone)
	}
}

// TestStartDraining: connections end one by one, while new ones still come.
func TestStartDraining(t *testing.T) {
	s := newStage(t, "")
	used := s.used()
	hold := s.ask(fmt.Sprintf(get, "/hold"), "/hold")
	s.Server.StartDraining()
	close(s.goOn)
	s.read(hold, 200, "held", true)
	fresh := s.ask(fmt.Sprintf(get, "/"), "/")
	s.read(fresh, 200, "hello", true)
	// Its client may have sent the next request before it could know.
	used.Send(fmt.Sprintf(get, "/"))
	s.expect(s.began, "/")
	s.read(used, 200, "hello", true)
}

// TestListener_Retire: what came in over another listener stays.
func TestListener_Retire(t *testing.T) {
	s := newStage(t, "")
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := s.Server.Listen("other", nl, proxy.Listening{})
	first := s.Addr
	stays := s.used()
	staysInFlight := s.ask(fmt.Sprintf(get, "/hold"), "/hold")
	s.Addr = nl.Addr().String()
	idle := s.used()
	inFlight := s.ask(fmt.Sprintf(get, "/hold"), "/hold")
	socket := s.ask("GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "/socket")
	s.head(socket, 101)

	other.Retire()
	s.ended(idle)
	if c, err := net.Dial("tcp", s.Addr); err == nil {
		c.Close()
		t.Fatal("a retired listener accepts a connection")
	}
	close(s.goOn)
	s.read(inFlight, 200, "held", true)
	socket.Send("ping\n")
	if line, err := socket.R.ReadString('\n'); err != nil || line != "ping\n" {
		t.Fatalf("the WebSocket was cut: got %q, %v", line, err)
	}
	s.read(staysInFlight, 200, "held", false)
	for _, c := range []*proxytest.Client{stays, staysInFlight} {
		c.Send(fmt.Sprintf(get, "/"))
		s.expect(s.began, "/")
		s.read(c, 200, "hello", false)
	}
	s.Addr = first
	s.used()
	s.open(4) // the ones that stay, the WebSocket and the last one
}

// TestListener_Retire_new: who has just come may still ask once. A request that is on its way is not to be lost.
func TestListener_Retire_new(t *testing.T) {
	s := newStage(t, "")
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := s.Server.Listen("other", nl, proxy.Listening{})
	s.Addr = nl.Addr().String()
	asks, silent := s.Dial(), s.Dial()
	s.open(2)
	time.Sleep(50 * time.Millisecond) // they wait

	other.Retire()
	time.Sleep(50 * time.Millisecond) // it has reached them
	asks.Send(fmt.Sprintf(get, "/"))
	s.expect(s.began, "/")
	s.read(asks, 200, "hello", true)
	s.ended(silent)
}

// TestShutdownAnswersWhatHasArrived begins a shutdown in the moment in which a request arrives on an idle connection: its
// bytes are in the kernel already, and it is answered.
func TestShutdownAnswersWhatHasArrived(t *testing.T) {
	for range 50 {
		gw := proxytest.Start(t, "routes: { all: { match: \"/**\", respond: { text: hello } } }")
		c := gw.Dial()
		request := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		c.Send(request)
		readWhole(t, c)
		c.Send(request)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := gw.Server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if resp := readWhole(t, c); resp.StatusCode != 200 {
			t.Fatalf("got %d", resp.StatusCode)
		}
		if _, err := c.R.ReadByte(); err != io.EOF {
			t.Fatalf("the connection goes on: %v", err)
		}
	}
}

func readWhole(t *testing.T, c *proxytest.Client) *http.Response {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.R, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}
