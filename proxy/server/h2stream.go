package server

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// h2stream is one stream: a request and its response. It is the exchange's edge and the flow of its request body. What the
// connection's goroutine and the stream's own share is guarded by the connection's mu.
type h2stream struct {
	incoming
	c  *h2
	id uint32

	// Guarded by c.mu.
	x          *proxy.Exchange // nil when it has finished
	changed    sync.Cond       // anything below
	failed     error           // the stream was reset, by either side, for this reason
	ended      bool            // all of the request is there
	closed     bool            // nobody reads the body any more
	trailers   bool
	expecting  bool        // 100 Continue was not sent yet
	headOut    bool        // the response has begun: no interim response any more
	waiting    bool        // to send
	unheard    *time.Timer // the response is out, and the request still comes: see complete
	arrived    int64       // of the body
	taken      int64       // by its reader
	body       wire.Intake
	recvWindow frames.RecvWindow
	sendWindow frames.SendWindow
	recvCredit int64 // nanoseconds that the client may still keep us waiting for the body
	sendCredit int64 // the same for taking the response
	out        int64 // bytes sent

	began, callBy int64 // as in the exchange of a call whose client says how long it waits; 0 if it does not
}

// drop ends the stream for whoever is at it, because of why.
func (st *h2stream) drop(why *proxy.Error) {
	if st.failed == nil {
		st.failed = why
	}
	if st.x != nil {
		st.x.Cancel(why)
	}
	st.changed.Broadcast()
}

// wait waits for a change, at most for as long as credit lasts and the call does, and takes what it took off the credit. Spurious wake-ups are
// normal.
func (st *h2stream) wait(credit *int64) {
	before := wire.Now()
	limited, limit := st.limits.MinRate > 0, *credit
	if by := st.x.CallBy; by != 0 {
		if left := max(by-before, 0); !limited || left < limit {
			limited, limit = true, left
		}
	}
	if !limited {
		st.changed.Wait()
		return
	}
	timer := time.AfterFunc(time.Duration(limit), func() {
		defer caught()
		st.c.mu.Lock()
		defer st.c.mu.Unlock()
		st.changed.Broadcast()
	})
	st.changed.Wait()
	timer.Stop()
	*credit -= wire.Now() - before
}

// run serves the request.
func (st *h2stream) run() {
	defer caught()
	defer st.c.streamDone()
	x := st.x
	defer st.recover(x)
	settings := st.c.listener.settings.Load()
	x.Edge = st
	from := &st.c.from
	x.Client = from.client(settings)
	err := st.fillRequest(x, settings, version2, from.scheme(), from.peerText, st.fillBody)
	if st.refusal != nil {
		err = st.refusal // what else is wrong does not matter; the log says as much as is known
	}
	if err == nil {
		if x.BeginCall(); x.CallBy != 0 {
			st.c.mu.Lock()
			st.began, st.callBy = x.Started, x.CallBy
			st.c.mu.Unlock()
		}
		st.c.server.serve(x, st.c.listener, from.made)
	} else {
		st.c.server.refuse(x, err)
	}
	if resets(err) {
		x.Aborted = true
		st.reset(http2.ErrCodeProtocol)
	} else {
		settings.addHSTS(x, from.scheme())
		settings.advertise(x)
		st.respond(x)
	}
	wasted := wasted(x)
	st.finish(x)
	if wasted {
		st.c.overdo()
	}
}

// recover catches a panic outside the chain, which has its own recover, and still ends the exchange. No other stream notices.
func (st *h2stream) recover(x *proxy.Exchange) {
	p := recover()
	if p == nil {
		return
	}
	proxy.Caught(p)
	st.reset(http2.ErrCodeInternal)
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
	}()
	st.c.mu.Lock()
	over := st.x == nil
	st.c.mu.Unlock()
	if !over {
		st.finish(x)
	}
}

// finish ends the exchange in the same order as h1's finish: nobody cancels it or reads its request any more, the upstream's use
// of it has ended, then the finishers run, then memory goes back.
func (st *h2stream) finish(x *proxy.Exchange) {
	st.c.mu.Lock()
	st.x = nil
	st.closeBody()
	st.c.mu.Unlock()
	_ = x.Response.Body.Close() // whatever it says, the response is over
	x.Wait()
	st.c.mu.Lock()
	x.BytesIn, x.BytesOut = st.taken, st.out
	st.c.mu.Unlock()
	x.Finish()
	x.Release()
}

// reset ends the stream towards the client.
func (st *h2stream) reset(code http2.ErrCode) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] != st {
		return
	}
	_ = c.framer.WriteRSTStream(st.id, code)
	c.ended.reset(st.id)
	if st.failed == nil {
		st.failed = errBodyGone
	}
	c.forget(st)
	st.changed.Broadcast()
}

