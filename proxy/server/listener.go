package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/tlsterm"
)

// Listener accepts connections on one address.
type Listener struct {
	Name     string
	net      net.Listener
	server   *Server
	settings atomic.Pointer[settings]
	epoch    atomic.Uint32 // connections of another one are to end
	closing  chan struct{} // closed when it is to end
	gone     chan struct{} // closed when nothing is accepted any more
	shut     sync.Once     // closes closing
	packets  *Packets      // of QUIC; nil: none. Under the server's mu

	complained atomic.Int64 // Unix time in nanoseconds when the log last heard of a missing PROXY header
}

// settings are how a listener takes connections at a moment.
type settings struct {
	proxy.Listening
	altSvc string // what is said
}

// mayEnter reports whether client may open another connection; counted is the address it is limited under. A refusal is counted.
func (s *Server) mayEnter(settings *settings, client, counted netip.Addr) (leave func(), ok bool) {
	if s.grudges.shuns(counted) {
		s.shunned.Add(1)
		return nil, false
	}
	if leave, ok = settings.enter(client); !ok {
		s.refused.Add(1)
	}
	return leave, ok
}

// enter asks the door about a connection. A bug in what it wants to be told at the end is nobody's but its own.
func (s *settings) enter(client netip.Addr) (leave func(), ok bool) {
	if s.Door == nil || s.trusts(client) {
		return nil, true
	}
	left, ok := s.Door.Enter(client)
	if left == nil {
		return nil, ok
	}
	return func() {
		defer caught()
		left()
	}, ok
}

// mayShake asks the door about a handshake.
func (s *settings) mayShake(client netip.Addr) bool {
	return s.Door == nil || s.trusts(client) || s.Door.Handshake(client)
}

func (s *settings) trusts(a netip.Addr) bool { return contains(s.Trust, a) }

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Listen begins to accept on nl and returns at once.
func (s *Server) Listen(name string, nl net.Listener, o proxy.Listening) *Listener {
	l := &Listener{Name: name, net: nl, server: s, closing: make(chan struct{}), gone: make(chan struct{})}
	l.settings.Store(&settings{Listening: o})
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	go l.accept()
	return l
}

// Addr is what the listener listens on.
func (l *Listener) Addr() net.Addr { return l.net.Addr() }

// Set replaces the settings for requests that begin from now on. If it changes how connections are made, with TLS say, those that were
// made before end as Retire ends them: they have proven less than is asked for now, or speak what is not spoken any more. Those that
// are passed on go on, here as there: they are nobody's requests.
func (l *Listener) Set(o proxy.Listening) {
	s := &settings{Listening: o}
	l.server.mu.Lock()
	if l.packets != nil {
		s.altSvc = l.altSvcFor(s)
	}
	l.server.mu.Unlock()
	old := l.settings.Swap(s)
	passed := (old.Pass == nil) != (s.Pass == nil) || !old.Through.Same(s.Through)
	if passed || old.TLS != s.TLS || old.H2 != s.H2 || old.NoH1 != s.NoH1 || !slices.Equal(old.Proxied, s.Proxied) {
		l.endConnections()
	}
}

// endConnections lets the connections that there are go on until their next response; idle ones end now.
func (l *Listener) endConnections() {
	l.epoch.Add(1)
	l.server.each(func(e edge) {
		if e.of(l) && e.leaving() {
			e.endIdle()
		}
	})
}

// ends reports whether connections of this epoch are to end.
func (l *Listener) ends(epoch uint32) bool { return l.epoch.Load() != epoch }

// Retire stops accepting. Connections go on until their next response, which ends them; idle ones end now.
func (l *Listener) Retire() {
	l.RetirePackets()
	l.close()
	l.endConnections()
}

func (l *Listener) close() {
	// A listener that cannot be closed is closed already.
	_ = l.net.Close()
	l.shut.Do(func() { close(l.closing) })
	<-l.gone
}

func (l *Listener) accept() {
	defer close(l.gone)
	defer func() {
		l.server.mu.Lock()
		delete(l.server.listeners, l)
		l.server.mu.Unlock()
	}()
	delay := time.Duration(0)
	for {
		c, err := l.net.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, mostly: wait for connections to end, and say so once per pause.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			slog.Error("cannot accept a connection", "listener", l.Name, "error", err, "pause", delay)
			select {
			case <-time.After(delay):
			case <-l.closing:
			}
			continue
		}
		delay = 0
		l.handle(c)
	}
}

// origin is where a connection comes from.
type origin struct {
	peer       netip.AddrPort // the other end, or what a PROXY header says in its place; zero for a unix socket
	peerText   []byte         // its address, see settle
	counted    netip.Addr     // what it counts as for the limit per client
	tls        bool           // the client has spoken TLS, to us or to the balancer
	serverName string         // the name that the client has asked for with TLS, if it is known
	cert       *proxy.Certificate
	ja4        string // the fingerprint of the client's software
	ech        bool   // serverName was encrypted
	made       made
	transport  *proxy.Transport
	epoch      uint32 // of the listener
	leave      func() // what the door wants to be told; may be nil
}

// scheme is what the client sees.
func (o *origin) scheme() string {
	if o.tls {
		return "https"
	}
	return "http"
}

// settle is called when the peer is known for good, and returns the origin.
func (o origin) settle() origin {
	o.peerText = nil
	if o.peer.IsValid() {
		o.peerText = []byte(o.peer.Addr().String())
	}
	return o
}

