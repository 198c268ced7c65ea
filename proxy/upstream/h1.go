package upstream

import (
	"errors"
	"io"
	"net"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// conn is one HTTP/1.1 connection to an endpoint. It belongs to one exchange at a time; while a request body is on
// its way a second goroutine, the pump, writes to it.
type conn struct {
	*wire.Conn
	endpoint *endpoint
	header   string // of PROXY, which the connection began with; empty: none
	in       wire.Reader
	message  wire.Message
	recall   wire.Recall
	body     wire.Body
	pump     pump

	x         *proxy.Exchange
	served    int   // exchanges that ended well
	written   int   // bytes of the current request written by roundTrip itself
	waitedFor bool  // it took time to get this connection for the current exchange
	answered  bool  // a byte of an answer to the current request was there
	patience  int64 // nanoseconds from the request being sent until the response head has to be there
	keep      bool  // the current response allows another request
	cleared   bool  // the last response had a body that came as a whole, and idleSince is exact
	idleSince int64 // wire.Now, or up to a tick before it
}

func newConn(nc net.Conn, e *endpoint) *conn {
	c := &conn{Conn: wire.NewConn(nc, nil), endpoint: e, waitedFor: true}
	c.in.Init(c.Conn, wire.Medium)
	c.message.UseRecall(&c.recall)
	c.pump.init(c)
	return c
}

func (c *conn) close() {
	c.endpoint.options.Sweeper.Remove(c.Conn)
	c.in.Close()
	_ = c.Conn.Close() // nothing is left that a failure could lose
}

// interimMax bounds how many informational responses may come before the final one.
const interimMax = 32

// roundTrip sends the exchange's request and reads until the response head is there. If it fails, the pump has
// stopped and the connection must be discarded. now is the time.
func (c *conn) roundTrip(x *proxy.Exchange, now int64) error {
	c.x, c.written, c.answered, c.keep = x, 0, false, false
	trusted := c.served > 0 && c.trusted(x)
	c.cleared = false
	c.pump.used, c.pump.held, c.pump.answered = false, false, false
	if !x.CancelKicks(c.Conn) {
		return x.Canceled()
	}
	err := c.exchangeHeads(x, now, trusted)
	if err == nil {
		return nil
	}
	x.CancelKicks(nil)
	if c.pump.used {
		err = c.pump.abort(err)
	}
	x.Response.Head.Reset()
	return err
}

// exchangeHeads sends the request and reads the response head. trusted: the connection need not be looked at before.
func (c *conn) exchangeHeads(x *proxy.Exchange, now int64, trusted bool) error {
	out := x.Out()
	head := appendRequest(out[:0], x, c.endpoint)
	body := &x.Request.Body
	whole := !body.Flowing() && len(head)+len(body.Prefix()) <= len(out)
	c.setPatience(x, now)
	var err error
	switch {
	case whole:
		head = append(head, body.Prefix()...)
		c.Arm(now + c.patience)
		c.WatchClose(now + int64(probeAfter))
		c.written, err = c.Converse(head, &c.in, c.served > 0 && !trusted)
		c.WatchClose(0)
	case x.Request.ExpectContinue && body.Flowing():
		err = c.sendExpecting(x, head)
	default:
		// What is there of the body goes along.
		if p := body.Prefix(); int64(len(p)) < body.Size() && len(head)+len(p) <= len(out) {
			head = append(head, p...)
			body.SkipPrefix()
		}
		c.ArmWrite(now + int64(c.endpoint.options.Idle))
		c.written, err = c.Write(head)
		c.ArmWrite(0)
		if err == nil {
			c.pump.start(x)
			err = c.fill()
		}
	}
	if err == nil {
		c.answered = true
		err = c.readHead(x)
	}
	if err != nil {
		return c.failure(x, err)
	}
	return c.setResponse(x)
}

// setPatience is the try's timeout, or what is left of the exchange's. Both count from the request having been sent: an
// upload may take its time.
func (c *conn) setPatience(x *proxy.Exchange, now int64) {
	c.patience = int64(c.endpoint.options.Try)
	if x.Deadline != 0 {
		c.patience = min(c.patience, max(x.Deadline-now, 1))
	}
}

// fill waits for more of the response.
func (c *conn) fill() error {
	if !c.pump.used {
		ok, err := c.in.FillMore(c.headMax())
		if !ok {
			return wire.ErrHeadTooLarge
		}
		return err
	}
	c.pump.waiting(true)
	ok, err := c.in.FillMore(c.headMax())
	c.pump.waiting(false)
	if !ok {
		return wire.ErrHeadTooLarge
	}
	return err
}

func (c *conn) headMax() int { return c.endpoint.options.Limits.HeadBytes + 1 }

// readHead reads up to the final response head, passing informational ones on.
func (c *conn) readHead(x *proxy.Exchange) error {
	m, h := &c.message, &x.Response.Head
	for interims := 0; ; interims++ {
		m.Reset()
		h.Reset()
		for {
			done, err := wire.ScanResponse(c.in.Bytes(), &c.endpoint.options.Limits, m, h)
			if err != nil {
				return err
			}
			if done {
				break
			}
			if err := c.fill(); err != nil {
				return err
			}
		}
		if m.Status >= 200 || m.Status == 101 {
			return nil
		}
		if interims == interimMax {
			return errTooManyInterims
		}
		if err := c.interim(x); err != nil {
			return err
		}
		c.in.Skip(m.Bytes())
		if c.in.Buffered() == 0 {
			if err := c.fill(); err != nil {
				return err
			}
		}
	}
}

var errTooManyInterims = errors.New("too many informational responses")

// interim handles a 1xx response: 100 starts the body that waits for it; others are the client's business.
func (c *conn) interim(x *proxy.Exchange) error {
	if c.message.Status == 100 {
		if c.pump.held {
			c.pump.start(x)
		}
		return nil
	}
	wire.DropHopByHop(&c.message, &x.Response.Head)
	return x.Edge.Interim(x, c.message.Status, &x.Response.Head)
}

// failure says what went wrong in the words of the gateway.
func (c *conn) failure(x *proxy.Exchange, err error) error {
	var known *proxy.Error
	if errors.As(err, &known) {
		return err
	}
	switch c.Kicked() {
	case wire.Canceled:
		if err := c.pump.readError(); err != nil {
			return err
		}
		if why := x.Canceled(); why != nil {
			return why
		}
		return proxy.ErrClientGone
	case wire.Expired:
		return timeout(x)
	}
	var refusal *wire.Refusal
	if errors.As(err, &refusal) || err == errTooManyInterims {
		return errResponse.With(err)
	}
	if err == io.EOF && !c.answered {
		err = io.ErrUnexpectedEOF
	}
	return errClosed.With(err)
}

// setResponse hands the response over to the exchange. A body that is already whole leaves the connection free.
func (c *conn) setResponse(x *proxy.Exchange) error {
	x.HeadAt = wire.Now()
	m, resp := &c.message, &x.Response
	resp.Status, resp.Reason, resp.Via = m.Status, m.Reason, versions[m.Minor]
	if m.Status == 101 {
		return c.setTunnel(x)
	}
	wire.DropHopByHop(m, &resp.Head)
	// A body that was announced and never wanted leaves the origin waiting for it.
	c.keep = !m.Close && (m.Minor == 1 || m.KeepAlive) && !c.pump.held
	if c.pump.used {
		c.pump.headSeen()
	}
	framing, size := responseFraming(x.Request.Method, m)
	if framing == wire.UntilClose {
		c.keep, resp.OpenEnded = false, true
	}
	c.in.Pin(m.Bytes())
	if framing == wire.NoBody {
		resp.Body.SetAbsent(size)
		if c.releaseEarly(x) {
			return nil
		}
		resp.Body.SetAbsentFlow(c, size) // only to be closed
		c.body.Init(&c.in, wire.NoBody, 0, nil, nil)
		return nil
	}
	var prefix []byte
	if framing == wire.Length {
		prefix = c.in.Bytes()
		if int64(len(prefix)) >= size {
			prefix = prefix[:size]
			c.in.Skip(int(size))
			resp.Body.SetWhole(prefix)
			c.cleared = true
			if c.releaseEarly(x) {
				return nil
			}
			c.cleared = false
			c.body.Init(&c.in, wire.NoBody, 0, nil, nil)
			resp.Body.SetFlow(prefix, c, size)
			return nil
		}
		c.in.Skip(len(prefix))
		c.body.Init(&c.in, wire.Length, size-int64(len(prefix)), nil, nil)
	} else {
		size = -1
		c.body.Init(&c.in, framing, 0, &resp.Trailers, &c.endpoint.options.Limits)
	}
	if !c.pump.used {
		c.Disarm()
	}
	resp.Body.SetFlow(prefix, c, size)
	return nil
}

// versions are the elements of Via for what was received with each version of HTTP/1 (RFC 9110 section 7.6.3).
var versions = [...]string{"1.0 sluice", "1.1 sluice"}

// responseFraming follows RFC 9112 section 6.3. size is what the head announces, -1 for nothing.
func responseFraming(method string, m *wire.Message) (wire.Framing, int64) {
	switch {
	case method == "HEAD", m.Status == 304:
		return wire.NoBody, m.ContentLength
	case m.Status == 204:
		return wire.NoBody, -1
	case m.Chunked:
		return wire.Chunked, -1
	case m.ContentLength >= 0:
		return wire.Length, m.ContentLength
	}
	return wire.UntilClose, -1
}

// releaseEarly gives the connection back before the client has seen the response, which is whole in the buffer that
// the exchange now holds. It returns false if something is still to be waited for.
func (c *conn) releaseEarly(x *proxy.Exchange) bool {
	if c.pump.used {
		return false
	}
	if c.in.Buffered() > 0 {
		c.keep = false // bytes that nobody asked for
		return false
	}
	buf, ok := c.in.Detach()
	if !ok {
		return false
	}
	x.Hold(buf)
	c.release(x, x.HeadAt)
	return true
}

// release ends the exchange's use of the connection. now may be the sweeper's.
func (c *conn) release(x *proxy.Exchange, now int64) {
	x.CancelKicks(nil)
	c.x = nil
	e := c.endpoint
	e.inFlight.Add(-1)
	if !c.Disarm() || !c.keep {
		e.pool.discard(c)
		return
	}
	c.served++
	c.idleSince = now
	c.message.Reset() // neither it nor the body may keep the memory of x
	c.body.Forget()
	e.pool.put(c)
}

// Read is the response body's flow.
func (c *conn) Read(p []byte) (int, error) {
	if c.x.CallOver() && !c.body.Done() {
		return 0, proxy.ErrCallTimeout
	}
	n, err := c.readBody(p)
	if err != nil && err != io.EOF {
		err = c.failure(c.x, err)
	}
	return n, err
}

func (c *conn) readBody(p []byte) (int, error) {
	if c.body.Buffered() > 0 {
		return c.body.Read(p)
	}
	if c.pump.used {
		c.pump.waiting(true)
		defer c.pump.waiting(false)
	} else {
		c.Arm(within(c.x, wire.Now()+int64(c.endpoint.options.Idle)))
		defer c.Disarm()
	}
	return c.body.Read(p)
}

// Buffered is how much of the body is there already.
func (c *conn) Buffered() int { return c.body.Buffered() }

// Close ends the response wherever it stands. The edge has stopped reads of the request body before.
func (c *conn) Close() error {
	x := c.x
	if !c.body.Done() {
		c.keep = false
	}
	if c.pump.used && !c.pump.finish() {
		c.keep = false
	}
	c.in.Unpin()
	if c.in.Buffered() > 0 {
		c.keep = false
	}
	c.release(x, c.endpoint.options.Sweeper.Now())
	return nil
}

// appendRequest writes the request head. Framing derives from the body alone.
func appendRequest(dst []byte, x *proxy.Exchange, e *endpoint) []byte {
	r := &x.Request
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	if len(r.Path) > 0 && r.Path[0] == '/' {
		dst = append(dst, e.target.Base...)
	}
	dst = x.AppendURI(dst)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	switch {
	case e.host != "":
		dst = append(dst, e.host...)
	case len(r.Host) > 0:
		dst = append(dst, r.Host...)
	default:
		// A client of HTTP/1.0 may name no host; to an origin of HTTP/1.1 an empty one is a bad request.
		dst = append(dst, e.target.authority()...)
	}
	dst = append(dst, '\r', '\n')
	dst = r.Head.AppendTo(dst)
	size := r.Body.Size()
	switch {
	case size < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case size > 0 || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH":
		dst = append(dst, "Content-Length: "...)
		dst = wire.AppendUint(dst, uint64(size))
		dst = append(dst, '\r', '\n')
	}
	if r.ExpectContinue && r.Body.Flowing() {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if r.Upgrade != "" {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, r.Upgrade...)
		dst = append(dst, '\r', '\n')
	}
	return append(dst, '\r', '\n')
}
