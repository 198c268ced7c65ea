package proxytest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"sluice/proxy/wire"
)

// TestReload swaps a table of 1,000 routes again and again while clients keep sending and streams stay open. Every swap
// changes nearly all routes, adds and removes some, and changes, adds and removes services. No request fails, no stream
// is cut, no response comes from two configurations, and nothing piles up.
func TestReload(t *testing.T) {
	swaps := 200
	if testing.Short() || underRace || wire.Invariants {
		swaps = 40 // these builds look at what happens in a swap, not at what piles up
	}
	if os.Getenv("SLUICE_SOAK") != "" {
		swaps = 1000
	}
	r := startReloads(t)
	baseline := swaps / 4
	var before usage
	for n := 1; n <= swaps; n++ {
		r.swap()
		// Every generation that has a stream stays in memory, so that their number has to be the same in the end:
		// what goes on for ever has begun well before the baseline, and then there are always three more.
		if n < baseline-shortTicks && n%(baseline/5) == 0 {
			r.open(untilTheEnd)
		}
		r.open(shortTicks)
		switch n {
		case baseline:
			before = r.usage()
		case swaps:
			r.flat(before, r.usage())
		}
	}
	r.end()
}

// underRace is set in builds with the race detector.
var underRace bool

// TestReload_forgets checks that nothing but an exchange keeps a former configuration in memory.
func TestReload_forgets(t *testing.T) {
	goOn := make(chan struct{})
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		if r.URL.Path == "/stream" {
			<-goOn
		}
	})
	config := fmt.Sprintf(`
services:
  origin: { to: ["http://%s"] }
routes:
  all: { match: "/**", to: origin }
`, origin)
	gw := Start(t, config)
	first := weak.Make(gw.Snapshot())
	ask := func(path string) (*Client, *http.Response) {
		c := gw.Dial()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		c.Send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n")
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, resp
	}
	end := func(resp *http.Response) {
		if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	_, idle := ask("/")
	end(idle)
	_, stream := ask("/stream")
	second := weak.Make(gw.Snapshot())
	gw.Reload(config)
	runtime.GC()
	if first.Value() == nil || first != second {
		t.Fatal("a stream runs without the snapshot that it began with")
	}
	close(goOn)
	end(stream)
	// The exchange is over a moment after its client has seen the end of it.
	for deadline := time.Now().Add(patience); first.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("an idle connection keeps the snapshot of its last request in memory")
		}
	}
}

// What a table is made of. Together with the four routes for streams it is 1,000 routes.
const (
	changedRoutes   = 700 // other headers and another service with every swap
	keptServices    = 100 // other headers, the same service
	untouchedRoutes = 100 // not one letter changes
	passingRoutes   = 96  // exist in one generation only, as does their service
)

