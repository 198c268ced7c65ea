package server

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// h3stream is one stream: a request and its response. It is the exchange's edge and the flow of its request body. Whoever reads the
// request, one at a time, has the stream's receiving side; the goroutine of the stream has the sending one.
type h3stream struct {
	incoming
	c   *h3
	str *quic.Stream

	// Of whoever reads.
	in         h3input
	left       int64 // of the frame of the body that is being read
	arrived    int64 // of the body, in frames that have begun
	trailed    bool  // the trailers were there
	recvCredit int64 // nanoseconds that the client may still keep us waiting for the body
	excuse     int64 // and those that it may beside a body that is neglected

	// Of the goroutine that serves.
	pending    []byte    // a head that waits for the body to go out with
	pendingBuf *wire.Buf // it lies in it, if it fits
	sendCredit int64     // nanoseconds that the client may still take nothing of the response
	torn       bool      // a write has ended somewhere: nothing more can be sent

	mu        sync.Mutex // guards all below
	unread    sync.Cond  // reading has become false
	x         *proxy.Exchange
	failed    error // the stream was reset, by either side, for this reason
	abandoned bool  // by the client, before it was answered
	ended     bool  // all of the request is there
	closed    bool  // nobody reads the body any more
	reading   bool
	flowing   bool // there is a body that did not come with the head
	neglected bool // it counts as such
	expecting bool // 100 Continue was not sent yet
	headOut   bool // the response has begun: no interim response any more
	over      bool // the response was sent
	taken     int64
	out       int64
}

func newH3Stream(c *h3, str *quic.Stream) *h3stream {
	st := &h3stream{c: c, str: str, x: proxy.Acquire()}
	st.incoming.reset(&c.server.snapshot.Load().Limits)
	st.in.from = str
	st.unread.L = &st.mu
	st.x.Started = wire.Now()
	st.x.Waited = true
	st.recvCredit = int64(st.limits.HeadTimeout)
	st.excuse, st.sendCredit = st.sendCreditMax(), st.sendCreditMax()
	return st
}

// run serves the stream.
func (st *h3stream) run() {
	x := st.x
	defer caught()
	defer st.done()
	defer st.recover(x)
	// The client may give up at any time: by refusing what is sent, or with the whole connection.
	stop := context.AfterFunc(st.str.Context(), st.lost)
	defer stop()
	ends, err := st.readHead()
	if err != nil {
		st.giveUp(err)
		return
	}
	settings := st.c.listener.settings.Load()
	x.Edge = st
	from := st.c.from
	from.peer = addrPort(st.c.conn.RemoteAddr()) // a client may have moved
	if settings.proxied(from.peer.Addr()) {
		// To where nobody knows who it is, see Packets.begin.
		st.c.server.unproxied.Add(1)
		st.c.listener.complain(from.peer, errUnproxied)
		_ = st.c.conn.CloseWithError(codeGeneralProtocol, "")
		st.giveUp(errUnproxied)
		return
	}
	from = from.settle()
	x.Client = from.client(settings)
	early := !st.c.proven()
	err = st.fillRequest(x, settings, version3, from.scheme(), from.peerText, func(x *proxy.Exchange) { st.fillBody(x, ends) })
	if st.refusal != nil {
		err = st.refusal // what else is wrong does not matter; the log says as much as is known
	}
	if early && err == nil && !st.mayBeEarly(x) {
		if early = !st.awaitHandshake(); early {
			st.giveUp(errStreamGone)
			return
		}
	}
	if early {
		markEarly(x)
	}
	if err == nil {
		x.BeginCall()
		st.c.server.serve(x, st.c.listener, from.made)
	} else {
		st.c.server.refuse(x, err)
	}
	if resets(err) {
		x.Aborted = true
		st.reset(codeMessage)
	} else {
		settings.addHSTS(x, from.scheme())
		st.respond(x)
	}
	wasted, waited := wasted(x), waitedOut(x.Started, x.CallBy)
	st.finish(x)
	st.mu.Lock()
	st.abandoned = st.abandoned && !waited || wasted
	st.mu.Unlock()
}

