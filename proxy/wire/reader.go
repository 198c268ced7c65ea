package wire

import (
	"io"
	"net"
)

// Reader buffers what comes from a connection. While nothing is buffered or pinned it holds no buffer: an idle
// connection costs its socket and a parked goroutine. Not safe for concurrent use.
type Reader struct {
	conn   *Conn
	buf    *Buf
	held   *Buf // the buffer a pinned head lies in, once buf is another
	size   int  // of the buffer to begin with
	pinned int  // bytes at the front of buf that others look at
	r, w   int
}

// Init prepares a reader whose first buffer has at least size bytes.
func (r *Reader) Init(c *Conn, size int) { *r = Reader{conn: c, size: size} }

// Bytes returns what is buffered and not consumed. It is valid until the next Fill, Grow, Unpin or Close.
func (r *Reader) Bytes() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf.B[r.r:r.w]
}

// room is where the next bytes go; nil while there is no buffer.
func (r *Reader) room() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf.B[r.w:]
}

// Buffered is len(Bytes()).
func (r *Reader) Buffered() int { return r.w - r.r }

// Skip consumes n bytes.
func (r *Reader) Skip(n int) { r.r += n }

// Pin consumes the next n bytes and keeps them in place, a head that others look at: until Unpin, what arrives
// is put behind them or into another buffer.
func (r *Reader) Pin(n int) {
	r.r += n
	r.pinned = r.r
}

// Unpin ends what Pin began. What is left moves to the front of the buffer, or the buffer is given back.
func (r *Reader) Unpin() {
	r.pinned = 0
	r.held.Free()
	r.held = nil
	if r.buf == nil {
		return
	}
	n := copy(r.buf.B, r.buf.B[r.r:r.w])
	r.r, r.w = 0, n
	if n == 0 {
		r.buf.Free()
		r.buf = nil
	}
}

// Close gives every buffer back, with whatever is in it.
func (r *Reader) Close() {
	r.buf.Free()
	r.held.Free()
	r.buf, r.held, r.pinned, r.r, r.w = nil, nil, 0, 0, 0
}

// Detach hands the one buffer over to the caller, who frees it when nobody looks at the pinned bytes any more. It
// returns false, and does nothing, unless everything is consumed and there is just one buffer.
func (r *Reader) Detach() (*Buf, bool) {
	if r.Buffered() > 0 || r.held != nil {
		return nil, false
	}
	b := r.buf
	r.buf, r.pinned, r.r, r.w = nil, 0, 0, 0
	return b, true
}

// Fill waits for more bytes and appends them to what is buffered. io.EOF means that none will come. There must
// be room: see Full and Grow.
func (r *Reader) Fill() error {
	c := r.conn
	if c.raw == nil {
		if r.buf == nil {
			r.buf = GetBuf(r.size)
		}
		n, err := c.Read(r.buf.B[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	s := &c.reading
	s.need, s.n, s.err = r, 0, nil
	err := c.raw.Read(s.step)
	s.need = nil
	if err == nil {
		err = s.err
	}
	return c.cause(err)
}

// FillOrIdle is Fill for a wait that may be long, where a Hold cannot be used. It returns ErrIdle when nothing has come for long, and
// then nothing is there that could be read, also not between TLS and the socket: at most the beginning of a record.
func (r *Reader) FillOrIdle() error {
	c := r.conn
	if c.socket == nil {
		return r.Fill()
	}
	h := &c.holding
	for {
		c.parkOnTrust()
		err := r.Fill()
		nudged := c.untrust()
		tired := h.tired
		h.tired = false
		if err == nil || !nudged || c.Kicked() != 0 || c.stopped.Load() {
			return err
		}
		// A read that a nudge has ended may be repeated, of TLS as well.
		if t, ok := err.(net.Error); !ok || !t.Timeout() {
			return err
		}
		if tired {
			return ErrIdle
		}
	}
}

// TryFill is Fill without waiting. It reports whether bytes are buffered now.
func (r *Reader) TryFill() bool {
	if r.buf == nil {
		r.buf = GetBuf(r.size)
	}
	r.w += r.conn.TryRead(r.buf.B[r.w:])
	return r.Buffered() > 0
}

// Full reports whether Fill has no room left.
func (r *Reader) Full() bool { return r.buf != nil && r.w == len(r.buf.B) }

// Grow makes room for a message of up to limit bytes that begins at the unconsumed bytes, which may move. It returns
// false when they already reach limit.
func (r *Reader) Grow(limit int) bool {
	n := r.Buffered()
	switch {
	case n >= limit:
		return false
	case r.r > r.pinned:
		copy(r.buf.B[r.pinned:], r.buf.B[r.r:r.w])
		r.r, r.w = r.pinned, r.pinned+n
	default:
		bigger := GetBuf(min(2*len(r.buf.B), limit))
		copy(bigger.B, r.buf.B[r.r:r.w])
		if r.pinned > 0 {
			r.held, r.pinned = r.buf, 0
		} else {
			r.buf.Free()
		}
		r.buf, r.r, r.w = bigger, 0, n
	}
	return true
}

// FillMore is Fill after making room for a message of up to limit unconsumed bytes. ok is false if there already
// are so many.
func (r *Reader) FillMore(limit int) (ok bool, err error) {
	if r.Buffered() == 0 {
		r.r, r.w = r.pinned, r.pinned
	}
	if r.Full() && !r.Grow(limit) {
		return false, nil
	}
	return true, r.Fill()
}

// Read takes buffered bytes first, else reads straight into p.
func (r *Reader) Read(p []byte) (int, error) {
	if n := r.Buffered(); n > 0 {
		n = copy(p, r.Bytes())
		r.r += n
		return n, nil
	}
	return r.conn.Read(p)
}
