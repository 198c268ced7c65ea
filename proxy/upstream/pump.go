package upstream

import (
	"errors"
	"io"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// pump sends a request body that does not lie in memory as a whole, while the exchange's own goroutine already
// reads the response: an origin may answer, and even finish, before it has seen the whole request. At most one
// buffer of the body is in memory.
type pump struct {
	conn *conn
	used bool   // in this exchange
	held bool   // waits for 100 Continue
	run  func() // bound once, so that starting it allocates nothing

	mu       sync.Mutex
	active   bool
	drained  bool  // the whole body was read; what is left is to write its end
	reading  bool  // the exchange's goroutine waits for the origin
	answered bool  // the response head was there
	headBy   int64 // when the response head has to be there; 0 until the whole body was sent
	err      error
	done     sync.WaitGroup
}

func (p *pump) init(c *conn) {
	p.conn = c
	p.run = p.pump
}

// start begins sending x's request body.
func (p *pump) start(x *proxy.Exchange) {
	p.used, p.held, p.active, p.drained, p.headBy, p.err = true, false, true, false, 0, nil
	p.done.Add(1)
	p.conn.Disarm() // while the body is on its way the origin may be silent
	go p.run()
}

// waiting tells the pump whether the origin's answer is being waited for. An origin may be silent while the body is
// on its way; once all of it is sent, its silence is limited.
func (p *pump) waiting(yes bool) {
	p.mu.Lock()
	p.reading = yes
	switch {
	case p.active:
		if by := within(p.conn.x, 0); by != 0 {
			p.conn.Arm(by)
		}
	case yes:
		p.conn.Arm(p.silenceEnds())
	default:
		p.conn.Disarm()
	}
	p.mu.Unlock()
}

// headSeen says that the response head was there: from now on it is the body that may not fall silent.
func (p *pump) headSeen() {
	p.mu.Lock()
	p.answered = true
	p.mu.Unlock()
}

// silenceEnds is when an origin that has been sent everything has to have said something. The lock is held.
func (p *pump) silenceEnds() int64 {
	if p.answered {
		return within(p.conn.x, wire.Now()+int64(p.conn.endpoint.options.Idle))
	}
	if p.headBy == 0 {
		p.headBy = within(p.conn.x, wire.Now()+p.conn.patience)
	}
	return p.headBy
}

// readError is why the request body could not be read, if that is what happened.
func (p *pump) readError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var broken *bodyError
	if errors.As(p.err, &broken) {
		return broken.error
	}
	return nil
}

// bodyError marks a failure of the request's side.
type bodyError struct{ error }

// finish joins the pump and reports whether the whole body was sent. The edge has stopped reads of the request
// body before, so that the pump can only be waiting for the origin.
func (p *pump) finish() bool {
	p.mu.Lock()
	active, drained := p.active, p.drained
	p.mu.Unlock()
	switch {
	case drained:
		// An origin that answers at once may overtake the goroutine that writes the last bytes to it.
		p.conn.ArmWrite(wire.Now() + int64(lastBytes))
	case active:
		p.conn.Kick(wire.Canceled)
	}
	p.done.Wait()
	p.conn.ArmWrite(0)
	p.used = false
	return p.err == nil
}

// lastBytes is how long an origin that has answered already may take to accept the end of the request.
const lastBytes = time.Second

// abort joins the pump of a failed round trip and returns the error that counts.
func (p *pump) abort(err error) error {
	p.mu.Lock()
	active := p.active
	p.mu.Unlock()
	// Asked before the body is interrupted, which would look as if it had broken off by itself.
	if e := p.readError(); e != nil {
		err = e
	}
	if active {
		p.conn.x.Request.Body.Interrupt()
		p.conn.Kick(wire.Canceled)
	}
	p.done.Wait()
	p.used = false
	return err
}

func (p *pump) pump() {
	defer p.done.Done()
	var err error = errPanicked
	defer func() {
		if r := recover(); r != nil {
			proxy.Caught(r)
		}
		p.stopped(err)
	}()
	err = p.send()
}

var errPanicked = &bodyError{proxy.ErrInternal}

// stopped says that nothing more will be sent. A body that broke off ends the connection without a terminator:
// the origin must not take it for whole.
func (p *pump) stopped(err error) {
	if _, broken := err.(*bodyError); broken {
		p.mu.Lock()
		p.err, p.active = err, false
		p.mu.Unlock()
		p.conn.Kick(wire.Canceled)
		p.conn.ShutdownHard()
		return
	}
	p.mu.Lock()
	p.err, p.active = err, false
	if p.reading {
		p.conn.Arm(p.silenceEnds())
	} else {
		p.conn.Disarm()
	}
	p.mu.Unlock()
}

// send returns nil when the whole body and its terminator were written, a *bodyError if the body could not be read,
// or what went wrong with the connection: the reader of the response finds out the rest.
func (p *pump) send() error {
	c, x := p.conn, p.conn.x
	body := &x.Request.Body
	chunked := body.Size() < 0
	idle := int64(c.endpoint.options.Idle)
	buf := wire.GetBuf(wire.Large)
	defer buf.Free()
	b := buf.B
	for left := body.Left(); left != 0; {
		n, err := body.Read(b[wire.ChunkHeadMax : len(b)-2])
		if err != nil && err != io.EOF {
			return &bodyError{err}
		}
		if err == io.EOF && left > int64(n) {
			return &bodyError{proxy.ErrBadBody.With(io.ErrUnexpectedEOF)}
		}
		left -= int64(n) // below 0 from the start if the size is not known
		if left == 0 || err == io.EOF {
			p.mu.Lock()
			p.drained = true
			p.mu.Unlock()
		}
		if n > 0 {
			from, to := wire.ChunkHeadMax, wire.ChunkHeadMax+n
			if chunked {
				from = wire.PutChunkHead(b, from, n)
				to += copy(b[to:], "\r\n")
			}
			c.ArmWrite(wire.Now() + idle)
			if _, err := c.Write(b[from:to]); err != nil {
				return err
			}
			c.ArmWrite(0)
		}
		if err == io.EOF {
			break
		}
	}
	if chunked {
		end := append(b[:0], "0\r\n"...)
		end = proxy.FinalTrailers(&x.Request.Trailers, x.Request.Decided).AppendTo(end)
		c.ArmWrite(wire.Now() + idle)
		if _, err := c.Write(append(end, "\r\n"...)); err != nil {
			return err
		}
		c.ArmWrite(0)
	}
	return nil
}

// errKicked stands for a kick: failure asks the connection for its reason.
var errKicked = errors.New("kicked")

// continueWait is how long an origin that was asked for 100 Continue may stay silent before the body is sent anyway
// (RFC 9110 section 10.1.1: a client must not wait for ever; some origins never answer).
const continueWait = time.Second

// sendExpecting sends a head with Expect: 100-continue and waits for what the origin says to it. The body is read from
// the client only when the origin wants it, or says nothing.
func (c *conn) sendExpecting(x *proxy.Exchange, head []byte) error {
	c.pump.held = true
	c.Arm(wire.Now() + c.patience)
	var err error
	if c.written, err = c.Write(head); err != nil {
		return err
	}
	// This one wait needs a deadline that does not end the connection. A kick that comes at the same time must win.
	if err := c.SetReadDeadline(time.Now().Add(continueWait)); err != nil {
		return err
	}
	if c.Kicked() != 0 {
		return errKicked
	}
	err = c.in.Fill()
	c.ResumeRead()
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() && c.Kicked() == 0 {
		c.pump.start(x)
		return c.fill()
	}
	return err
}