// done is called at the end of the stream's goroutine.
func (st *h3stream) done() {
	defer func() {
		st.mu.Lock()
		abandoned := st.abandoned
		st.mu.Unlock()
		st.c.streamDone(st, abandoned)
	}()
	st.in.free()
	st.pendingBuf.Free()
}

// lost is called when nothing can be sent to the client any more, also because all has been.
func (st *h3stream) lost() {
	defer caught()
	st.mu.Lock()
	over := st.over
	st.mu.Unlock()
	if !over {
		st.abandon(proxy.ErrClientGone)
	}
}

// abandon ends the stream for whoever is at it, because the client has ended it.
func (st *h3stream) abandon(why *proxy.Error) {
	st.mu.Lock()
	st.abandoned = st.abandoned || !st.headOut
	st.mu.Unlock()
	st.drop(why)
}

// drop ends the stream for whoever is at it, because of why.
func (st *h3stream) drop(why *proxy.Error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed == nil {
		st.failed = why
	}
	if st.x != nil {
		st.x.Cancel(why)
	}
	st.stopReading()
}

// giveUp ends a stream on which there was no request.
func (st *h3stream) giveUp(why error) {
	code := quic.StreamErrorCode(codeRequestRejected)
	if e, ok := errors.AsType[h3Reset](why); ok {
		code = quic.StreamErrorCode(e)
	}
	if e, ok := errors.AsType[h3Error](why); ok {
		st.c.fail(e)
	}
	st.mu.Lock()
	x := st.x
	st.x, st.abandoned = nil, true // it has cost as much as one that its client has reset
	st.mu.Unlock()
	st.reset(code)
	_ = x.Request.Body.Close()
	x.Release()
}

// recover catches a panic outside the chain, which has its own recover, and still ends the exchange. No other stream notices.
func (st *h3stream) recover(x *proxy.Exchange) {
	p := recover()
	if p == nil {
		return
	}
	proxy.Caught(p)
	st.reset(codeInternal)
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
	}()
	st.mu.Lock()
	over := st.x == nil
	st.mu.Unlock()
	if !over {
		st.finish(x)
	}
}

// finish ends the exchange in the same order as h1's finish: nobody cancels it or reads its request any more, the upstream's use
// of it has ended, then the finishers run, then memory goes back.
func (st *h3stream) finish(x *proxy.Exchange) {
	st.mu.Lock()
	st.gate()
	st.x = nil
	x.BytesIn, x.BytesOut = st.taken, st.out
	st.mu.Unlock()
	_ = x.Response.Body.Close() // whatever it says, the response is over
	x.Wait()
	x.Finish()
	x.Release()
}

// reset ends the stream towards the client, if it has not ended.
func (st *h3stream) reset(code quic.StreamErrorCode) {
	st.mu.Lock()
	over := st.over
	st.over = true
	if !over && st.failed == nil {
		st.failed = errBodyGone
	}
	st.mu.Unlock()
	if !over {
		st.str.CancelWrite(code)
	}
	st.str.CancelRead(code)
}

// complete says that the response has been sent. A client that is still sending its request is told that nobody needs the rest
// (RFC 9114 section 4.1.1), which takes nothing from the response.
func (st *h3stream) complete() {
	st.mu.Lock()
	over, ended := st.over, st.ended
	st.over = true
	st.stopReading()
	st.mu.Unlock()
	if over {
		return // it was reset meanwhile
	}
	_ = st.str.Close() // fails on a stream that the client has left
	if !ended {
		st.str.CancelRead(codeNoError)
	}
}

