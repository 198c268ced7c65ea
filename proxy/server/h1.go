package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// h1 is one HTTP/1.1 connection of a client. One goroutine serves its requests one after the other, in order; while a
// request body is on its way upstream, another one reads it through requestBody.
type h1 struct {
	*wire.Conn
	server   *Server
	listener *Listener
	settings *settings     // of the current request, nil between requests
	limits   *proxy.Limits // the same; nil between requests, so that an idle connection keeps no former snapshot in memory
	in       wire.Reader
	message  wire.Message
	recall   wire.Recall
	upload   requestBody

	from origin

	serveHeld func() bool     // serveInHold, bound once
	inHold    bool            // nobody may read from the connection now
	begun     *proxy.Exchange // its head was read within a hold, which the rest of it does not fit
	scanned   bool            // begun's head is complete
	over      bool            // nothing more is to be served
	unused    bool            // it rests, has for long, and may be parked
	lingers   bool            // see linger
	switching bool            // it has turned out to be an HTTP/2 connection

	served   int
	since    int64 // wire.Now when there was last something to do
	headOut  bool  // the head of an answer to the current request was written, at least in part
	out      int64
	slowRead int64 // nanoseconds that the client may take too little of a response; 0: see send

	state   atomic.Int32 // one of those below
	current struct {     // others look in to cancel, or to end an idle connection
		sync.Mutex // held meanwhile
		canceling  atomic.Bool
		x          atomic.Pointer[proxy.Exchange]
	}
}

// Where a connection is in its life.
const (
	idle   int32 = iota // between requests: a drain may end it
	busy                // a request is being served
	doomed              // a drain has ended the wait for another request
)

func newH1(nc net.Conn, l *Listener, from origin) *h1 {
	c := &h1{
		server: l.server, listener: l, from: from.settle(),
	}
	c.Conn = wire.NewConn(nc, c.reset)
	c.Conn.Owner = c
	c.in.Init(c.Conn, wire.Small)
	c.upload.c = c
	c.upload.idle.L = &c.upload.mu
	c.serveHeld = c.serveInHold
	c.message.Reset()
	c.message.UseRecall(&c.recall)
	c.since = wire.Now()
	return c
}

// run serves the connection to its end, or until it is parked: then the parking calls run again.
func (c *h1) run() {
	defer caught()
	mine := true
	defer func() {
		if mine {
			c.close()
		}
	}()
	for c.serveUntilUnused() {
		if c.server.park(c.Conn) {
			mine = false // and somebody else may have it already
			return
		}
	}
	if c.switching {
		next := c.switchToH2()
		mine = false
		next.run()
	}
}

// switchToH2 hands the connection over to HTTP/2, with all that was read from it.
func (c *h1) switchToH2() *h2 {
	first := bytes.Clone(c.in.Bytes())
	c.Disarm()
	next := newH2(c.listener, c.Conn.Conn, first, c.from)
	// From here on whoever looks for connections finds the new one.
	c.server.sweeper.Remove(c.Conn)
	c.in.Close()
	if why := c.Kicked(); why != 0 {
		next.Kick(why) // it was meant for whoever has the connection
	}
	return next
}

// serveUntilUnused returns true when the connection may be parked, and false at its end.
func (c *h1) serveUntilUnused() bool {
	defer c.recover()
	for c.next() {
	}
	return c.unused
}

// recover catches a panic outside the chain, which has its own recover, and still ends the exchange.
func (c *h1) recover() {
	p := recover()
	if p == nil {
		return
	}
	proxy.Caught(p)
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
	}()
	if x := c.current.x.Load(); x != nil {
		c.finish(x, false, false)
	}
}

// close leaves nothing behind, whatever goes wrong in it.
func (c *h1) close() {
	defer c.server.ended(&c.from)
	defer func() { _ = c.Conn.Close() }() // nothing is left that a failure could lose
	defer c.in.Close()
	defer c.server.sweeper.Remove(c.Conn)
	if c.lingers {
		c.linger()
	}
}

// next serves requests until one of them, or an end, wants what a hold cannot give, then that one, and reports whether
// another may follow on the connection.
func (c *h1) next() bool {
	if !c.awaitRequest() {
		return false
	}
	x := c.begun
	c.begun = nil
	if x == nil {
		x = c.begin()
	}
	var err error
	if !c.scanned {
		err = c.readHead(x)
	}
	c.scanned = false
	return c.serve(x, err)
}

// serveInHold serves the requests that have arrived as a whole, which most do in a single read, without giving up the hold
// on the connection. It returns true to wait for more.
func (c *h1) serveInHold() bool {
	c.inHold = true
	defer c.leaveHold()
	for c.in.Buffered() > 0 {
		if c.state.Swap(busy) == doomed {
			c.state.Store(doomed)
			return false
		}
		x := c.begin()
		if c.in.Bytes()[0] == '\r' {
			c.begun = x // readHead knows what to do with empty lines
			return false
		}
		done, err := c.scanHead(x)
		if err == nil && (!done || c.message.Upgrade || c.message.Chunked || c.message.ContentLength > int64(c.in.Buffered())) {
			c.begun, c.scanned = x, done
			return false
		}
		c.Disarm() // from here on it is not the client that is waited for
		if !c.serve(x, err) {
			c.over = true
			return false
		}
	}
	return c.rest()
}

