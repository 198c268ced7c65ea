package server

import (
	"io"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// respond writes the response and reports whether the connection may carry another request. last ends it in any case.
func (c *h1) respond(x *proxy.Exchange, last bool) bool {
	r := &x.Response
	c.settings.addHSTS(x, c.from.scheme())
	c.settings.advertise(x)
	whole := r.Body.Absent() || r.Body.Size() == int64(len(r.Body.Prefix()))
	certain := c.upload.responseBegins(whole)
	again := !last && certain && c.mayGoOn(x)
	if r.Tunnel != nil {
		c.tunnel(x)
		return false
	}
	out := x.Out()
	bodyless := x.Request.Method == "HEAD" || r.Status == 204 || r.Status == 304 || r.Body.Absent()
	size := r.Body.Size()
	chunked := !bodyless && size < 0 && c.message.Minor == 1 && x.Received.Proto != ""
	if !bodyless && size < 0 && !chunked {
		again = false // HTTP/1.0: the end of the connection ends the body
	}
	head := c.appendHead(out[:0], x, size, chunked, again)
	var err error
	switch {
	case bodyless:
		err = c.sendAt(x.HeadAt, head)
	case !r.Body.Flowing() && len(head)+len(r.Body.Prefix()) <= len(out):
		err = c.sendAt(x.HeadAt, append(head, r.Body.Prefix()...))
		r.Body.SkipPrefix()
	case chunked:
		err = c.sendChunked(x, head)
	default:
		err = c.sendSized(x, head, size)
	}
	if err == nil {
		return again
	}
	x.Aborted = true
	if c.Kicked() == wire.Expired && x.CallOver() {
		err = proxy.ErrCallTimeout.With(err)
	}
	if x.ErrCause == nil {
		x.ErrCause = err
	}
	if !chunked && size < 0 && !bodyless {
		c.Abort() // a plain close would look like the end of the body
	}
	c.headOut = false // there is nothing to linger for
	return false
}

// mayGoOn decides, before the head is written, whether the connection is to carry another request.
func (c *h1) mayGoOn(x *proxy.Exchange) bool {
	m := &c.message
	if m.Close || m.Minor == 0 && !m.KeepAlive || x.Canceled() != nil {
		return false
	}
	if c.leaving() {
		return false
	}
	most := c.limits.RequestsPerConnection
	return most == 0 || c.served+1 < most
}

// appendHead writes status line and fields. Framing derives from the body alone.
func (c *h1) appendHead(dst []byte, x *proxy.Exchange, size int64, chunked, again bool) []byte {
	r := &x.Response
	dst = append(dst, "HTTP/1.1 "...)
	dst = wire.AppendUint(dst, uint64(r.Status))
	dst = append(dst, ' ')
	if len(r.Reason) > 0 {
		dst = append(dst, r.Reason...)
	} else {
		dst = append(dst, proxy.StatusText(r.Status)...)
	}
	dst = append(dst, '\r', '\n')
	dst = r.Head.AppendTo(dst)
	switch {
	case chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case size >= 0 && r.Status != 204 && (r.Status != 304 || r.Body.Absent()):
		dst = append(dst, "Content-Length: "...)
		dst = wire.AppendUint(dst, uint64(size))
		dst = append(dst, '\r', '\n')
	}
	switch {
	case r.Tunnel != nil:
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, x.Request.Upgrade...)
		dst = append(dst, '\r', '\n')
	case !again:
		dst = append(dst, "Connection: close\r\n"...)
	case c.message.Minor == 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, '\r', '\n')
}

// send writes, as long as the client takes what the minimum rate demands. How long a client of TCP may take nothing does not
// depend on how much is sent; of others it is only known when they have taken all of it.
func (c *h1) send(p []byte) error { return c.sendAt(wire.Now(), p) }

// sendAt is send for a caller who knows the time.
func (c *h1) sendAt(now int64, p []byte) error {
	c.headOut = true
	n := c.Conn.TryWrite(p)
	c.out += int64(n)
	if n == len(p) {
		return nil
	}
	p = p[n:]
	rate := c.limits.MinRate
	until := int64(0)
	if rate > 0 {
		patience := c.slowRead
		if patience == 0 {
			patience = int64(c.limits.HeadTimeout) + int64(len(p))*int64(1e9)/rate
		}
		until = now + patience
	}
	if by := c.callBy(); by != 0 {
		by = max(by, now+int64(wire.Tick)) // what tells the client that the time is over has a moment of its own
		c.EndWrite(by)
		defer c.EndWrite(0)
		if until == 0 || by < until {
			until = by
		}
	}
	if until != 0 {
		c.ArmWrite(until)
	}
	n, err := c.Conn.Write(p)
	if until != 0 {
		c.ArmWrite(0)
	}
	c.out += int64(n)
	return err
}

// callBy is until when the current exchange has to be over because it is a call; 0: it is none whose time is limited.
func (c *h1) callBy() int64 {
	x := c.current.x.Load()
	if x == nil {
		return 0
	}
	return x.CallBy
}

// windowBytes is how coarsely a reader's progress can be seen: a receiver may open its window in steps of this size.
const windowBytes = 64 << 10

// readPatience is how long, in nanoseconds, a client may take nothing of a response, where step bytes are how coarsely its progress can be
// seen: a moment, and as long as a step takes at the minimum rate. 0: for ever, there is no such rate.
func readPatience(l *proxy.Limits, step int64) int64 {
	if l.MinRate <= 0 {
		return 0
	}
	return int64(l.HeadTimeout) + step*int64(time.Second)/l.MinRate
}