// secured adds what a handshake has made known.
func (o *origin) secured(state tls.ConnectionState, s *settings) {
	o.tls, o.serverName, o.ech, o.made = true, state.ServerName, state.ECHAccepted, s.madeFor(state.ServerName)
	o.transport = &proxy.Transport{
		Local: o.transport.Local, TLS: tlsVersion(state.Version), ALPN: state.NegotiatedProtocol, Resumed: state.DidResume,
	}
	if len(state.VerifiedChains) > 0 {
		o.cert = proxy.NewCertificate(state.PeerCertificates[0])
	}
}

// client is who sends a request, under these settings.
func (o *origin) client(s *settings) proxy.Client {
	return proxy.Client{
		Addr: o.peer.Addr(), Peer: o.peer, Text: o.peerText, Trusted: s.trusts(o.peer.Addr()), ServerName: o.serverName,
		Certificate: o.cert, JA4: o.ja4, ECH: o.ech, Transport: o.transport,
	}
}

// handle lets a connection in, or not. A bug costs this one, and not those that come after it.
func (l *Listener) handle(c net.Conn) {
	var from origin
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			_ = c.Close()
			if from.leave != nil {
				from.leave()
			}
		}
	}()
	from = origin{peer: peerOf(c), transport: &proxy.Transport{Local: addrPort(c.LocalAddr())}, epoch: l.epoch.Load()}
	settings := l.settings.Load()
	proxied := settings.proxied(from.peer.Addr())
	if !proxied {
		from.counted = l.countedAs(from.peer.Addr())
		var ok bool
		if from.leave, ok = l.server.mayEnter(settings, from.peer.Addr(), from.counted); !ok {
			l.server.accepted.Add(1)
			turnAway(c)
			return
		}
	}
	if err := l.server.admit(from.counted); err != nil {
		leave := from.leave
		from.leave = nil
		if leave != nil {
			leave()
		}
		l.refuse(c)
		return
	}
	go l.serve(c, from, proxied)
}

// countedAs returns what a client's address counts as for the limit per client; the zero value is not counted.
func (l *Listener) countedAs(client netip.Addr) netip.Addr {
	if l.settings.Load().trusts(client) {
		return netip.Addr{} // a balancer brings everybody's connections
	}
	if client.Is6() {
		// A client of IPv6 has a whole network to choose its addresses from.
		if p, err := client.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return client
}

// serve serves an accepted connection, to its end or until it is parked. A bug before that is anybody's to serve ends it; whoever serves it
// catches his own.
func (l *Listener) serve(c net.Conn, from origin, proxied bool) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			_ = c.Close()
			l.server.ended(&from)
		}
	}()
	wire.TuneAccepted(c)
	if proxied && !l.unwrap(c, &from) {
		return
	}
	settings := l.settings.Load()
	if settings.Pass != nil {
		l.pass(c, nil, settings.Pass, from, settings)
		return
	}
	if settings.Through != nil {
		var passed bool
		if c, passed = l.passThrough(c, from, settings); passed {
			return
		}
	}
	h2 := settings.NoH1
	if config := settings.TLS; config != nil {
		tc, ja4, err := l.server.handshake(c, settings, &from)
		if err != nil {
			slog.Debug("a TLS handshake failed", "listener", l.Name, "peer", from.peer.String(), "error", err)
			_ = c.Close() // the client has been told why in an alert, if it could be
			l.server.ended(&from)
			return
		}
		state := tc.ConnectionState()
		if tlsterm.IsChallenge(state) { // the handshake was all that was wanted
			_ = tc.Close()
			l.server.ended(&from)
			return
		}
		c, from.ja4 = tc, ja4
		from.secured(state, settings)
		h2 = h2 || state.NegotiatedProtocol == "h2"
	}
	if h2 {
		l.serveH2(c, nil, from)
		return
	}
	h := newH1(c, l, from)
	l.server.sweeper.Add(h.Conn)
	h.run()
}

// turnAway ends a connection that the door has not let in, or whose client is shunned, as cheaply as can be: the kernel resets it, and remembers nothing of it.
func turnAway(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // it fails only on a closed connection
	}
	_ = c.Close()
}

// refuse ends a connection that is one too many, and says why where the client can understand it.
func (l *Listener) refuse(c net.Conn) {
	switch settings := l.settings.Load(); {
	case settings.TLS != nil, settings.Through != nil, settings.Pass != nil:
		_ = c.Close() // nothing that it waits for could be said without a handshake, or is for us to say
	case settings.NoH1:
		refuseH2(c)
	default:
		refuseConnection(c)
	}
}

// refuseConnection says why in passing.
func refuseConnection(c net.Conn) {
	id := newRequestID(nil)
	const body = `{"type":"urn:sluice:problem:too_many_connections","title":"Service Unavailable","status":503,` +
		`"code":"too_many_connections","detail":"This client, or all together, have as many connections as are allowed.",` +
		`"request_id":"%s"}` + "\n"
	answer := fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"+
		"X-Request-Id: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"+body, id, len(body)-len("%s")+len(id), id)
	lastWords(c, answer)
}

// lastWords writes as much as fits into the socket at once, and closes. A deadline would not do instead: one that is short enough for whoever
// accepts connections may have passed on a busy machine before anything was tried.
func lastWords(c net.Conn, words []byte) {
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Write(func(fd uintptr) bool {
				_, _ = unix.Write(int(fd), words) // what fails does so because the client has gone
				return true
			})
		}
	} else { // it is no socket
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = c.Write(words)
	}
	_ = c.Close()
}