func (c *h1) leaveHold() { c.inHold = false }

// rest prepares to wait for another request, and reports whether one is wanted.
func (c *h1) rest() bool {
	c.limits, c.settings = nil, nil
	c.state.CompareAndSwap(busy, idle) // first, so that a drain that begins now sees it; one that has doomed a new connection stays
	if c.leaving() {
		// Who has just come may still ask once: a request that is on its way is not to be lost.
		c.Arm(wire.Now() + int64(lastWait))
		return c.served == 0
	}
	c.Arm(c.since + int64(c.server.snapshot.Load().Limits.Idle))
	return true
}

// lastWait is how long a new connection is waited for when it is to end.
const lastWait = time.Second

// awaitRequest waits for the first bytes of a request, or until the connection is unused for long. It holds neither a buffer nor
// an exchange meanwhile.
func (c *h1) awaitRequest() bool {
	if c.in.Buffered() == 0 && (c.unused || c.rest()) {
		c.unused = false
		// Whatever ended the wait, what counts is whether bytes are there.
		if c.Holds() {
			if c.unused = c.Hold(&c.in, c.serveHeld) == wire.ErrIdle; c.unused {
				c.recall.Forget()
			}
		} else if c.unused = c.in.FillOrIdle() == wire.ErrIdle; c.unused {
			c.in.Unpin()
			c.recall.Forget()
		}
	}
	if c.over || c.unused {
		return false
	}
	if c.state.Swap(busy) == doomed {
		c.current.Lock() // endIdle has interrupted by now
		c.current.Unlock()
		c.ResumeRead()
		if c.served == 0 && c.begun == nil && c.in.Buffered() == 0 {
			c.Arm(wire.Now() + int64(lastWait))
			_ = c.in.FillOrIdle() // as above
		}
	}
	// A drain ends a connection that waits, but not under a request that has arrived in the same moment.
	return c.begun != nil || c.in.Buffered() > 0 || c.leaving() && c.in.TryFill()
}

// leaving reports that this connection is not to carry another request.
func (c *h1) leaving() bool { return c.server.draining.Load() || c.listener.ends(c.from.epoch) }

// of reports whether the connection came over l.
func (c *h1) of(l *Listener) bool { return c.listener == l }

// endIdle ends the wait for another request.
func (c *h1) endIdle() {
	c.current.Lock()
	defer c.current.Unlock()
	if c.state.CompareAndSwap(idle, doomed) {
		c.InterruptRead()
	}
}

// begin starts an exchange for the request whose first bytes are there.
func (c *h1) begin() *proxy.Exchange {
	c.limits = &c.server.snapshot.Load().Limits
	c.setSlowRead()
	c.upload.reset()
	c.settings = c.listener.settings.Load()
	x := proxy.Acquire()
	x.Started = wire.Now()
	return x
}

// serve answers the request whose head is in x, or could not be read for the reason err.
func (c *h1) serve(x *proxy.Exchange, err error) bool {
	if err == nil {
		c.register(x)
		if err = c.fillRequest(x); err == nil {
			x.BeginCall()
			c.server.serve(x, c.listener, c.from.made)
			return c.finish(x, c.respond(x, wasted(x)), false)
		}
	}
	var r *wire.Refusal
	if !errors.As(err, &r) {
		x.Release()
		return false // a connection that ended, or fell silent: there is nobody to answer
	}
	if r == wire.ErrVersion && c.served == 0 && c.settings.H2 && bytes.HasPrefix(c.in.Bytes(), prefaceLine) {
		c.switching = true
		x.Release()
		return false
	}
	// A refusal ends the connection: what comes after bytes that nobody understood is not a request.
	c.register(x)
	c.server.refuse(x, r)
	return c.finish(x, c.respond(x, true), true)
}

// prefaceLine begins the preface of HTTP/2 (RFC 9113 section 3.4), which was made so that it is no request of HTTP/1.
var prefaceLine = []byte("PRI * HTTP/2.0\r\n")

// scanHead reads the request's head into x as far as it has arrived.
func (c *h1) scanHead(x *proxy.Exchange) (done bool, err error) {
	lim := wire.Limits{HeadBytes: c.limits.HeadBytes, TargetBytes: c.limits.TargetBytes, Fields: c.limits.Fields}
	done, err = wire.ScanRequest(c.in.Bytes(), &lim, &c.message, &x.Request.Head)
	if done && err == nil {
		c.in.Pin(c.message.Bytes())
	}
	return done, err
}

