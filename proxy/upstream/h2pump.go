package upstream

import (
	"io"

	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// startPump sends the request body in a goroutine of its own, while the exchange's reads the response: an origin may answer, and
// even finish, before it has seen the whole request. At most one buffer of the body is in memory.
func (st *h2stream) startPump() {
	st.flowed = st.x.Request.Body.Flowing()
	st.pumped = make(chan struct{})
	st.c.mu.Lock()
	st.sending = true
	st.c.mu.Unlock()
	go st.pump()
}

func (st *h2stream) pump() {
	defer close(st.pumped)
	var err error = errPanicked
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
		st.pumpStopped(err)
	}()
	err = st.sendBody()
}

// pumpStopped says that nothing more will be sent. A body that broke off resets the stream: the origin must not take it for
// whole.
func (st *h2stream) pumpStopped(err error) {
	if broken, ok := err.(*bodyError); ok {
		err = broken.error
	}
	if err != nil && err != errStopped {
		st.c.refuse(st.id, http2.ErrCodeCancel, proxy.AsError(err))
	}
	st.c.mu.Lock()
	st.sending = false
	signal(st.heard) // from now on the origin's silence is limited
	st.c.mu.Unlock()
}

// sendBody returns nil when the whole body and its end were written, errStopped when nobody wants it any more, else why it broke
// off.
func (st *h2stream) sendBody() error {
	x := st.x
	body := &x.Request.Body
	buf := wire.GetBuf(frames.Max)
	defer buf.Free()
	for left := body.Left(); left != 0; {
		n, err := body.Read(buf.B)
		if err != nil && err != io.EOF {
			return &bodyError{err}
		}
		if err == io.EOF && left > int64(n) {
			return &bodyError{proxy.ErrBadBody.With(io.ErrUnexpectedEOF)}
		}
		left -= int64(n) // below 0 from the start if the size is not known
		if left == 0 || err == io.EOF {
			st.c.mu.Lock()
			st.drained = true
			st.c.mu.Unlock()
			return st.sendEnd(buf.B[:n], proxy.FinalTrailers(&x.Request.Trailers, x.Request.Decided))
		}
		if err := st.send(buf.B[:n], false); err != nil {
			return err
		}
	}
	return st.sendEnd(nil, proxy.FinalTrailers(&x.Request.Trailers, x.Request.Decided))
}

// sendEnd sends the last of the body, and the trailers.
func (st *h2stream) sendEnd(p []byte, trailers *wire.Head) error {
	if trailers.Len() == 0 {
		return st.send(p, true)
	}
	if err := st.send(p, false); err != nil {
		return err
	}
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.stopped {
		return errStopped
	}
	c.encoder.Begin()
	c.encodeFields(trailers)
	c.writeHead(st.id, true)
	st.sent = true
	return nil
}

// errStopped says that the origin does not want the rest of the request.
var errStopped = &proxy.Error{Status: 502, Code: "upstream_closed", Detail: "The origin stopped taking the request.", Side: proxy.ByUpstream}

// send sends bytes as the origin's windows allow; end says that nothing follows. An origin that opens no window for
// timeouts.idle has had its time.
func (st *h2stream) send(p []byte, end bool) error {
	if len(p) == 0 && !end {
		return nil
	}
	c := st.c
	until := wire.Now() + int64(c.endpoint.options.Idle)
	for {
		n, done, err := st.sendSome(p, end)
		if done || err != nil {
			return err
		}
		if n > 0 {
			p = p[n:]
			until = wire.Now() + int64(c.endpoint.options.Idle)
		}
		if err := st.wait(st.room, until); err != nil {
			return err
		}
	}
}

// sendSome sends as much as may be sent now, and returns how much that was and whether it was all. If not, room is to be waited for.
func (st *h2stream) sendSome(p []byte, end bool) (n int, done bool, err error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.stopped {
		return 0, false, errStopped
	}
	n = st.sendNow(p, end)
	done = n == len(p) && (st.sent || !end)
	st.waiting = !done
	return n, done, nil
}

// sendNow sends as much as may be sent now, and returns how much that was. c.mu is held.
func (st *h2stream) sendNow(p []byte, end bool) int {
	c, sent := st.c, 0
	st.waiting = false
	for {
		n := frames.Share(p, st.sendWindow, c.sendWindow, h2OutMax-len(c.out))
		if n == 0 && (len(p) > 0 || !end) {
			return sent
		}
		last := end && n == len(p)
		_ = c.framer.WriteData(st.id, last, p[:n])
		st.sendWindow.Sent(n)
		c.sendWindow.Sent(n)
		sent += n
		c.earn(n)
		if p = p[n:]; len(p) == 0 {
			st.sent = last
			return sent
		}
	}
}
