package server

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Read, Buffered, Interrupt and Close make a stream the flow of its request's body. The client is held to the minimum rate, as in
// requestBody.read.

// neglect counts the bodies of a connection that somebody ought to read and nobody does. What the client has sent of them may have used
// up what it may send on all streams together (RFC 9000 section 4.1): then others do not get on, and it is not the client that is waited
// for. quic-go does not say whether it has, so that others are excused for a bounded time, see charge.
type neglect struct{ bodies atomic.Int32 }

func (n *neglect) any() bool { return n.bodies.Load() > 0 }

// seen keeps the connection's count. Under mu.
func (st *h3stream) seen() {
	neglected := st.flowing && !st.reading && !st.closed && !st.ended
	switch {
	case neglected == st.neglected:
		return
	case neglected:
		st.c.neglect.bodies.Add(1)
	default:
		st.c.neglect.bodies.Add(-1)
	}
	st.neglected = neglected
}

// fillBody makes the body what has arrived of it, if that is all, else a flow. ends says that there is none.
func (st *h3stream) fillBody(x *proxy.Exchange, ends bool) {
	r := &x.Request
	if ends {
		return
	}
	if st.takeWhole(x) {
		return
	}
	st.mu.Lock()
	st.flowing = true
	st.seen()
	if r.Head.HasKnown(wire.Expect) && st.arrived == 0 && len(st.in.buffered()) == 0 {
		r.ExpectContinue = true
		st.expecting = true
	}
	st.mu.Unlock()
	r.Body.SetFlow(nil, st, st.declared)
}

// takeWhole makes the body the frame that has arrived with the head, if it is all that there is.
func (st *h3stream) takeWhole(x *proxy.Exchange) bool {
	if st.declared <= 0 || st.declared > gatherMax || st.left > 0 {
		return false
	}
	kind, size, head := st.in.peekFrame()
	if head == 0 || kind != frameData || size != st.declared || int64(len(st.in.buffered())-head) != size || st.in.err != io.EOF {
		return false
	}
	st.in.skip(head)
	body := st.in.buffered()
	x.Hold(st.in.detach())
	x.Request.Body.SetWhole(body)
	st.mu.Lock()
	st.ended, st.taken = true, size
	st.mu.Unlock()
	return true
}

// Read reads the body. Not safe for concurrent use with itself.
func (st *h3stream) Read(p []byte) (int, error) {
	if err := st.enter(); err != nil {
		return 0, err
	}
	n, err := st.readBody(p)
	return n, st.leave(n, err)
}

func (st *h3stream) enter() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.readable(); err != nil {
		return err
	}
	st.reading = true
	st.seen()
	if st.expecting {
		var none wire.Head
		st.interim(100, &none)
	}
	st.expecting = false
	return nil
}

// readable says why nothing can be read, or nil.
func (st *h3stream) readable() error {
	switch {
	case st.failed != nil:
		return st.failed
	case st.ended:
		return io.EOF // also when it is closed: whoever has read it all may learn so late
	case st.closed:
		return errBodyGone
	}
	return nil
}

