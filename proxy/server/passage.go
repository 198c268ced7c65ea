package server

import (
	"cmp"
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
func (l *Listener) passThrough(c net.Conn, from origin, settings *settings) (net.Conn, bool) {
	hello, first, err := l.server.readHello(c)
	if err != nil {
		slog.Debug("a ClientHello could not be read", "listener", l.Name, "peer", from.peer.String(), "error", err)
		_ = c.Close() // the client has been told why in an alert, if it could be
		l.server.ended(&from)
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
		if err != nil {
			s.handshakes.failed.Add(1)
		}
	}()
	defer recoverAs(&err)
	_ = c.SetDeadline(time.Now().Add(s.handshakeTimeout())) // fails only on a closed connection, as does taking it back
	if err := awaitHello(c); err != nil {
		return tlsterm.Hello{}, nil, err
	}
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
func (l *Listener) pass(c net.Conn, first []byte, way *proxy.Way, from origin, settings *settings) {
	defer caught()
	defer l.server.ended(&from)
	defer func() { _ = c.Close() }() // r closes it, unless there is a bug before that
	r := &relay{server: l.server, observer: settings.Passages, client: c}
	p := &r.passage
	p.Listener, p.Started = l.Name, wire.Now()
	from = from.settle()
	p.Client = from.client(settings)
	if way != nil {
		p.Service = way.Service
	}
	r.observer.Begin(p)
	defer r.finish()
	switch {
	case len(settings.Allow) > 0 && !contains(settings.Allow, from.peer.Addr()):
		r.end(proxy.NotAllowed, nil)
	case way == nil:
		lastWords(c, unrecognizedName)
		r.end(proxy.UnrecognizedName, nil)
	default:
		r.run(way.To, first)
	}
}

// unrecognizedName is the alert unrecognized_name, fatal (RFC 6066 section 3, RFC 8446 section 6).
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// relay is a passage on its way. Two goroutines copy, one for each direction.
type relay struct {
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
func (r *relay) run(to proxy.Carrier, first []byte) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			r.end(proxy.EndedByBug, proxy.ErrInternal)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.cancel = cancel
	if !r.server.enter(r) {
		r.end(proxy.EndedDraining, nil)
		return
	}
	defer r.server.leave(r)
	origin, done, err := to.Connect(ctx, &r.passage)
	if err != nil {
		r.end(r.passage.Ended, err)
		return
	}
	defer done()
	defer func() { _ = origin.Close() }() // nothing is left that a failure could lose
	r.mu.Lock()
	r.origin = origin
	over := r.over
	r.mu.Unlock()
	if !over {
		r.copy(first, to.Silence())
	}
	if r.broken() {
		resetOnClose(origin)
	}
}

// end says why the passage is over. What is said first counts, but that one side has said all is nothing beside our ending what the
// other still says. If it is the other that breaks, that is how many servers end a connection (they are not interested in last words that
// they have not read), or it is half an answer: nobody can tell here. So it counts as an end, with a cause, and is passed on as a
// reset.
func (r *relay) end(why proxy.Ending, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended == "":
		r.ended, r.err = why, err
	case !whole(r.ended) || whole(why):
	case why == proxy.ClientBroke || why == proxy.OriginBroke:
		r.err = cmp.Or(r.err, err)
	default:
		r.ended, r.err = why, err
	}
}

// whole reports whether what a side has got is all there was for it. Else it has to see a reset, or it might take it for that.
func whole(e proxy.Ending) bool {
	return e == proxy.EndedByClient || e == proxy.EndedByOrigin || e == proxy.UnrecognizedName
}

// cut ends a passage from outside.
func (r *relay) cut(why proxy.Ending) {
	r.end(why, nil)
	r.mu.Lock()
	r.over = true
	origin := r.origin
	r.mu.Unlock()
	r.cancel()
	past := time.Unix(1, 0)
	_ = r.client.SetDeadline(past) // fails only on a closed connection
	if origin != nil {
		_ = origin.SetDeadline(past)
	}
}

// isOver reports whether the passage was cut. Who sets a deadline asks afterwards: it may have been that of cut.
func (r *relay) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// broken reports whether both sides have to see a reset.
func (r *relay) broken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !whole(r.ended) || r.err != nil
}

func (r *relay) finish() {
	if r.broken() {
		resetOnClose(r.client)
	}
	_ = r.client.Close() // nothing is left that a failure could lose
	p := &r.passage
	r.tell()
	p.Ended, p.Err, p.EndedAt = r.ended, r.err, wire.Now()
	r.observer.Finish(p)
}

// tell tells the observer of what has been moved since the last time.
func (r *relay) tell() {
	r.mu.Lock()
	in, out := r.passage.BytesIn.Load(), r.passage.BytesOut.Load()
	newIn, newOut := in-r.told[0], out-r.told[1]
	r.told = [2]int64{in, out}
	r.mu.Unlock()
	if newIn != 0 || newOut != 0 {
		r.observer.Moved(&r.passage, newIn, newOut)
	}
}

// resetOnClose makes Close be seen as a reset.
func resetOnClose(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a closed connection
	}
}

// enter makes a passage known, so that Shutdown can cut it, and reports false if that is over already.
func (s *Server) enter(r *relay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutting {
		return false
	}
	if s.relays == nil {
		s.relays = make(map[*relay]struct{})
	}
	s.relays[r] = struct{}{}
	return true
}

func (s *Server) leave(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.relays, r)
}

// cutRelays ends the passages that there are, and those that come.
func (s *Server) cutRelays() {
	s.mu.Lock()
	s.cutting = true
	relays := make([]*relay, 0, len(s.relays))
	for r := range s.relays {
		relays = append(relays, r)
	}
	s.mu.Unlock()
	for _, r := range relays {
		r.cut(proxy.EndedDraining)
	}
}
