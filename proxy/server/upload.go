package server

import (
	"errors"
	"io"
	"sync"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// requestBody is the flow of a request body: it decodes the framing, asks a waiting client for the body at the first
// read, holds the client to the minimum rate, and is gated, so that nobody reads from the connection once its exchange
// is over.
type requestBody struct {
	c      *h1
	flows  bool // there is a body, and not all of it came with the head; else nothing below but taken means anything
	body   wire.Body
	limits wire.Limits
	taken  int64 // bytes given out, the prefix included

	expecting bool  // 100 Continue was not sent yet
	credit    int64 // nanoseconds the client may still keep us waiting: at most Limits.HeadTimeout

	mu      sync.Mutex
	idle    sync.Cond
	used    bool // somebody has read
	reading bool
	closed  bool
	headOut bool // the response has begun: no 100 Continue any more
}

// reset prepares for a request, as yet without a body.
func (u *requestBody) reset() { u.flows, u.taken, u.expecting = false, 0, false }

// begin prepares for a body that flows.
func (u *requestBody) begin(f wire.Framing, length int64, trailers *wire.Head) {
	lim := u.c.limits
	u.flows = true
	u.limits = wire.Limits{HeadBytes: lim.HeadBytes, TargetBytes: lim.TargetBytes, Fields: lim.Fields}
	u.credit = int64(lim.HeadTimeout)
	u.used, u.reading, u.closed, u.headOut = false, false, false, false
	u.body.Init(&u.c.in, f, length, trailers, &u.limits)
}

// spent reports that nothing of the body is left on the connection.
func (u *requestBody) spent() bool { return !u.flows || u.body.Done() }

// forget gives up the memory of the exchange.
func (u *requestBody) forget() {
	if !u.flows {
		return
	}
	u.mu.Lock() // a late reader is told that the body is gone
	defer u.mu.Unlock()
	u.body.Forget()
}

// Read reads decoded bytes of the body.
func (u *requestBody) Read(p []byte) (int, error) {
	if err := u.enter(); err != nil {
		return 0, err
	}
	n, err := u.read(p)
	u.leave()
	u.taken += int64(n)
	return n, err
}

func (u *requestBody) enter() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.body.Done() {
		return io.EOF // also when it is closed: whoever has read it all may learn so late
	}
	if u.closed {
		return errBodyGone
	}
	u.used, u.reading = true, true
	if u.expecting && !u.headOut {
		u.expecting = false
		// Under the lock: the response must not begin in the middle of it.
		u.c.ArmWrite(wire.Now() + int64(u.c.limits.HeadTimeout))
		_, err := u.c.Write(continueLine)
		u.c.ArmWrite(0)
		if err != nil {
			u.reading = false
			return proxy.ErrBadBody.With(err)
		}
	}
	return nil
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

var errBodyGone = &proxy.Error{Status: 400, Code: "body_gone", Detail: "The request is over; its body can no longer be read.", Side: proxy.ByClient}

func (u *requestBody) leave() {
	u.mu.Lock()
	u.reading = false
	u.mu.Unlock()
	u.idle.Broadcast()
}

// read waits no longer than the client's credit: a wait uses it up, bytes that come earn it back at the minimum rate.
// So a slow but steady upload survives for days, and one that drips is cut after a few seconds.
func (u *requestBody) read(p []byte) (int, error) {
	rate := u.c.limits.MinRate
	var n int
	var err error
	if u.body.Buffered() > 0 {
		n, err = u.body.Read(p)
	} else {
		before := wire.Now()
		if by := u.waitsUntil(before); by != 0 {
			u.c.Arm(by)
			n, err = u.body.Read(p)
			u.c.Disarm()
			u.credit -= wire.Now() - before
		} else {
			n, err = u.body.Read(p)
		}
	}
	if rate > 0 {
		u.credit = min(u.credit+int64(n)*int64(1e9)/rate, int64(u.c.limits.HeadTimeout))
	}
	return u.done(n, err)
}

// waitsUntil is until when the client is waited for; 0: for ever. A call's end is looked for a tick late: whoever waits for the service has seen
// it by then, and answers over a connection that nobody has kicked.
func (u *requestBody) waitsUntil(now int64) int64 {
	until := int64(0)
	if u.c.limits.MinRate > 0 {
		until = now + u.credit
	}
	if by := u.c.callBy(); by != 0 && (until == 0 || by+int64(wire.Tick) < until) {
		until = by + int64(wire.Tick)
	}
	return until
}

func (u *requestBody) done(n int, err error) (int, error) {
	if err == nil || err == io.EOF {
		return n, err
	}
	switch u.c.Kicked() {
	case wire.Expired:
		if by := u.c.callBy(); by != 0 && wire.Now() >= by {
			u.c.Forgive() // whatever was answered by now is whole, or ends with that
			return n, proxy.ErrCallTimeout
		}
		u.forgive()
		return n, proxy.ErrSlowBody
	case wire.Draining:
		return n, proxy.ErrDraining
	}
	var known *proxy.Error
	if errors.As(err, &known) {
		return n, err
	}
	return n, proxy.ErrBadBody.With(err)
}

// forgive keeps the connection writable for the answer to a slow body, unless another answer has begun already.
func (u *requestBody) forgive() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.headOut {
		u.c.Forgive()
	}
}

// Buffered is how many bytes Read can return without waiting.
func (u *requestBody) Buffered() int { return u.body.Buffered() }

// Interrupt ends a read under way and fails later ones.
func (u *requestBody) Interrupt() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.reading {
		u.c.InterruptRead()
	}
}

// Close leaves the rest of the body to the edge, which knows whether it is worth reading.
func (u *requestBody) Close() error {
	u.Interrupt()
	return nil
}

// gate stops reads and waits for the one under way to return.
func (u *requestBody) gate() {
	if !u.flows {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.reading {
		u.c.InterruptRead()
	}
	for u.reading {
		u.idle.Wait()
	}
}

// responseBegins says that the response head goes out now: a client that still waits for 100 Continue takes it as the
// answer. whole is set if all of the response goes out with it. It reports whether the request's end will be known when
// the response has been sent, so that another request can follow.
func (u *requestBody) responseBegins(whole bool) bool {
	if !u.flows {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.headOut = true
	switch {
	case u.reading:
		return !whole // what is under way when the response has been sent is interrupted
	case u.body.Done():
		return true
	case u.expecting || u.body.Err() != nil:
		return false
	case u.used && !whole:
		return true
	}
	return u.body.Left() <= discardMax // a chunked body says nothing about its length: it is tried
}