// leave ends a read, and says what it comes to for the exchange.
func (st *h3stream) leave(n int, err error) error {
	breach, isBreach := errors.AsType[h3Error](err)
	malformed, isMalformed := errors.AsType[h3Reset](err)
	cut, isCut := errors.AsType[*quic.StreamError](err)
	switch {
	case isBreach:
		st.c.fail(breach)
		err = proxy.ErrBadBody.With(err)
	case isMalformed:
		st.drop(proxy.ErrBadBody)
		st.reset(quic.StreamErrorCode(malformed))
		err = proxy.ErrBadBody
	case isCut && cut.Remote:
		st.abandon(proxy.ErrClientGone)
		st.reset(codeRequestIncomplete)
		err = proxy.ErrClientGone
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.reading = false
	st.taken += int64(n)
	switch {
	case err == io.EOF:
		st.ended = true
	case err == proxy.ErrSlowBody:
		st.closed = true // it may have come in the middle of trailers, of which nobody could read on
	}
	st.seen()
	st.unread.Broadcast()
	var known *proxy.Error
	switch {
	case err == nil, err == io.EOF, errors.As(err, &known):
		return err
	case st.failed != nil:
		return st.failed
	case st.closed:
		return errBodyGone
	}
	return proxy.ErrBadBody.With(err)
}

func (st *h3stream) readBody(p []byte) (int, error) {
	for {
		n, err := 0, st.await(st.waitsFor())
		before := wire.Now()
		if err == nil {
			n, err = st.readFrames(p)
		}
		st.charge(wire.Now()-before, n)
		if n > 0 || err == nil || !isTimeout(err) {
			if isTimeout(err) {
				err = nil
			}
			return n, err
		}
		switch {
		case st.recvCredit <= 0 && st.limits.MinRate > 0:
			return 0, proxy.ErrSlowBody
		case st.x.CallOver():
			return 0, proxy.ErrCallTimeout
		}
	}
}

// charge takes what a read has waited from the client's credit, and gives it what n bytes earn at the minimum rate. While another body of this
// connection is unread, waiting is charged to excuse first. excuse is limited; otherwise one unread body would let all others stall for ever.
// What is earned beyond the credit is an excuse again.
func (st *h3stream) charge(waited int64, n int) {
	rate := st.limits.MinRate
	if rate <= 0 {
		return
	}
	if st.c.neglect.any() {
		excused := min(waited, st.excuse)
		st.excuse -= excused
		waited -= excused
	}
	st.recvCredit += int64(n)*int64(time.Second)/rate - waited
	if spare := st.recvCredit - int64(st.limits.HeadTimeout); spare > 0 {
		st.recvCredit -= spare
		st.excuse = min(st.excuse+spare, st.sendCreditMax())
	}
}

// waitsFor is how long, in nanoseconds, the client is waited for now; 0: for ever. That of a call is not waited for beyond its end.
func (st *h3stream) waitsFor() int64 {
	patience := st.patience()
	if by := st.x.CallBy; by != 0 {
		if left := max(by-wire.Now(), 1); patience == 0 || left < patience {
			patience = left
		}
	}
	return patience
}

// patience is how long the client may be waited for by the minimum rate. While it is excused it is looked at again soon.
func (st *h3stream) patience() int64 {
	if st.limits.MinRate <= 0 {
		return 0
	}
	credit := max(st.recvCredit, 1)
	if st.excuse > 0 && st.c.neglect.any() {
		credit = min(credit, int64(windowLook))
	}
	return credit
}

// await lets a read wait for so long, at least for a moment, unless it was ended already.
func (st *h3stream) await(patience int64) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.readable(); err != nil {
		return err
	}
	var until time.Time
	if patience != 0 {
		until = time.Now().Add(max(time.Duration(patience), time.Millisecond))
	}
	_ = st.str.SetReadDeadline(until) // never fails
	return nil
}

// readFrames reads what is next of the body. io.EOF is its end, with whatever trailers there are.
func (st *h3stream) readFrames(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for st.left == 0 {
		if err := st.nextFrame(); err != nil {
			return 0, err
		}
	}
	n, err := st.in.Read(p[:min(int64(len(p)), st.left)])
	st.left -= int64(n)
	return n, inFrame(err)
}

// nextFrame goes on to the next frame of the body, or to what comes after it.
func (st *h3stream) nextFrame() error {
	kind, size, err := st.frameOfMessage()
	switch {
	case err == io.EOF && st.declared >= 0 && st.arrived != st.declared:
		return h3Reset(codeMessage)
	case err != nil:
		return err
	case kind == frameHeaders && !st.trailed:
		st.trailed = true
		return st.readTrailers(size)
	case kind == frameHeaders || st.trailed:
		return h3Error(codeFrameUnexpected)
	case size == 0:
		return st.c.judge((*flood).talk)
	}
	st.arrived += size
	if st.declared >= 0 && st.arrived > st.declared {
		return h3Reset(codeMessage)
	}
	st.left = size
	st.c.earn(int(min(size, connWindow)))
	return nil
}

// earn lets a client that sends a body say more beside it.
func (c *h3) earn(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flood.body(n, false)
}

// Buffered is how many bytes Read can return without waiting.
func (st *h3stream) Buffered() int { return int(min(st.left, int64(len(st.in.buffered())))) }

// Interrupt ends a read under way and fails later ones.
func (st *h3stream) Interrupt() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stopReading()
}

// Close leaves the rest of the body unread.
func (st *h3stream) Close() error {
	st.Interrupt()
	return nil
}

// stopReading fails reads from now on, and ends the one under way. Under mu.
func (st *h3stream) stopReading() {
	st.closed = true
	st.seen()
	if st.reading {
		_ = st.str.SetReadDeadline(time.Unix(1, 0)) // never fails
	}
}

// gate stops reads and waits for the one under way to return. Under mu.
func (st *h3stream) gate() {
	st.stopReading()
	for st.reading {
		st.unread.Wait()
	}
}
