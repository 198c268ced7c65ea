package upstream

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// headedOrigin is an origin of HTTP/2 whose connections begin with a PROXY header. It counts connections.
type headedOrigin struct {
	made, open, most atomic.Int64
	requests         atomic.Int64
}

// newHeadedOrigin answers each request with the client of the header, when hold lets it, which may be nil.
func newHeadedOrigin(t testing.TB, hold chan struct{}, settings ...http2.Setting) (*headedOrigin, Target) {
	t.Helper()
	h := &headedOrigin{}
	to := rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		header, err := proxyproto.Read(r)
		if err != nil {
			// The gateway may have given the connection up before it said anything.
			return
		}
		h.made.Add(1)
		now := h.open.Add(1)
		defer h.open.Add(-1)
		for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); most = h.most.Load() {
		}
		o := greetedH2(t, c, r, n, settings)
		if o == nil {
			return
		}
		var write sync.Mutex
		var answers sync.WaitGroup
		defer answers.Wait()
		defer c.Close()
		for {
			id, _ := o.request()
			if id == 0 {
				return
			}
			h.requests.Add(1)
			answers.Go(func() {
				if hold != nil {
					<-hold
				}
				write.Lock()
				defer write.Unlock()
				o.answer(id, header.SourceAddr.String())
			})
		}
	})
	to.H2 = true
	return h, to
}

// clientOf is a request of the client with this port.
func clientOf(port int) *proxy.Exchange {
	x := newExchange("GET", "/", "")
	x.Client.Peer = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(port))
	x.Client.Addr = x.Client.Peer.Addr()
	return x
}

// askOf sends a request of this client, and returns "own" for an answer over a connection of its own, or the code of an error.
func askOf(s *Service, port int) string {
	x := clientOf(port)
	defer end(x)
	got, err := serve(s, x)
	if err != nil {
		return code(err)
	}
	if got == fmt.Sprintf("200 192.0.2.1:%d", port) {
		return "own"
	}
	return got
}

func (s *h2pools) queued() int {
	n := 0
	for _, p := range s.all() {
		p.mu.Lock()
		n += len(p.waiting)
		p.mu.Unlock()
	}
	return n
}

// agree compares the sums with what the pools have, when nothing is under way.
func (s *h2pools) agree(t testing.TB) {
	t.Helper()
	open, idle, users := 0, 0, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.headers {
		o, i := p.counts()
		open, idle, users = open+o, idle+i, users+p.users
	}
	if int(s.open.Load()) != open || int(s.idle.Load()) != idle || users != 0 {
		t.Errorf("the sums are %d open, %d idle; the pools have %d, %d, and %d users", s.open.Load(), s.idle.Load(), open, idle, users)
	}
}

// TestH2PoolsIdle: pool.idle is about all clients together, and those that came last are kept.
func TestH2PoolsIdle(t *testing.T) {
	f := func(most int) {
		t.Helper()
		h, to := newHeadedOrigin(t, nil)
		s := testService(t, func(o *Options) { o.MaxIdle, o.Proxied = most, 2 }, to)
		pools := &s.endpointAt(0).h2
		const clients = 20
		for i := range clients {
			if got := askOf(s, 1000+i); got != "own" {
				t.Fatalf("client %d got %s", i, got)
			}
			want := min(i+1, most)
			if open, idle := pools.counts(); open != want || idle != want || len(pools.all()) != want+1 {
				t.Fatalf("after %d clients there are %d connections, %d idle, in %d pools; want %d", i+1, open, idle, len(pools.all()), want)
			}
		}
		eventually(t, "the others are closed", func() bool { return h.open.Load() == int64(most) })
		for i := clients - most; i < clients; i++ {
			if got := askOf(s, 1000+i); got != "own" {
				t.Errorf("client %d got %s", i, got)
			}
		}
		if n := h.made.Load(); n != clients {
			t.Errorf("%d connections were made for %d clients, of which the last %d came again", n, clients, most)
		}
		pools.agree(t)
	}
	f(3)
	f(1)
	f(0)
}