// complete says that the response has been sent. A client that is still sending its request may send what its window has room
// for, and is told after unheardFor that nobody needs the rest (RFC 9113 section 8.1). A reset that comes together with the
// response makes curl forget the response; a client that has seen it before stops by itself.
func (st *h2stream) complete() {
	if st.ended {
		st.c.forget(st)
		return
	}
	st.closeBody()
	st.unheard = time.AfterFunc(unheardFor, st.endUnheard)
}

func (st *h2stream) endUnheard() {
	defer caught()
	st.reset(http2.ErrCodeNo)
}

// unheardFor is how long a client may go on with a request that was answered already.
const unheardFor = time.Second

// errStreamGone says that the client does not want the response any more.
var errStreamGone = errors.New("the stream was reset")

// respond writes the response. One that is cut short ends in a reset, so that it never looks whole.
func (st *h2stream) respond(x *proxy.Exchange) {
	err := sendResponse(st, x)
	if err == nil {
		return
	}
	x.Aborted = true
	if x.ErrCause == nil {
		x.ErrCause = err
	}
	if st.headOut && endCall(st, x, err) {
		return
	}
	code := http2.ErrCodeInternal
	switch {
	case err == errSlowReader:
		code = http2.ErrCodeEnhanceYourCalm
	case x.ClientGRPC() == proxy.PlainGRPC:
		code = codeForCall(err)
	}
	st.reset(code)
}

// codeForCall passes the reasons on for which a server of gRPC resets a call that it has begun to answer: clients make statuses of
// them. That it was not processed is no longer true.
func codeForCall(err error) http2.ErrCode {
	if isCallTimeout(err) {
		return http2.ErrCodeCancel
	}
	var reset http2.StreamError
	if errors.As(err, &reset) {
		switch reset.Code {
		case http2.ErrCodeCancel, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeInadequateSecurity:
			return reset.Code
		}
	}
	return http2.ErrCodeInternal
}

// pieceSize is how large a piece of the body is worth having: as large as the windows let it go out soon. A client that asks for much
// and lets nothing be sent costs the smallest buffer for each stream, which also finds out whether the body has ended.
func (st *h2stream) pieceSize() int {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	// All streams may think of the connection's window at once.
	switch room := min(st.sendWindow, c.sendWindow/frames.SendWindow(max(len(c.streams), 1))); {
	case room >= wire.Large:
		return wire.Large
	case room >= wire.Medium:
		return wire.Medium
	}
	return wire.Small
}

// sendHead sends a head, or with status 0 trailers.
func (st *h2stream) sendHead(status int, h *wire.Head, length int64, end bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		room := outMax - len(c.out)
		if err := st.sendable(room > roomMin); err != nil {
			return err
		} else if room > roomMin {
			break
		}
	}
	st.headOut = true
	st.out += c.writeHead(st.id, status, h, length, end)
	if end {
		st.complete()
	}
	return nil
}

// send sends bytes of the body as the client's windows allow; end says that nothing follows.
func (st *h2stream) send(p []byte, end bool) error {
	c := st.c
	if len(p) == 0 && !end {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		room := outMax - len(c.out) - frames.Head
		n := frames.Share(p, st.sendWindow, c.sendWindow, room)
		ready := room > roomMin && (n > 0 || len(p) == 0)
		if err := st.sendable(ready); err != nil {
			return err
		} else if !ready {
			continue
		}
		_ = c.framer.WriteData(st.id, end && n == len(p), p[:n])
		st.sendWindow.Sent(n)
		c.sendWindow.Sent(n)
		st.out += frames.Head + int64(n)
		c.flood.body(n, n == len(p))
		if rate := st.limits.MinRate; rate > 0 {
			st.sendCredit = min(st.sendCredit+int64(n)*int64(time.Second)/rate, st.sendCreditMax())
		}
		if p = p[n:]; len(p) == 0 {
			if end {
				st.complete()
			}
			return nil
		}
	}
}

// sendable waits once, if it has to, for what makes sending possible.
func (st *h2stream) sendable(ready bool) error {
	switch {
	case st.failed != nil || st.c.broken || st.c.streams[st.id] != st:
		return errStreamGone
	case ready:
		return nil
	case st.limits.MinRate > 0 && st.sendCredit <= 0:
		return errSlowReader
	case st.x.CallOver():
		return proxy.ErrCallTimeout
	}
	st.waiting = true
	st.wait(&st.sendCredit)
	st.waiting = false
	return nil
}

// Interim passes an informational response on (RFC 9110 section 15.2), such as 103 Early Hints.
func (st *h2stream) Interim(x *proxy.Exchange, status int, h *wire.Head) error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.failed != nil || st.headOut || st.c.streams[st.id] != st {
		return nil
	}
	st.out += st.c.writeHead(st.id, status, h, -1, false)
	return nil
}