// respond writes the response. One that is cut short ends in a reset, so that it never looks whole.
func (st *h3stream) respond(x *proxy.Exchange) {
	err := sendResponse(st, x)
	if err == nil {
		return
	}
	x.Aborted = true
	if x.ErrCause == nil {
		x.ErrCause = err
	}
	st.mu.Lock()
	headOut := st.headOut
	st.mu.Unlock()
	if headOut && !st.torn && endCall(st, x, err) {
		return
	}
	code := quic.StreamErrorCode(codeInternal)
	switch {
	case err == errSlowReader:
		code = codeExcessiveLoad
	case isCallTimeout(err):
		code = codeRequestCancelled
	}
	st.reset(code)
}

// sendHead sends a head, or with status 0 trailers. A head waits for what can be had of the body at once.
func (st *h3stream) sendHead(status int, h *wire.Head, length int64, end bool) error {
	st.mu.Lock()
	st.headOut = true
	failed := st.failed
	st.mu.Unlock()
	if failed != nil {
		return errStreamGone
	}
	if st.pendingBuf == nil {
		st.pendingBuf = wire.GetBuf(wire.Medium)
		st.pending = st.pendingBuf.B[:0]
	}
	st.pending = appendHead3(st.pending, status, h, length)
	if end {
		return st.flush(true)
	}
	return nil
}

// pieceSize: what goes beyond the windows waits here, and how large these are is not to be learned.
func (st *h3stream) pieceSize() int { return wire.Medium }

// send sends bytes of the body as the client's windows allow; end says that nothing follows.
func (st *h3stream) send(p []byte, end bool) error {
	if len(p) > 0 {
		st.pending = appendFrameHead(st.pending, frameData, len(p))
	}
	if len(st.pending)+len(p) <= cap(st.pending) {
		st.pending = append(st.pending, p...)
		p = nil
	}
	if len(p) == 0 {
		return st.flush(end)
	}
	if err := st.flush(false); err != nil {
		return err
	}
	if err := st.write(p); err != nil {
		return err
	}
	if end {
		st.complete()
	}
	return nil
}

// flush sends what is pending.
func (st *h3stream) flush(end bool) error {
	if len(st.pending) > 0 {
		if err := st.write(st.pending); err != nil {
			return err
		}
		st.pending = st.pending[:0]
	}
	if end {
		st.complete()
	}
	return nil
}

// write writes, as long as the client takes what the minimum rate demands, and for a call until its end. What tells the client that this has come
// has a moment of its own.
func (st *h3stream) write(p []byte) error {
	rate := st.limits.MinRate
	before := wire.Now()
	limited, limit := rate > 0, st.sendCredit
	if by := st.x.CallBy; by != 0 {
		if left := max(by-before, int64(wire.Tick)); !limited || left < limit {
			limited, limit = true, left
		}
	}
	if limited {
		_ = st.str.SetWriteDeadline(time.Now().Add(time.Duration(limit))) // never fails
	}
	n, err := st.str.Write(p)
	if rate > 0 {
		st.sendCredit = min(st.sendCredit-(wire.Now()-before)+int64(n)*int64(time.Second)/rate, st.sendCreditMax())
	}
	st.mu.Lock()
	st.out += int64(n)
	st.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		st.torn = true
		if st.x.CallOver() {
			return proxy.ErrCallTimeout
		}
		return errSlowReader
	}
	return errStreamGone
}

// isTimeout reports whether a deadline of ours has passed. A connection that has ended for its silence is something else.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// Interim passes an informational response on (RFC 9110 section 15.2), such as 103 Early Hints. There is no wait for a client that has
// no room for it.
func (st *h3stream) Interim(x *proxy.Exchange, status int, h *wire.Head) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.interim(status, h)
	return nil
}

func (st *h3stream) interim(status int, h *wire.Head) {
	if st.failed != nil || st.headOut {
		return
	}
	b := appendHead3(nil, status, h, -1)
	if st.str.TryWriteAll(b) == nil {
		st.out += int64(len(b))
	}
}