// readHead reads the request's head into x, waiting for it if it has not arrived as a whole.
func (c *h1) readHead(x *proxy.Exchange) error {
	c.Arm(x.Started + int64(c.limits.HeadTimeout))
	if !c.message.Begun() {
		x.Waited = c.in.Bytes()[0] == '\r' // perhaps
		if err := c.skipEmptyLine(); err != nil {
			return err
		}
	}
	for {
		done, err := c.scanHead(x)
		if err != nil {
			return err
		}
		if done {
			c.Disarm()
			return nil
		}
		x.Waited = true
		ok, err := c.in.FillMore(c.limits.HeadBytes + 1)
		if !ok {
			return wire.ErrHeadTooLarge
		}
		if err != nil {
			if c.Kicked() == wire.Expired {
				c.Abort() // too slow to be answered: a slow head is an attack more often than a bad line
			}
			return err
		}
	}
}

// skipEmptyLine passes over one empty line before the request line (RFC 9112 section 2.2).
func (c *h1) skipEmptyLine() error {
	if c.in.Bytes()[0] != '\r' {
		return nil
	}
	for c.in.Buffered() < 3 {
		if b := c.in.Bytes(); len(b) == 2 && b[1] != '\n' {
			break
		}
		if ok, err := c.in.FillMore(c.limits.HeadBytes); !ok || err != nil {
			return err
		}
	}
	if c.in.Bytes()[1] == '\n' {
		c.in.Skip(2)
	}
	return nil
}

// register makes x the connection's current exchange.
func (c *h1) register(x *proxy.Exchange) {
	x.Edge = c
	// Also of a request that nobody understands: the log says who sent it.
	x.Client = c.from.client(c.settings)
	c.headOut, c.out = false, 0
	c.current.x.Store(x)
	c.WatchReset(x.Started + int64(resetLook))
}

// resetLook is how long an exchange may take before the kernel is asked whether its client is still there.
const resetLook = 250 * time.Millisecond

// reset is called when the client has reset the connection.
func (c *h1) reset() { c.cancel(proxy.ErrClientGone) }

// cancel ends the current exchange early: its client has gone, or has to go.
func (c *h1) cancel(why *proxy.Error) {
	c.current.Lock()
	defer c.current.Unlock()
	c.current.canceling.Store(true)
	defer c.current.canceling.Store(false)
	if x := c.current.x.Load(); x != nil {
		x.Cancel(why)
	}
}

// finish ends the exchange in the order that keeps everybody's promises: nobody reads the request any more, the
// upstream's use of it has ended, then the finishers run, then memory goes back. It reports whether the connection can
// carry another request. refused: the head was not accepted, and more may be on its way behind it.
func (c *h1) finish(x *proxy.Exchange, again, refused bool) bool {
	c.WatchReset(0)
	c.current.x.Store(nil)
	if c.current.canceling.Load() {
		c.current.Lock() // waits until cancel is done with x
		c.current.Unlock()
	}
	c.upload.gate()
	_ = x.Response.Body.Close() // whatever it says, the response is over
	if x.Response.Tunnel != nil {
		again = false
	}
	x.Wait()
	x.BytesIn, x.BytesOut = c.upload.taken, c.out
	x.Finish()
	c.since = x.EndedAt
	if again {
		if c.Interrupted() { // by the gate; resuming costs a deadline, which other requests need not pay
			c.ResumeRead()
		}
		again = c.upload.spent() || c.upload.body.Resume() && c.discardUpload()
	}
	c.lingers = c.headOut && !again && (refused || !c.upload.spent() || c.in.Buffered() > 0)
	// While the connection waits it keeps nothing of x in memory, nor of the snapshot that x began with.
	c.message.Reset()
	c.upload.forget()
	x.Release()
	c.in.Unpin()
	c.served++
	return again
}

// discardMax is how much of a body that no policy wanted is read to keep the connection.
const discardMax = 256 << 10

// discardUpload reads what is left of the request body, if that is little enough.
func (c *h1) discardUpload() bool {
	if c.upload.expecting || c.upload.body.Left() > discardMax {
		return false
	}
	buf := wire.GetBuf(wire.Large)
	defer buf.Free()
	c.Arm(wire.Now() + int64(c.limits.HeadTimeout))
	for total := 0; total <= discardMax; {
		n, err := c.upload.body.Read(buf.B)
		total += n
		if err == io.EOF {
			return c.Disarm()
		}
		if err != nil {
			return false
		}
	}
	return false
}

// lingerFor and lingerMax bound how long a connection is read after its last response while the client still sends.
// Closing at once would make its kernel throw the response away (RFC 9112 section 9.6).
const (
	lingerFor = 2 * time.Second
	lingerMax = 4 << 20
)

// linger is called when all else is done with the connection.
func (c *h1) linger() {
	if c.Kicked() != 0 || c.CloseWrite() != nil {
		return
	}
	c.ResumeRead()
	buf := wire.GetBuf(wire.Large)
	defer buf.Free()
	c.Arm(wire.Now() + int64(lingerFor))
	for total := 0; total < lingerMax; {
		n, err := c.Conn.Read(buf.B)
		if total += n; err != nil {
			return
		}
	}
}
