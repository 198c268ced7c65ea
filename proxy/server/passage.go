package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/tlsterm"
)

// passThrough reads the name that a client asks for, and passes the connection on if that is one of those that are passed
// through; else it returns the connection, from which everything can still be read, for TLS to end here.
func (l *Listener) passThrough(c net.Conn, from origin, settings *Settings) (net.Conn, bool) {
	hello, first, err := l.server.readHello(c)
	if err != nil {
		slog.Debug("a ClientHello could not be read", "listener", l.Name, "peer", from.peer.String(), "error", err)
		_ = c.Close() // the client has been told why in an alert, if it could be
		l.server.dismiss(from.counted)
		return nil, true
	}
	way := settings.Through.Find(hello.ServerName)
	if way == nil && settings.TLS != nil {
		return &begun{Conn: c, first: first}, false
	}
	from.serverName, from.ja4 = hello.ServerName, hello.JA4
	l.pass(c, first, way, from, settings)
	return nil, true
}

// readHello reads a ClientHello in the time that a handshake may take. One that follows gets its own.
func (s *Server) readHello(c net.Conn) (_ tlsterm.Hello, first []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			err = errBroken
		}
		if err != nil {
			s.handshakes.failed.Add(1)
		}
	}()
	_ = c.SetDeadline(time.Now().Add(s.handshakeTimeout())) // fails only on a closed connection, as does taking it back
	hello, first, err := tlsterm.ReadHello(c)
	var header tls.RecordHeaderError
	if errors.As(err, &header) && isHTTP(header.RecordHeader) {
		_, _ = io.WriteString(c, notHTTP) // the connection ends in any case
	}
	_ = c.SetDeadline(time.Time{})
	return hello, first, err
}

// begun is a connection of which something has been read that is to be read again.
type begun struct {
	net.Conn
	first []byte
}

func (c *begun) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	if c.first = c.first[n:]; len(c.first) == 0 {
		c.first = nil // it may be large, and the connection live for long
	}
	return n, nil
}

// NetConn returns what is beneath, for those who have questions to the kernel.
func (c *begun) NetConn() net.Conn { return c.Conn }

// pass passes a connection on to way's service; nil: the client has asked for a name that there is not. first is what has been
// read from it already. The connection is closed and dismissed when pass returns.
func (l *Listener) pass(c net.Conn, first []byte, way *proxy.Way, from origin, settings *Settings) {
	t := &tunnel{server: l.server, observer: settings.Passages, client: c}
	p := &t.passage
	p.Listener, p.Started = l.Name, wire.Now()
	p.Client = proxy.Client{
		Addr: from.peer.Addr(), Peer: from.peer, Text: from.text(), Trusted: settings.trusts(from.peer.Addr()),
		ServerName: from.serverName, JA4: from.ja4, Transport: from.transport,
	}
	if way != nil {
		p.Service = way.Service
	}
	t.observer.Begin(p)
	defer l.server.dismiss(from.counted)
	defer t.finish()
	switch {
	case len(settings.Allow) > 0 && !contains(settings.Allow, from.peer.Addr()):
		t.end(proxy.NotAllowed, nil)
	case way == nil:
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = c.Write(unrecognizedName) // if it does not fit into the socket at once it is not worth waiting for
		t.end(proxy.UnrecognizedName, nil)
	default:
		t.run(way.To, first)
	}
}

// unrecognizedName is the alert unrecognized_name, fatal (RFC 6066 section 3, RFC 8446 section 6).
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// tunnel is a passage on its way. Two goroutines copy, one for each direction.
type tunnel struct {
	server         *Server
	observer       proxy.PassageObserver
	passage        proxy.Passage
	client, origin net.Conn
	cancel         context.CancelFunc // of the attempt to connect

	silence time.Duration
	clock   *time.Timer // looks whether anything has moved
	moved   uint64      // by activity, when it last looked
	movedAt int64

	mu    sync.Mutex
	over  bool // nothing is to be waited for any more
	ended proxy.Ending
	err   error
	told  [2]int64 // bytes that the observer was told of

	toldEnd [2]atomic.Bool // the client, the origin, that nothing more will come
}

// run connects and copies until both sides have said all, or something else ends it.
func (t *tunnel) run(to proxy.Carrier, first []byte) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			t.end(proxy.ClientBroke, proxy.ErrInternal)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t.cancel = cancel
	if !t.server.enter(t) {
		t.end(proxy.EndedDraining, nil)
		return
	}
	defer t.server.leave(t)
	origin, done, err := to.Connect(ctx, &t.passage)
	if err != nil {
		t.end(t.passage.Ended, err)
		return
	}
	defer done()
	defer func() { _ = origin.Close() }() // nothing is left that a failure could lose
	t.mu.Lock()
	t.origin = origin
	over := t.over
	t.mu.Unlock()
	if !over {
		t.copy(first, to.Silence())
	}
	if t.broken() {
		resetOnClose(origin)
	}
}

// end says why the passage is over. What is said first counts.
func (t *tunnel) end(why proxy.Ending, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == "" {
		t.ended, t.err = why, err
	}
}

// cut ends a passage from outside.
func (t *tunnel) cut(why proxy.Ending) {
	t.end(why, nil)
	t.mu.Lock()
	t.over = true
	origin := t.origin
	t.mu.Unlock()
	t.cancel()
	past := time.Unix(1, 0)
	_ = t.client.SetDeadline(past) // fails only on a closed connection
	if origin != nil {
		_ = origin.SetDeadline(past)
	}
}

// isOver reports whether the passage was cut. Who sets a deadline asks afterwards: it may have been that of cut.
func (t *tunnel) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// broken reports whether a side might take what it has for all there was, unless it sees a reset.
func (t *tunnel) broken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.ended {
	case proxy.EndedByClient, proxy.EndedByOrigin, proxy.UnrecognizedName:
		return false
	}
	return true
}

func (t *tunnel) finish() {
	if t.broken() {
		resetOnClose(t.client)
	}
	_ = t.client.Close() // nothing is left that a failure could lose
	p := &t.passage
	t.tell()
	p.Ended, p.Err, p.EndedAt = t.ended, t.err, wire.Now()
	t.observer.Finish(p)
}

// tell tells the observer of what has been moved since the last time.
func (t *tunnel) tell() {
	t.mu.Lock()
	in, out := t.passage.BytesIn.Load(), t.passage.BytesOut.Load()
	newIn, newOut := in-t.told[0], out-t.told[1]
	t.told = [2]int64{in, out}
	t.mu.Unlock()
	if newIn != 0 || newOut != 0 {
		t.observer.Moved(&t.passage, newIn, newOut)
	}
}

// resetOnClose makes Close be seen as a reset.
func resetOnClose(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a closed connection
	}
}

// enter makes a passage known, so that Shutdown can cut it, and reports false if that is over already.
func (s *Server) enter(t *tunnel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutting {
		return false
	}
	if s.tunnels == nil {
		s.tunnels = make(map[*tunnel]struct{})
	}
	s.tunnels[t] = struct{}{}
	return true
}

func (s *Server) leave(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tunnels, t)
}

// cutTunnels ends the passages that there are, and those that come.
func (s *Server) cutTunnels() {
	s.mu.Lock()
	s.cutting = true
	tunnels := make([]*tunnel, 0, len(s.tunnels))
	for t := range s.tunnels {
		tunnels = append(tunnels, t)
	}
	s.mu.Unlock()
	for _, t := range tunnels {
		t.cut(proxy.EndedDraining)
	}
}
