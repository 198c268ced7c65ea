package proxy

import (
	"io"
)

// Flow is the part of a body that is still on its way.
type Flow interface {
	// Read returns io.EOF only after the whole body was seen: a body that ends early is another error.
	Read(p []byte) (int, error)
	// Buffered is how many bytes Read can return without waiting.
	Buffered() int
	// Close ends the flow wherever it stands; what carried it is reused only if it was read to its end.
	Close() error
}

// Body is what a message carries: an in-memory prefix, then a flow. Reading never consumes the prefix, so a body
// without a flow is whole and can be sent again. The zero value is an empty body.
type Body struct {
	prefix []byte
	pos    int
	flow   Flow
	size   int64 // of prefix and flow together; -1: unknown
	absent bool  // size is announced but nothing follows (an answer to HEAD, 304)
	limit  int64 // of bytes that may be read; 0: none
	read   int64
}

// SetWhole makes the body these bytes, which must live until the exchange finishes. The former flow is left
// alone: Close it first.
func (b *Body) SetWhole(p []byte) { *b = Body{prefix: p, size: int64(len(p)), limit: b.limit} }

// SetFlow makes the body prefix, then flow; size is that of both, or -1 if it is not known.
func (b *Body) SetFlow(prefix []byte, flow Flow, size int64) {
	*b = Body{prefix: prefix, flow: flow, size: size, limit: b.limit}
}

// SetAbsent makes it a body that is announced with size (-1: not at all) but does not follow.
func (b *Body) SetAbsent(size int64) { *b = Body{size: size, absent: true} }

// SetAbsentFlow is SetAbsent for a flow that carries nothing but wants to be closed.
func (b *Body) SetAbsentFlow(flow Flow, size int64) { *b = Body{flow: flow, size: size, absent: true} }

// ForgetSize makes framing announce no length, where what is announced is not what would follow.
func (b *Body) ForgetSize() { b.size = -1 }

// SetLimit bounds how many bytes Read and Gather give out before they fail with ErrBodyTooLarge. 0: no bound.
func (b *Body) SetLimit(limit int64) { b.limit = limit }

// Size is the length that framing announces, -1 if unknown.
func (b *Body) Size() int64 { return b.size }

// Left is how many bytes are still to be read, -1 if unknown.
func (b *Body) Left() int64 {
	if b.size < 0 {
		return -1
	}
	return b.size - b.read
}

// Absent reports a body that is announced but does not follow.
func (b *Body) Absent() bool { return b.absent }

// Taken is how many bytes were read so far.
func (b *Body) Taken() int64 { return b.read }

// Flowing reports whether a part of the body is still on its way.
func (b *Body) Flowing() bool { return b.flow != nil }

// Prefix returns the part in memory.
func (b *Body) Prefix() []byte { return b.prefix }

// Rewind starts reading at the front again; false if bytes of the flow are gone already.
func (b *Body) Rewind() bool {
	if b.read > int64(len(b.prefix)) {
		return false
	}
	b.pos, b.read = 0, 0
	return true
}

// Read reads the prefix, then the flow.
func (b *Body) Read(p []byte) (int, error) {
	if b.pos < len(b.prefix) {
		n := copy(p, b.prefix[b.pos:])
		b.pos += n
		return b.count(n, nil)
	}
	if b.flow == nil {
		return 0, io.EOF
	}
	n, err := b.flow.Read(p)
	return b.count(n, err)
}

func (b *Body) count(n int, err error) (int, error) {
	b.read += int64(n)
	if b.limit > 0 && b.read > b.limit {
		return 0, ErrBodyTooLarge
	}
	return n, err
}

// Buffered is how many bytes Read can return without waiting.
func (b *Body) Buffered() int {
	n := len(b.prefix) - b.pos
	if b.flow != nil {
		n += b.flow.Buffered()
	}
	return n
}

// SkipPrefix counts the prefix as read: the caller has sent it by itself.
func (b *Body) SkipPrefix() {
	b.read += int64(len(b.prefix) - b.pos)
	b.pos = len(b.prefix)
}

// Interrupter is a Flow whose Read can be ended from another goroutine.
type Interrupter interface{ Interrupt() }

// Interrupt ends a Read under way in another goroutine and fails later ones, where the flow can. Unlike everything
// else of a Body it may be called while another goroutine reads.
func (b *Body) Interrupt() {
	if i, ok := b.flow.(Interrupter); ok {
		i.Interrupt()
	}
}

// Close ends the flow, if there is one.
func (b *Body) Close() error {
	f := b.flow
	if f == nil {
		return nil
	}
	b.flow = nil
	return f.Close()
}

// Peek reads on until limit bytes or the end and returns what is there, leaving prefix and flow: the body is still
// all there for whoever reads next. Nothing may have been read from the flow before.
func (x *Exchange) Peek(b *Body, limit int) ([]byte, error) {
	if b.flow == nil || len(b.prefix) >= limit {
		return b.prefix[:min(len(b.prefix), limit)], nil
	}
	x.Waited = true
	buf := append(x.Scratch(), b.prefix...)
	var err error
	for len(buf) < limit {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		room := buf[len(buf):min(cap(buf), limit)]
		var n int
		n, err = b.flow.Read(room)
		buf = buf[:len(buf)+n]
		if b.limit > 0 && int64(len(buf)) > b.limit {
			return nil, ErrBodyTooLarge
		}
		if err != nil {
			break
		}
	}
	b.prefix = x.KeepScratch(buf)
	if err == io.EOF {
		f := b.flow
		b.flow, b.size = nil, int64(len(b.prefix))
		return b.prefix, f.Close()
	}
	return b.prefix, err
}

// Gather makes the body whole, reading at most limit bytes; a longer one is ErrBodyTooLarge. The head of a response may lie in memory of the
// connection that the body comes over, which has it back at the body's end: take what is needed of it before.
func (x *Exchange) Gather(b *Body, limit int) ([]byte, error) {
	if b.limit > 0 {
		limit = int(min(int64(limit), b.limit))
	}
	if b.size > int64(limit) {
		return nil, ErrBodyTooLarge
	}
	p, err := x.Peek(b, limit+1)
	if err != nil {
		return nil, err
	}
	if len(p) > limit {
		return nil, ErrBodyTooLarge
	}
	return p, nil
}