// TestH2PoolsConnections: pool.connections is about all clients together. Who has a connection waits for it, who has none is refused
// at once.
func TestH2PoolsConnections(t *testing.T) {
	const most, each = 4, 6
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	h, to := newHeadedOrigin(t, hold, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	s := testService(t, func(o *Options) { o.MaxConns, o.Wait, o.Proxied = most, time.Hour, 2 }, to)
	t.Cleanup(release)
	pools := &s.endpointAt(0).h2
	results := make(chan string, most*each)
	for i := range most {
		go func() { results <- askOf(s, 1000+i) }()
	}
	eventually(t, "each has its connection", func() bool { return h.requests.Load() == most })
	for i := range most * (each - 1) {
		go func() { results <- askOf(s, 1000+i%most) }()
	}
	eventually(t, "the others wait", func() bool { return pools.queued() == most*(each-1) })
	refused := make(chan string, 1)
	go func() { refused <- askOf(s, 2000) }()
	if got := receive(t, "a refusal", refused); got != "upstream_busy" {
		t.Errorf("one client more got %s", got)
	}
	if open, idle := pools.counts(); open != most || idle != 0 {
		t.Errorf("there are %d connections, %d idle", open, idle)
	}
	release()
	for range most * each {
		if got := receive(t, "an answer", results); got != "own" {
			t.Errorf("got %s", got)
		}
	}
	if n := h.most.Load(); n != most {
		t.Errorf("the origin had %d connections at a time, want %d", n, most)
	}
	pools.agree(t)
}

// TestH2PoolsRoom: what is idle makes room, for a client that has none as for one whose own are full.
func TestH2PoolsRoom(t *testing.T) {
	hold := make(chan struct{})
	let := sync.OnceFunc(func() { close(hold) })
	h, to := newHeadedOrigin(t, hold, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	s := testService(t, func(o *Options) { o.MaxConns, o.Wait, o.Proxied = 2, time.Hour, 2 }, to)
	t.Cleanup(let)
	results := make(chan string, 10)
	ask := func(port int) { go func() { results <- askOf(s, port) }() }
	answered := func() {
		t.Helper()
		if got := receive(t, "an answer", results); got != "own" {
			t.Errorf("got %s", got)
		}
	}
	for port := range 2 {
		ask(1000 + port)
		eventually(t, "the request is there", func() bool { return h.requests.Load() == int64(port+1) })
		hold <- struct{}{}
		answered()
	}
	ask(1002) // in the place of 1000
	eventually(t, "the third client's request is there", func() bool { return h.requests.Load() == 3 })
	ask(1002) // in the place of 1001
	eventually(t, "its second one is there, too", func() bool { return h.requests.Load() == 4 })
	if n := h.made.Load(); n != 4 {
		t.Errorf("%d connections were made, want 4", n)
	}
	if open, _ := s.endpointAt(0).counts(); open != 2 {
		t.Errorf("%d are open, want 2", open)
	}
	let()
	answered()
	answered()
	s.endpointAt(0).h2.agree(t)
}

// TestH2PoolsTurmoil: whatever clients do at the same time, there are never more connections than may be, none is lost, and nobody
// is left waiting.
func TestH2PoolsTurmoil(t *testing.T) {
	const most = 3
	_, to := newHeadedOrigin(t, nil, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
	s := testService(t, func(o *Options) { o.MaxConns, o.MaxIdle, o.Proxied = most, 2, 2 }, to)
	pools := &s.endpointAt(0).h2
	var clients sync.WaitGroup
	deadline := time.Now().Add(3 * patience)
	for i := range 12 {
		clients.Go(func() {
			for served := 0; served < 20; {
				switch got := askOf(s, 1000+i/2); {
				case got == "own":
					served++
				case got != "upstream_busy" || time.Now().After(deadline):
					t.Errorf("client %d was served %d times, and got %s", i, served, got)
					return
				default:
					time.Sleep(100 * time.Microsecond) // and leaves the processor to those who are served
				}
				if n := pools.open.Load(); n > most {
					t.Errorf("%d connections", n)
				}
			}
		})
	}
	clients.Wait()
	// A connection may still be opened for somebody who was served over another one.
	eventually(t, "what is left idles", func() bool {
		open, idle := pools.counts()
		return open == idle && idle <= 2
	})
	pools.agree(t)
	s.endpointAt(0).expire(wire.Now() + int64(time.Hour))
	if open, idle := pools.counts(); open != 0 || idle != 0 || len(pools.all()) != 1 {
		t.Errorf("%d connections, %d idle, in %d pools are left after idle_for", open, idle, len(pools.all()))
	}
	pools.agree(t)
}
