package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Server serves exchanges on any number of listeners. Safe for concurrent use.
type Server struct {
	snapshot atomic.Pointer[proxy.Snapshot]
	sweeper  *wire.Sweeper

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	clients   map[netip.Addr]int
	streams   map[netip.Addr]int // requests over HTTP/2 and HTTP/3 under way, of each client
	quic      map[*h3]struct{}   // connections of QUIC, which the sweeper does not know
	sockets   map[*Packets]struct{}
	open      int
	empty     chan struct{} // closed when the last connection ends while draining
	draining  atomic.Bool
	relays    map[*relay]struct{} // of passages
	cutting   bool                // a passage that begins now is cut

	accepted   atomic.Uint64
	refused    atomic.Uint64
	shunned    atomic.Uint64
	calmed     atomic.Uint64
	grudges    grudges
	handshakes handshakes
	unproxied  atomic.Uint64 // connections that lacked the PROXY header
	retried    atomic.Uint64 // handshakes of QUIC before which an address had to be proven

	parkingOnce sync.Once
	parking     *wire.Parking // made when it is first needed; nil if it cannot be
}

// New returns a server that serves from snap. Publish replaces it.
func New(sweeper *wire.Sweeper, snap *proxy.Snapshot) *Server {
	s := &Server{
		sweeper: sweeper, listeners: make(map[*Listener]struct{}), clients: make(map[netip.Addr]int), streams: make(map[netip.Addr]int),
		quic: make(map[*h3]struct{}), sockets: make(map[*Packets]struct{}),
	}
	s.snapshot.Store(snap)
	return s
}

// Publish makes snap what new exchanges are served from. Exchanges under way end on the snapshot they began with.
func (s *Server) Publish(snap *proxy.Snapshot) { s.snapshot.Store(snap) }

// Snapshot returns what new exchanges are served from.
func (s *Server) Snapshot() *proxy.Snapshot { return s.snapshot.Load() }

// Counts are the server's connections.
type Counts struct {
	Open     int
	QUIC     int    // of the open ones
	Accepted uint64 // in all
	Refused  uint64 // over a limit
	Shunned  uint64 // of clients that had flooded the gateway over many others just before, and that get none for a while
	Calmed   uint64 // ended because their clients flooded the gateway with frames of HTTP/2 or HTTP/3
	// Unproxied are those that ended because a PROXY header was due and did not come.
	Unproxied uint64
	// Retried are handshakes of QUIC before which the client had to prove its address.
	Retried uint64
}

// Counts returns how many connections there are and were.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{
		Open: s.open, QUIC: len(s.quic), Accepted: s.accepted.Load(), Refused: s.refused.Load(), Shunned: s.shunned.Load(), Calmed: s.calmed.Load(),
		Unproxied: s.unproxied.Load(), Retried: s.retried.Load(),
	}
}

// Draining reports whether Shutdown has begun.
func (s *Server) Draining() bool { return s.draining.Load() }

// StartDraining makes responses from now on end their connections, while new ones are still accepted: the balancer in
// front is to notice first that this host is going.
func (s *Server) StartDraining() { s.draining.Store(true) }

// Shutdown stops accepting, ends idle connections at once and the others after their response, and waits until all, those that
// are passed on included, are gone or ctx ends; then it cuts what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.closeParking()
	s.draining.Store(true)
	s.mu.Lock()
	listeners, sockets := slices.Collect(maps.Keys(s.listeners)), slices.Collect(maps.Keys(s.sockets))
	s.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
	for _, p := range sockets {
		p.stop()
	}
	defer closeSockets(sockets)
	s.mu.Lock()
	empty := make(chan struct{})
	if s.open == 0 {
		close(empty)
	} else {
		s.empty = empty
	}
	s.mu.Unlock()
	s.each(edge.endIdle)
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	slog.Warn("cutting connections that did not end within the drain limit", "connections", s.Counts().Open)
	s.cutRelays()
	s.sweeper.Each(func(c *wire.Conn) {
		if e, ok := c.Owner.(edge); ok {
			c.Kick(wire.Draining)
			e.cancel(proxy.ErrDraining) // the wait may be for an origin, of which the client's connection knows nothing
		}
	})
	s.eachQUIC(func(e edge) { e.cancel(proxy.ErrDraining) })
	select {
	case <-empty:
	case <-time.After(time.Second):
	}
	return ctx.Err()
}