// setSlowRead tells the connection how slowly the client may read.
func (c *h1) setSlowRead() {
	rate := c.limits.MinRate
	if rate <= 0 {
		return
	}
	patience := readPatience(c.limits, windowBytes)
	if patience != c.slowRead && c.WriteRate(rate, time.Duration(patience)) {
		c.slowRead = patience
	}
}

// sendSized writes a body whose length was announced, or that ends with the connection (size -1).
func (c *h1) sendSized(x *proxy.Exchange, head []byte, size int64) error {
	b := &x.Response.Body
	prefix := b.Prefix()
	sent := int64(len(prefix))
	if sent == size || len(head)+len(prefix) > wire.Large {
		b.SkipPrefix()
		if sent == size && len(head)+len(prefix) <= cap(head) {
			return c.send(append(head, prefix...))
		}
		if err := c.send(head); err != nil {
			return err
		}
		if err := c.send(prefix); err != nil || sent == size {
			return err
		}
		head = nil
	}
	var buf *wire.Buf
	// What is all there goes out in pieces that stay in the processor's cache, and the client begins to read meanwhile. Under TLS records have
	// 16 KiB: larger pieces would make a client that does not read cost more, and that is all.
	there := size >= 0 && size <= wire.Bulk && int64(b.Buffered()) >= size-sent
	if (size < 0 || size-sent > wire.Large) && !there && c.Holds() {
		buf = wire.GetBuf(wire.Bulk)
	} else {
		buf = wire.GetBuf(wire.Large)
	}
	defer buf.Free()
	n := copy(buf.B, head)
	if head != nil {
		n += copy(buf.B[n:], prefix)
		b.SkipPrefix()
	}
	for {
		// What can be had without waiting goes out together.
		if n > 0 && (n == len(buf.B) || b.Buffered() == 0) {
			if err := c.send(buf.B[:n]); err != nil {
				return err
			}
			n = 0
		}
		k, err := b.Read(buf.B[n:])
		n += k
		if sent += int64(k); size >= 0 && sent > size {
			return errTooLong
		}
		if err == io.EOF || err == nil && sent == size {
			break
		}
		if err != nil {
			if n > 0 {
				_ = c.send(buf.B[:n]) // the body's error is what counts
			}
			return err
		}
	}
	if n > 0 {
		if err := c.send(buf.B[:n]); err != nil {
			return err
		}
	}
	if size >= 0 && sent != size {
		return io.ErrUnexpectedEOF
	}
	return nil
}

var errTooLong = &proxy.Error{Status: 502, Code: "body_too_long", Detail: "The response body is longer than announced.", Side: proxy.ByUpstream}

// sendChunked writes a body of unknown length. Each time nothing more can be had without waiting, what there is goes
// out as one chunk: an event stream's events are not held back, and a short body leaves in a single write.
func (c *h1) sendChunked(x *proxy.Exchange, head []byte) error {
	b := &x.Response.Body
	buf := wire.GetBuf(wire.Large)
	defer buf.Free()
	if len(head) > len(buf.B)/2 {
		if err := c.send(head); err != nil {
			return err
		}
		head = nil
	}
	n := copy(buf.B, head)
	if n > 0 && b.Buffered() == 0 {
		if err := c.send(buf.B[:n]); err != nil {
			return err
		}
		n = 0
	}
	for {
		from := n + wire.ChunkHeadMax
		to, err := gather(b, buf.B[:len(buf.B)-2], from)
		// The chunk's head is put right before its bytes, and what stands before both is moved up to it.
		begin := 0
		if to > from {
			at := wire.PutChunkHead(buf.B, from, to-from)
			begin = at - n
			copy(buf.B[begin:at], buf.B[:n])
			to += copy(buf.B[to:], "\r\n")
		} else {
			to = n
		}
		if err == io.EOF {
			end := append(buf.B[begin:to], "0\r\n"...)
			end = proxy.FinalTrailers(&x.Response.Trailers, x.Response.Decided).AppendTo(end)
			return c.send(append(end, "\r\n"...))
		}
		if to > begin {
			if err := c.send(buf.B[begin:to]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		n = 0
	}
}

// gather fills buf from at on. It reads at least once, then on while nothing has to be waited for, and returns where it has ended.
func gather(b *proxy.Body, buf []byte, at int) (int, error) {
	for {
		n, err := b.Read(buf[at:])
		at += n
		if err != nil || at == len(buf) || n > 0 && b.Buffered() == 0 {
			return at, err
		}
	}
}

// Interim passes an informational response on (RFC 9110 section 15.2), such as 103 Early Hints.
func (c *h1) Interim(x *proxy.Exchange, status int, h *wire.Head) error {
	if c.message.Minor == 0 {
		return nil
	}
	out := wire.GetBuf(wire.Small)
	defer out.Free()
	b := append(out.B[:0], "HTTP/1.1 "...)
	b = wire.AppendUint(b, uint64(status))
	b = append(b, ' ')
	b = append(b, proxy.StatusText(status)...)
	b = append(b, '\r', '\n')
	b = h.AppendTo(b)
	c.upload.mu.Lock() // 100 Continue may be under way from the goroutine that sends the body
	defer c.upload.mu.Unlock()
	return c.send(append(b, '\r', '\n'))
}