// table is the configuration of a generation. Each stamps the requests in a rewrite, the responses in a policy, and
// sends most requests to a service whose origin sees the generation in the path. The stamps of a response must agree.
func (r *reloads) table(gen int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
limits: { requests_per_connection: off }
services:
  steady: { to: ["http://%s"], pool: { idle_for: 1h } }
  moving: { to: ["http://%s/g%d"] }
  only-%d: { to: ["http://%s/g%d"] }
policies:
  stamp: { headers: { response: { set: { X-Answered-By: g%d } } } }
defaults: { use: [stamp] }
routes:
`, r.steady.address, r.movesTo(gen).address, gen, gen, r.passing.address, gen, gen)
	route := func(name, match, to string) {
		fmt.Fprintf(&b, "  %s: { match: \"%s/{op}\", to: %s, rewrite: { path: \"/{op}\", headers: { set: { X-Routed-By: g%d } } } }\n", name, match, to, gen)
	}
	for i := range changedRoutes {
		route(fmt.Sprintf("changed-%d", i), fmt.Sprintf("/changed/%d", i), "moving")
	}
	for i := range keptServices {
		route(fmt.Sprintf("kept-%d", i), fmt.Sprintf("/kept/%d", i), "steady")
	}
	for i := range untouchedRoutes {
		fmt.Fprintf(&b, "  untouched-%d: { match: \"/untouched/%d/{op}\", skip: [stamp], to: steady, rewrite: { path: \"/{op}\" } }\n", i, i)
	}
	for i := range passingRoutes {
		route(fmt.Sprintf("passing-%d-%d", gen, i), fmt.Sprintf("/passing/%d/%d", gen, i), fmt.Sprintf("only-%d", gen))
	}
	route("events", "/events", "moving")
	route("socket", "/socket", "moving")
	route(fmt.Sprintf("events-%d", gen), fmt.Sprintf("/passing/events/%d", gen), fmt.Sprintf("only-%d", gen))
	route(fmt.Sprintf("socket-%d", gen), fmt.Sprintf("/passing/socket/%d", gen), fmt.Sprintf("only-%d", gen))
	return b.String()
}

// movesTo alternates between two origins: the one not in use must be left by all but streams.
func (r *reloads) movesTo(gen int) *countedOrigin { return r.moving[gen%2] }

// reloads is a gateway under load. What has no lock belongs to the test's goroutine.
type reloads struct {
	t       *testing.T
	gw      *Gateway
	steady  *countedOrigin
	moving  [2]*countedOrigin
	passing *countedOrigin
	ticks   *ticks
	streams []*stream
	probe   *http.Client

	gen       int
	published atomic.Int64 // requests that begin now get this generation or a later one
	announced atomic.Int64 // and none beyond this
	served    served

	pause   sync.RWMutex // held for reading by whoever has a request under way
	over    atomic.Bool
	workers sync.WaitGroup
}

// clients is how many connections keep sending.
const clients = 6

func startReloads(t *testing.T) *reloads {
	r := &reloads{t: t, ticks: newTicks(), probe: &http.Client{Timeout: patience}}
	r.served.cond.L = &r.served.mu
	t.Cleanup(r.probe.CloseIdleConnections)
	r.steady, r.moving[0], r.moving[1], r.passing = r.origin(), r.origin(), r.origin(), r.origin()
	r.gw = Start(t, r.table(0))
	r.warmUp()
	for i := range clients {
		r.workers.Add(1)
		go r.client(i)
	}
	t.Cleanup(func() {
		r.over.Store(true)
		r.workers.Wait()
	})
	return r
}

// warmUp asks every route that lasts, once: the memory for its metrics comes with the first request.
func (r *reloads) warmUp() {
	r.t.Helper()
	ask := func(routes int, path string) {
		for i := range routes {
			r.get(fmt.Sprintf(path, i), 200)
		}
	}
	ask(changedRoutes, "/changed/%d/hello")
	ask(keptServices, "/kept/%d/hello")
	ask(untouchedRoutes, "/untouched/%d/hello")
}

// patience is how long anything may take before the test gives up on it.
const patience = 20 * time.Second

// swap publishes the next generation and waits until it is what everybody gets.
func (r *reloads) swap() {
	r.t.Helper()
	r.gen++
	r.announced.Store(int64(r.gen))
	r.gw.Reload(r.table(r.gen))
	r.published.Store(int64(r.gen))
	r.served.begin(r.gen)

	passing := "/passing/%d/1/hello" // exists in one generation only
	r.get(fmt.Sprintf(passing, r.gen), 200)
	r.get(fmt.Sprintf(passing, r.gen-1), 404)
	if !r.served.wait(2 * clients) {
		r.t.Fatalf("generation %d does not get to serve requests", r.gen)
	}
	r.tick()
	// A service that was changed or removed gives up all connections but those that carry a stream. A stream may
	// have run on either, and the probe above has left one connection behind.
	for _, o := range []*countedOrigin{r.movesTo(r.gen - 1), r.passing} {
		want := o.streams
		if o == r.passing {
			want++
		}
		if !o.waitOpen(want) {
			r.t.Fatalf("generation %d: %d connections of former services are open, want %d", r.gen, o.count(), want)
		}
	}
}

// get asks for a path.
func (r *reloads) get(path string, status int) {
	r.t.Helper()
	resp, err := r.probe.Get("http://" + r.gw.Addr + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != status {
		r.t.Fatalf("generation %d is served; %s answers %d, want %d", r.gen, path, resp.StatusCode, status)
	}
}

// client sends requests on one connection until the test is over. The connection has to last.
func (r *reloads) client(i int) {
	defer r.workers.Done()
	defer r.served.failed()
	c, err := r.dial()
	if err != nil {
		r.t.Error(err)
		return
	}
	defer c.Close()
	for n := i; !r.over.Load(); n += clients {
		r.pause.RLock()
		err := r.request(c, n)
		r.pause.RUnlock()
		if err != nil {
			r.t.Errorf("connection %d, request %d: %v", i, n/clients, err)
			return
		}
		time.Sleep(time.Millisecond) // a steady load, and not all that two cores can take
	}
}

var payload = bytes.Repeat([]byte("0123456789abcdef"), 8<<10)

// request sends the n-th request and checks the answer.
func (r *reloads) request(c *Client, n int) error {
	paths := [...]string{
		fmt.Sprintf("/changed/%d", n%changedRoutes),
		fmt.Sprintf("/kept/%d", n%keptServices),
		fmt.Sprintf("/changed/%d", (n*31+7)%changedRoutes),
		fmt.Sprintf("/untouched/%d", n%untouchedRoutes),
	}
	path := "http://" + r.gw.Addr + paths[n/8%len(paths)]
	var req *http.Request
	var err error
	var want []byte
	switch n % 8 {
	case 0: // sized, within one buffer
		want = payload[:100]
		req, err = http.NewRequest("POST", path+"/echo", bytes.NewReader(want))
	case 1: // chunked, and flowing both ways
		want = payload[:64<<10]
		req, err = http.NewRequest("POST", path+"/echo", struct{ io.Reader }{bytes.NewReader(want)})
	case 2:
		want = payload
		req, err = http.NewRequest("GET", path+"/large", nil)
	default:
		want = []byte("hello")
		req, err = http.NewRequest("GET", path+"/hello", nil)
	}
	if err != nil {
		return err
	}
	oldest := r.published.Load()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := req.Write(c); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.R, req)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 || !bytes.Equal(got, want) || resp.Close {
		return fmt.Errorf("%s %s: got status %d, %d bytes, close: %v; want 200, %d bytes, false: %.300q",
			req.Method, req.URL.Path, resp.StatusCode, len(got), resp.Close, len(want), got)
	}
	gen, err := generation(resp, req.URL.Path)
	if err == nil && (gen < oldest && gen != anyGeneration || gen > r.announced.Load()) {
		err = fmt.Errorf("%s: generation %d answers, %d was published before the request", req.URL.Path, gen, oldest)
	}
	r.served.count(int(gen))
	return err
}

// anyGeneration is what routes say that never change.
const anyGeneration = -1

// generation returns what the stamps of a response agree on.
func generation(resp *http.Response, path string) (int64, error) {
	routed, answered, origin := resp.Header.Get("X-Routed-By"), resp.Header.Get("X-Answered-By"), resp.Header.Get("X-Origin")
	switch {
	case strings.HasPrefix(path, "/untouched/"):
		if routed != "" || answered != "" || origin != "" {
			return 0, fmt.Errorf("%s: stamps where there are none: %q %q %q", path, routed, answered, origin)
		}
		return anyGeneration, nil
	case strings.HasPrefix(path, "/kept/"):
		origin = routed // its origin is the same for all
	}
	if routed != answered || routed != origin {
		return 0, fmt.Errorf("%s: routed by %q, answered by %q, from origin %q", path, routed, answered, origin)
	}
	return strconv.ParseInt(strings.TrimPrefix(routed, "g"), 10, 64)
}

func (r *reloads) dial() (*Client, error) {
	c, err := net.DialTimeout("tcp", r.gw.Addr, patience)
	if err != nil {
		return nil, err
	}
	return &Client{TCPConn: c.(*net.TCPConn), R: bufio.NewReader(c), t: r.t}, nil
}

// stream is an event stream or a WebSocket that is open over swaps.
type stream struct {
	*Client
	path   string
	origin *countedOrigin
	events *bufio.Reader // nil: a WebSocket
	left   int           // ticks until it ends
}

// untilTheEnd is for a stream that stays.
const untilTheEnd = -1

// shortTicks is how many swaps a stream lasts that comes and goes.
const shortTicks = 3

// open opens streams for so many ticks, on routes that the next swap changes and on ones that it removes.
func (r *reloads) open(ticks int) {
	r.t.Helper()
	for _, kind := range []string{"events", "socket"} {
		r.openOne(kind, fmt.Sprintf("/%s/%s", kind, kind), r.movesTo(r.gen), ticks)
		r.openOne(kind, fmt.Sprintf("/passing/%s/%d/%s", kind, r.gen, kind), r.passing, ticks)
	}
}

func (r *reloads) openOne(kind, path string, o *countedOrigin, left int) {
	r.t.Helper()
	c, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	s := &stream{Client: c, path: path, origin: o, left: left}
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	head, status := "", 200
	if kind == "socket" {
		head, status = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 101
	}
	s.Send(fmt.Sprintf("GET %s?ticks=%d HTTP/1.1\r\nHost: test\r\n%s\r\n", path, left, head))
	resp, err := http.ReadResponse(s.R, nil)
	if err != nil {
		r.t.Fatalf("%s: %v", path, err)
	}
	if resp.StatusCode != status {
		r.t.Fatalf("%s: got status %d, want %d", path, resp.StatusCode, status)
	}
	if gen, err := generation(resp, path); err != nil || gen != int64(r.gen) {
		r.t.Fatalf("%s: got generation %d, %v; want %d", path, gen, err, r.gen)
	}
	if kind == "events" {
		s.events = bufio.NewReader(resp.Body)
	}
	o.streams++
	r.streams = append(r.streams, s)
}

// tick has every stream carry something, and ends those whose time has come, in good order.
func (r *reloads) tick() {
	r.t.Helper()
	n := r.ticks.next()
	kept := r.streams[:0]
	for _, s := range r.streams {
		if err := s.tick(n); err != nil {
			r.t.Fatalf("generation %d: the stream of %s (open on %v) is cut: %v", r.gen, s.path, s.LocalAddr(), err)
		}
		if s.left > 0 {
			s.left--
		}
		if s.left != 0 {
			kept = append(kept, s)
			continue
		}
		if err := s.end(); err != nil {
			r.t.Fatalf("generation %d: the stream of %s does not end well: %v", r.gen, s.path, err)
		}
		s.origin.streams--
	}
	clear(r.streams[len(kept):])
	r.streams = kept
}

func (s *stream) tick(n int) error {
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	from, want := s.R, fmt.Sprintf("data: %d\n", n)
	if s.events != nil {
		from = s.events
	} else if _, err := io.WriteString(s, want); err != nil {
		return err
	}
	got, err := from.ReadString('\n')
	if err == nil && got != want {
		err = fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

// end sees an event stream off, which its origin ends, or closes a WebSocket.
func (s *stream) end() error {
	defer s.Close()
	from := s.events
	if from == nil {
		from = s.R
		if err := s.CloseWrite(); err != nil {
			return err
		}
	}
	rest, err := io.ReadAll(from)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q after the end", rest)
	}
	return err
}

// usage is what the process uses while nothing is under way but the streams.
type usage struct {
	heap                uint64
	goroutines, sockets int
}

func (r *reloads) usage() usage {
	r.t.Helper()
	r.pause.Lock()
	defer r.pause.Unlock()
	// What the pools hold outlives two collections.
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		r.t.Fatal(err)
	}
	return usage{m.HeapAlloc, runtime.NumGoroutine(), len(files)}
}

// flat allows for the connections that the clients need from a service that is a little warmer than it was: at most one
// per client, with its goroutines in the origin. A leak of one thing per swap is many times more.
func (r *reloads) flat(before, after usage) {
	r.t.Helper()
	r.t.Logf("before: %+v, after: %+v", before, after)
	const heapMax = 512 << 10
	if after.heap > before.heap+heapMax {
		r.t.Errorf("the heap has grown from %d to %d bytes", before.heap, after.heap)
	}
	if after.goroutines > before.goroutines+2*clients {
		r.t.Errorf("there were %d goroutines, now there are %d", before.goroutines, after.goroutines)
	}
	if after.sockets > before.sockets+2*clients {
		r.t.Errorf("there were %d open files, now there are %d", before.sockets, after.sockets)
	}
}

// end ends all and looks back.
func (r *reloads) end() {
	r.t.Helper()
	for _, s := range r.streams {
		if s.events != nil {
			s.Close()
		} else if err := s.end(); err != nil {
			r.t.Errorf("the WebSocket of %s does not end well: %v", s.path, err)
		}
	}
	r.over.Store(true)
	r.workers.Wait()
	// Everything that goes to the service that stays is under way at most once per client. On a busy machine one may be given up;
	// if swaps cost connections, there would be hundreds.
	if n := r.steady.accepted(); n == 0 || n > 2*clients {
		r.t.Errorf("the service that stays has needed %d connections, want 1 to %d, or a few more", n, clients)
	}
	r.t.Logf("%d requests, %d swaps, %d connections to the service that stays", r.served.total(), r.gen, r.steady.accepted())
}

// served counts answers by generation.
type served struct {
	mu      sync.Mutex
	cond    sync.Cond
	gen     int
	n       int
	all     int
	stopped bool // a client has given up
}

func (s *served) begin(gen int) {
	s.mu.Lock()
	s.gen, s.n = gen, 0
	s.mu.Unlock()
}

func (s *served) count(gen int) {
	s.mu.Lock()
	s.all++
	if gen == s.gen {
		s.n++
		s.cond.Broadcast()
	}
	s.mu.Unlock()
}

func (s *served) failed() {
	s.mu.Lock()
	s.stopped = true
	s.cond.Broadcast()
	s.mu.Unlock()
}

func (s *served) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// wait waits for so many answers of the current generation. It returns false if they do not come.
func (s *served) wait(n int) bool {
	return waitCond(&s.cond, func() bool { return s.n >= n || s.stopped }) && !s.stopped
}

// waitCond waits until ok holds, but not for ever.
func waitCond(c *sync.Cond, ok func() bool) bool {
	late := false
	timer := time.AfterFunc(patience, func() {
		c.L.Lock()
		late = true
		c.L.Unlock()
		c.Broadcast()
	})
	defer timer.Stop()
	c.L.Lock()
	defer c.L.Unlock()
	for !ok() && !late {
		c.Wait()
	}
	return ok()
}

// countedOrigin is an origin that counts its connections.
type countedOrigin struct {
	address string
	streams int // that are open on it, by the test's own account

	mu   sync.Mutex
	cond sync.Cond
	open int
	all  int
}

// origin answers /hello, /large, /echo, /events and /socket, in a folder that names the generation or in none, and
// reports what generation it was asked by.
func (r *reloads) origin() *countedOrigin {
	o := &countedOrigin{}
	o.cond.L = &o.mu
	s := httptest.NewUnstartedServer(http.HandlerFunc(r.answer))
	s.Listener = countedListener{s.Listener, o}
	s.Start()
	r.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	o.address = s.Listener.Addr().String()
	return o
}

func (r *reloads) answer(w http.ResponseWriter, req *http.Request) {
	folder, op, ok := strings.Cut(req.URL.Path[1:], "/")
	if !ok {
		folder, op = "", folder
	}
	h := w.Header()
	h.Set("X-Origin", folder)
	h.Set("X-Routed-By", req.Header.Get("X-Routed-By"))
	switch op {
	case "hello":
		_, _ = io.WriteString(w, "hello") // the client notices what does not arrive; so below
	case "large":
		_, _ = w.Write(payload)
	case "echo":
		// Whole before it is answered: net/http lets no handler read on once it has written.
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	case "events":
		r.events(w, req)
	case "socket":
		r.socket(w, req)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

func (r *reloads) events(w http.ResponseWriter, req *http.Request) {
	left, _ := strconv.Atoi(req.URL.Query().Get("ticks")) // written by open
	last := r.ticks.now()
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	for {
		n, ok := r.ticks.after(req.Context(), last)
		if !ok {
			return
		}
		last = n
		fmt.Fprintf(w, "data: %d\n", n)
		w.(http.Flusher).Flush()
		if left--; left == 0 {
			return
		}
	}
}

func (r *reloads) socket(w http.ResponseWriter, req *http.Request) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		r.t.Error(err)
		return
	}
	defer c.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
	if err := errors.Join(w.Header().Write(rw), rw.Flush()); err != nil {
		return
	}
	_, _ = io.WriteString(c, "\r\n")
	_, _ = io.Copy(c, rw) // until the client closes its side, or nobody is there
}

type countedListener struct {
	net.Listener
	origin *countedOrigin
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.origin.add(1)
	return &countedConn{TCPConn: c.(*net.TCPConn), origin: l.origin}, nil
}

type countedConn struct {
	*net.TCPConn
	origin *countedOrigin
	once   sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.origin.add(-1) })
	return c.TCPConn.Close()
}

func (o *countedOrigin) add(n int) {
	o.mu.Lock()
	o.open += n
	o.all += max(n, 0)
	o.mu.Unlock()
	o.cond.Broadcast()
}

func (o *countedOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}

func (o *countedOrigin) accepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all
}

// waitOpen waits until so many connections are open.
func (o *countedOrigin) waitOpen(n int) bool {
	return waitCond(&o.cond, func() bool { return o.open == n })
}

// ticks is a number that any number of streams wait for to grow.
type ticks struct {
	mu    sync.Mutex
	n     int
	grown chan struct{}
}

func newTicks() *ticks { return &ticks{grown: make(chan struct{})} }

func (t *ticks) now() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

func (t *ticks) next() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	close(t.grown)
	t.grown = make(chan struct{})
	return t.n
}

func (t *ticks) after(ctx context.Context, last int) (int, bool) {
	for {
		t.mu.Lock()
		n, grown := t.n, t.grown
		t.mu.Unlock()
		if n > last {
			return n, true
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, false
		}
	}
}
