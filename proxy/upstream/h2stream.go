package upstream

import (
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// h2stream is one request and its response on a connection of HTTP/2. It is the flow of the response's body.
type h2stream struct {
	c      *h2conn
	x      *proxy.Exchange
	gone   <-chan struct{} // closed when the exchange is canceled
	heard  chan struct{}   // something came for whoever waits for the response
	room   chan struct{}   // something came for whoever sends the request
	pumped chan struct{}   // closed when the pump has stopped; nil: there was none
	flowed bool            // the pump has read from the client
	held   bool            // the body waits for 100 Continue
	eof    bool            // the reader has seen the end

	patience int64 // nanoseconds from the request being sent until the response head has to be there

	// Guarded by c.mu.
	id          uint32
	reused      bool // it is not the connection's first stream
	isHead      bool // a request of HEAD
	sending     bool // the pump is at work
	drained     bool // all of the request's body was read
	sent        bool // the request's last frame was written
	waiting     bool // to send
	heads       []*h2head
	interims    int
	answered    bool // a frame of an answer was there
	headed      bool // the final head was there
	bodyless    bool // and says that no body follows
	ended       bool // all of the response was there
	err         error
	unprocessed bool // the origin says that it has not looked at the request
	stopped     bool // nothing more of the request is to be sent
	body        wire.Intake
	trailers    *h2head
	declared    int64
	arrived     int64
	recvWindow  frames.RecvWindow
	window      int64 // its size
	sendWindow  frames.SendWindow
}

func newH2Stream(c *h2conn, x *proxy.Exchange) *h2stream {
	return &h2stream{c: c, x: x, gone: x.Done(), heard: make(chan struct{}, 1), room: make(chan struct{}, 1), declared: -1,
		recvWindow: frames.NewRecvWindow(h2FirstWindow), window: h2FirstWindow, isHead: x.Request.Method == "HEAD"}
}

// fail ends the stream for whoever is at it. A response that was whole before stays so. c.mu is held.
func (st *h2stream) fail(why error, unprocessed bool) {
	if !st.ended && st.err == nil {
		st.err, st.unprocessed = why, unprocessed
	}
	st.stopped = true
	signal(st.heard)
	signal(st.room)
}

// stale reports that a connection that was used before has ended without a word about this request: the origin may have closed
// it while the request was on its way.
func (st *h2stream) stale() bool {
	var e *proxy.Error
	return st.reused && !st.answered && errors.As(st.err, &e) && e.Code == errClosed.Code
}

// roundTrip sends the exchange's request and waits until the response head is there. If it fails, the pump has stopped and the
// place on the connection is given back.
func (st *h2stream) roundTrip() (err error) {
	returned := false
	defer func() {
		if !returned {
			st.abort(proxy.ErrInternal)
			st.c.endpoint.inFlight.Add(-1) // the edge catches the panic
		}
	}()
	x := st.x
	st.patience = int64(st.c.endpoint.options.Try)
	if x.Deadline != 0 {
		st.patience = min(st.patience, max(x.Deadline-x.UpstreamAt, 1))
	}
	if err = st.open(); err == nil {
		err = st.awaitHead()
	}
	returned = true
	if err != nil {
		return st.abort(st.late(err))
	}
	return nil
}

// late says whose time is over, and tells the reset of a call whose time is over from any other, as gRPC's own clients do: a server that
// knows the deadline cancels at the same moment as the client gives up.
func (st *h2stream) late(err error) error {
	x := st.x
	if err == errTimeout {
		return timeout(x)
	}
	var reset http2.StreamError
	if !x.Request.GRPC() || !errors.As(err, &reset) || reset.Code != http2.ErrCodeCancel {
		return err
	}
	if x.CallOver() {
		return proxy.ErrCallTimeout.With(err)
	}
	// The server may have been given less time than the call has, by a policy.
	if limit, ok := x.Request.GRPCTimeout(); ok && time.Duration(wire.Now()-x.UpstreamAt) >= limit {
		return errTimeout.With(err)
	}
	return err
}

// open sends the head, and the body if it lies in memory and the windows have room for it.
func (st *h2stream) open() error {
	pump, last, err := st.openNow()
	if last {
		st.c.pool.leave(st.c)
	}
	if pump {
		if st.held = st.x.Request.ExpectContinue && st.x.Request.Body.Flowing(); !st.held {
			st.startPump()
		}
	}
	return err
}

// openNow is what of open needs the lock. pump: there is more to send; last: the connection takes no more streams.
func (st *h2stream) openNow() (pump, last bool, err error) {
	c, body := st.c, &st.x.Request.Body
	c.mu.Lock()
	defer c.mu.Unlock()
	// Requests that are given up make room for others, so that their heads would pile up before an origin that reads nothing.
	if c.leaving || c.nextID > frames.LastID-2 || len(c.out) > h2OutOver {
		why := errNotTaken.With(errH2Leaving)
		st.fail(why, true)
		return false, true, why
	}
	if len(c.streams) == 0 {
		c.heard = wire.Now()
	}
	st.id, st.reused = c.nextID, c.nextID > 1
	c.nextID += 2
	st.sendWindow = frames.SendWindow(c.peerWindow)
	c.streams[st.id] = st
	empty := !body.Flowing() && len(body.Prefix()) == 0 && st.x.Request.Trailers.Len() == 0
	st.sent = empty
	c.encodeRequest(st.x)
	c.writeHead(st.id, empty)
	p := body.Prefix()
	if !empty && !body.Flowing() && st.x.Request.Trailers.Len() == 0 && int64(len(p)) <= int64(min(st.sendWindow, c.sendWindow)) &&
		len(p) <= h2OutMax-len(c.out) {
		st.sendNow(p, true)
	}
	return !st.sent, c.nextID > frames.LastID-2, nil
}

var errH2Leaving = errors.New("the connection takes no more requests")

// awaitHead waits for the final head, passing informational ones on.
func (st *h2stream) awaitHead() error {
	x := st.x
	by := int64(0) // when the head has to be there
	continueBy := wire.Now() + int64(continueWait)
	for {
		st.c.mu.Lock()
		var h *h2head
		if len(st.heads) > 0 {
			h, st.heads = st.heads[0], st.heads[1:]
		}
		err, sending := st.err, st.sending
		st.c.mu.Unlock()
		switch {
		case h != nil && h.status >= 200:
			return st.setResponse(h)
		case h != nil:
			if err := st.interim(h); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if !sending && !st.held && by == 0 {
			by = wire.Now() + st.patience
			if x.Deadline != 0 && x.Request.GRPC() {
				by = min(by, x.Deadline)
			}
		}
		until := by
		if sending {
			until = 0 // while the body is on its way the origin may be silent, but
			if x.Request.GRPC() {
				until = x.Deadline // a call's time counts from its beginning
			}
		}
		if st.held {
			until = within(x, continueBy)
		}
		if err := st.wait(st.heard, until); err != nil {
			if err == errTimeout && st.held && !x.CallOver() {
				st.held = false // RFC 9110 section 10.1.1: a client must not wait for ever
				st.startPump()
				continue
			}
			return err
		}
	}
}

// wait waits for ch, at most until a moment; 0: for ever. It returns errTimeout, or why the exchange was canceled.
func (st *h2stream) wait(ch chan struct{}, until int64) error {
	var expired <-chan time.Time
	if until != 0 {
		t := time.NewTimer(time.Duration(until - wire.Now()))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-ch:
		return nil
	case <-st.gone:
		return st.x.Canceled()
	case <-expired:
		return errTimeout
	}
}

// interim handles a 1xx response: 100 starts the body that waits for it; others are the client's business.
func (st *h2stream) interim(h *h2head) error {
	if h.status == 100 {
		if st.held {
			st.held = false
			st.startPump()
		}
		return nil
	}
	wire.DropHopByHop(&h.message, &h.fields)
	return st.x.Edge.Interim(st.x, h.status, &h.fields)
}

// setResponse hands the response over to the exchange.
func (st *h2stream) setResponse(h *h2head) error {
	x, resp := st.x, &st.x.Response
	x.HeadAt = wire.Now()
	wire.DropHopByHop(&h.message, &h.fields)
	resp.Head = h.fields
	resp.Status, resp.Reason, resp.Via = h.status, nil, "2.0 sluice"
	st.c.mu.Lock()
	whole := st.ended && st.arrived == 0 && st.trailers == nil
	drained := st.drained
	st.c.mu.Unlock()
	size := h.message.ContentLength
	switch {
	case st.isHead || h.status == 304:
		resp.Body.SetAbsentFlow(st, size)
	case h.status == 204:
		resp.Body.SetAbsentFlow(st, -1)
	case whole:
		// Nobody needs the rest of the request. A response that is its head alone goes on as such: for gRPC, a status in a head
		// that ends the stream is another thing than one in a head that does not.
		if st.flowed && !drained {
			x.Request.Body.Interrupt()
		}
		resp.Body.SetWhole(nil)
		return st.Close()
	default:
		resp.Body.SetFlow(nil, st, size)
	}
	return nil
}

// takeHead takes a block that has arrived whole. c.mu is held.
func (st *h2stream) takeHead(b *h2block) error {
	st.answered = true
	h := b.head
	switch {
	case st.headed:
		if !b.ends {
			return frames.Malformed(st.id)
		}
		st.trailers = h
		return st.endResponse()
	case h.status < 200:
		// 101 is no part of HTTP/2 (section 8.6).
		if st.interims++; st.interims > interimMax || b.ends || h.status == 101 {
			return frames.Malformed(st.id)
		}
	default:
		st.headed = true
		st.bodyless = st.isHead || h.status == 204 || h.status == 304
		st.declared = h.message.ContentLength
	}
	st.heads = append(st.heads, h)
	signal(st.heard)
	if b.ends {
		return st.endResponse()
	}
	return nil
}

// endResponse notes that all of the response is there. c.mu is held.
func (st *h2stream) endResponse() error {
	if !st.bodyless && st.declared >= 0 && st.arrived != st.declared {
		return frames.Malformed(st.id)
	}
	st.ended = true
	signal(st.heard)
	return nil
}

// Read is the response body's flow.
func (st *h2stream) Read(p []byte) (int, error) {
	until := int64(0)
	for {
		n, sending, err := st.readNow(p)
		if n > 0 || err != nil {
			return n, err
		}
		if sending {
			until = 0
		} else if until == 0 {
			until = wire.Now() + int64(st.c.endpoint.options.Idle)
		}
		if err := st.wait(st.heard, within(st.x, until)); err != nil {
			err = st.late(err)
			st.c.refuse(st.id, http2.ErrCodeCancel, proxy.AsError(err))
			return 0, err
		}
	}
}

// readNow reads what is there. Nothing, and no error: it is to be waited for. sending: the request is still being sent.
func (st *h2stream) readNow(p []byte) (n int, sending bool, err error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !st.ended && st.err == nil && st.x.CallOver(): // what has come whole is the answer, however late it is read
		c.reset(st.id, http2.ErrCodeCancel, proxy.ErrCallTimeout)
		return 0, false, proxy.ErrCallTimeout
	case st.body.Len() > 0:
		n = st.body.Take(p)
		wider := min(int64(n), h2StreamWindow-st.window)
		st.window += wider
		st.giveBack(int64(n) + wider)
		return n, false, nil
	case st.ended:
		st.eof = true
		if trailers := st.trailers; trailers != nil {
			st.trailers = nil
			for name, value := range trailers.fields.All() {
				st.x.Response.Trailers.Add(string(name), value)
			}
		}
		return 0, false, io.EOF
	case st.err != nil:
		return 0, false, st.late(st.err)
	}
	return 0, st.sending, nil
}

// giveBack lets the origin send n bytes more. Not each read is worth a frame. c.mu is held.
func (st *h2stream) giveBack(n int64) {
	st.recvWindow.Use(n)
	if st.ended || st.c.streams[st.id] != st {
		return
	}
	if more := st.recvWindow.GiveBack(st.window/4, 0); more > 0 {
		_ = st.c.framer.WriteWindowUpdate(st.id, more)
	}
}

// Buffered is how much of the body is there already; at its end 1 if Read can say so without waiting.
func (st *h2stream) Buffered() int {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if n := st.body.Len(); n > 0 || !st.ended || st.eof {
		return n
	}
	return 1
}

// Close ends the response wherever it stands. The edge has stopped reads of the request body before.
func (st *h2stream) Close() error {
	st.c.mu.Lock()
	nearly := st.ended && st.drained && !st.sent && !st.stopped
	st.c.mu.Unlock()
	if nearly && st.pumped != nil {
		// An origin that answers at once may overtake the goroutine that writes the last bytes to it.
		t := time.NewTimer(lastBytes)
		select {
		case <-st.pumped:
		case <-st.gone:
		case <-t.C:
		}
		t.Stop()
	}
	st.end(errUnread)
	st.c.endpoint.inFlight.Add(-1)
	return nil
}

var errUnread = &proxy.Error{Status: 502, Code: "upstream_closed", Detail: "The response was given up.", Side: proxy.ByGateway}

// end takes the stream off its connection, at once, joins the pump and gives the place back.
func (st *h2stream) end(why error) {
	st.takeOff(why)
	if st.pumped != nil {
		<-st.pumped
	}
	st.c.pool.release(st.c)
}

// takeOff is what of end needs the lock.
func (st *h2stream) takeOff(why error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] == st {
		if !st.ended || !st.sent {
			_ = c.framer.WriteRSTStream(st.id, http2.ErrCodeCancel)
		}
		delete(c.streams, st.id)
	}
	st.fail(why, false)
	st.body.Clear()
}

// abort ends a failed round trip and returns the error that counts.
func (st *h2stream) abort(err error) error {
	if st.flowed {
		st.x.Request.Body.Interrupt()
	}
	st.end(err)
	st.x.Response.Head.Reset()
	return err
}