// closeSockets waits until sockets that accept no more are closed, whose connections have ended, or were given long enough.
func closeSockets(sockets []*Packets) {
	patience := time.After(time.Second)
	for _, p := range sockets {
		select {
		case <-p.closed:
		case <-patience:
			slog.Warn("a UDP socket stays open: a connection of QUIC does not end", "address", p.socket.LocalAddr().String())
			return
		}
	}
}

// each calls f for every connection.
func (s *Server) each(f func(e edge)) {
	s.sweeper.Each(func(c *wire.Conn) {
		if e, ok := c.Owner.(edge); ok {
			f(e)
		}
	})
	s.eachQUIC(f)
}

// eachQUIC calls f for every connection of QUIC.
func (s *Server) eachQUIC(f func(e edge)) {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.quic))
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

// edge is what a client's connection does for those who find it in the sweeper, or among those of QUIC. Safe for concurrent use.
type edge interface {
	run()                    // serves it, to its end or until it is parked
	of(l *Listener) bool     // it came over l
	leaving() bool           // it is to carry no more requests than it does
	endIdle()                // it is to carry no more requests
	cancel(why *proxy.Error) // what is under way is to end early
}

// park leaves an unused connection to the parking, if it can.
func (s *Server) park(c *wire.Conn) bool {
	s.parkingOnce.Do(func() {
		p, err := wire.NewParking(func(c *wire.Conn) { go c.Owner.(edge).run() })
		if err != nil {
			slog.Warn("idle connections go on taking a goroutine each", "error", err)
			return
		}
		s.parking = p
	})
	return s.parking != nil && s.parking.Park(c)
}

// closeParking ends the parking, or the chance that there will be one.
func (s *Server) closeParking() {
	s.parkingOnce.Do(func() {})
	if s.parking != nil {
		s.parking.Close()
	}
}

// admit counts a connection in, or says why not.
func (s *Server) admit(client netip.Addr) error {
	lim := &s.snapshot.Load().Limits
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted.Add(1)
	if lim.Connections > 0 && s.open >= lim.Connections {
		s.refused.Add(1)
		return errConnections
	}
	if lim.PerClient > 0 && client.IsValid() && s.clients[client] >= lim.PerClient {
		s.refused.Add(1)
		return errPerClient
	}
	s.open++
	if client.IsValid() {
		s.clients[client]++
	}
	return nil
}

// claim counts an admitted connection for a client that became known later, and returns what dismiss is to be told.
func (s *Server) claim(client netip.Addr) (netip.Addr, error) {
	lim := &s.snapshot.Load().Limits
	s.mu.Lock()
	defer s.mu.Unlock()
	if !client.IsValid() {
		return client, nil
	}
	if lim.PerClient > 0 && s.clients[client] >= lim.PerClient {
		s.refused.Add(1)
		return netip.Addr{}, errPerClient
	}
	s.clients[client]++
	return client, nil
}

// beginStream counts a request over HTTP/2 or HTTP/3 in, or refuses it: a client may have as many as connections, over however few.
func (s *Server) beginStream(client netip.Addr) bool {
	lim := &s.snapshot.Load().Limits
	if !client.IsValid() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lim.PerClient > 0 && s.streams[client] >= lim.PerClient {
		s.refused.Add(1)
		return false
	}
	s.streams[client]++
	return true
}

func (s *Server) endStream(client netip.Addr) {
	if !client.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[client]--; s.streams[client] <= 0 {
		delete(s.streams, client)
	}
}

// ended is called at the end of every connection that was let in and counted.
func (s *Server) ended(from *origin) {
	s.dismiss(from.counted)
	if from.leave != nil {
		from.leave()
	}
}

func (s *Server) dismiss(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if client.IsValid() {
		if s.clients[client]--; s.clients[client] <= 0 {
			delete(s.clients, client)
		}
	}
	if s.open == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

var (
	errConnections = errors.New("too many connections")
	errPerClient   = errors.New("too many connections from this address")
)

// peerOf returns the other end of a connection; the zero value for a unix socket.
func peerOf(c net.Conn) netip.AddrPort { return addrPort(c.RemoteAddr()) }

// addrPort is an address of TCP or UDP; the zero value for another.
func addrPort(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		p = a.AddrPort()
	case *net.UDPAddr:
		p = a.AddrPort()
	default:
		return p
	}
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}
