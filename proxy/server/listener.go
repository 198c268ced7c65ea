package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Listener accepts connections on one address.
type Listener struct {
	Name     string
	net      net.Listener
	server   *Server
	settings atomic.Pointer[Settings]
	retired  atomic.Bool
	gone     chan struct{}
}

// Settings are what a reload may change about a listener while it goes on accepting.
type Settings struct {
	// Trust lists the proxies whose word about the client is believed.
	Trust []netip.Prefix
	// Instead, if not nil, answers every request of this listener in the place of the routes.
	Instead *proxy.Route
}

func (s *Settings) trusts(a netip.Addr) bool {
	for _, p := range s.Trust {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Listen begins to accept on nl and returns at once.
func (s *Server) Listen(name string, nl net.Listener, settings Settings) *Listener {
	l := &Listener{Name: name, net: nl, server: s, gone: make(chan struct{})}
	l.settings.Store(&settings)
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	go l.accept()
	return l
}

// Addr is what the listener listens on.
func (l *Listener) Addr() net.Addr { return l.net.Addr() }

// Set replaces the settings for requests that begin from now on.
func (l *Listener) Set(s Settings) { l.settings.Store(&s) }

// Retire stops accepting. Connections go on until their next response, which ends them; idle ones end now.
func (l *Listener) Retire() {
	l.retired.Store(true)
	l.close()
	l.server.sweeper.Each(func(c *wire.Conn) {
		if h, ok := c.Owner.(*h1); ok && h.listener == l {
			h.endIdle()
		}
	})
}

func (l *Listener) close() {
	// A listener that cannot be closed is closed already.
	_ = l.net.Close()
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
			time.Sleep(delay)
			continue
		}
		delay = 0
		l.handle(c)
	}
}

func (l *Listener) handle(c net.Conn) {
	peer := peerOf(c)
	client := peer.Addr()
	if l.settings.Load().trusts(client) {
		client = netip.Addr{} // a balancer brings everybody's connections
	} else if client.Is6() {
		// A client of IPv6 has a whole network to choose its addresses from.
		if p, err := client.Prefix(64); err == nil {
			client = p.Addr()
		}
	}
	if err := l.server.admit(client); err != nil {
		refuseConnection(c)
		return
	}
	wire.TuneAccepted(c)
	h := newH1(c, l, peer, client)
	l.server.sweeper.Add(h.Conn)
	go h.run()
}

// refuseConnection says why in passing: if the few bytes do not fit into the socket at once they are not worth waiting
// for.
func refuseConnection(c net.Conn) {
	id := newRequestID(nil)
	const body = `{"type":"urn:sluice:problem:too_many_connections","title":"Service Unavailable","status":503,` +
		`"code":"too_many_connections","detail":"This client, or all together, have as many connections as are allowed.",` +
		`"request_id":"%s"}` + "\n"
	answer := fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"+
		"X-Request-Id: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"+body, id, len(body)-len("%s")+len(id), id)
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = c.Write(answer)
	_ = c.Close()
}
