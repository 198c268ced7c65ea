package server

import (
	"errors"
	"io"

	"github.com/quic-go/quic-go/quicvarint"

	"sluice/proxy/wire"
)

// The frames of HTTP/3 (RFC 9114 section 7.2).
const (
	frameData        = 0x0
	frameHeaders     = 0x1
	frameCancelPush  = 0x3
	frameSettings    = 0x4
	framePushPromise = 0x5
	frameGoAway      = 0x7
	frameMaxPushID   = 0xd
	// framePriority says how urgent a request is, and its neighbour the same of a push (RFC 9218 section 7.2).
	framePriority     = 0xf0700
	framePriorityPush = 0xf0701
)

// isReserved tells the frames of HTTP/2 that HTTP/3 has not (RFC 9114 section 7.2.8): who sends one speaks another protocol.
func isReserved(kind uint64) bool { return kind == 0x2 || kind == 0x6 || kind == 0x8 || kind == 0x9 }

// h3input reads a stream of frames. It has a buffer only while there is something in it, or about to be.
type h3input struct {
	from io.Reader
	buf  *wire.Buf
	mem  []byte // what is read into: buf's, or a few bytes of its own for a stream on which hardly anything ever comes
	r, w int

	unwanted int64 // bytes to be passed over
	err      error // why nothing follows what is in the buffer
}

// buffered is what is there already.
func (in *h3input) buffered() []byte {
	return in.mem[in.r:in.w]
}

func (in *h3input) skip(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// free gives the buffer up, and what is in it.
func (in *h3input) free() {
	in.buf.Free()
	in.buf, in.mem, in.r, in.w = nil, nil, 0, 0
}

// detach hands over the buffer.
func (in *h3input) detach() *wire.Buf {
	b := in.buf
	in.buf, in.mem, in.r, in.w = nil, nil, 0, 0
	return b
}

// fill waits for more than there is. io.EOF is the stream's end.
func (in *h3input) fill() error {
	if in.err != nil {
		return in.err
	}
	if in.mem == nil {
		in.buf = wire.GetBuf(wire.Small)
		in.mem = in.buf.B
	}
	if in.w == len(in.mem) {
		in.w = copy(in.mem, in.mem[in.r:in.w])
		in.r = 0
	}
	n, err := in.from.Read(in.mem[in.w:])
	in.w += n
	if n > 0 {
		in.keep(err)
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	in.keep(err)
	return err
}

// keep remembers an end. A deadline is none: there may be another one.
func (in *h3input) keep(err error) {
	if err != nil && !isTimeout(err) {
		in.err = err
	}
}

// Read reads what is there, or else waits, without the buffer if p is larger.
func (in *h3input) Read(p []byte) (int, error) {
	if len(in.buffered()) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		if len(p) >= wire.Small {
			in.free() // who reads so much at once needs none
			n, err := in.from.Read(p)
			in.keep(err)
			if n > 0 {
				err = nil
			}
			return n, err
		}
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buffered())
	in.skip(n)
	return n, nil
}

// number reads an integer of variable length (RFC 9000 section 16). io.EOF means that the stream has ended before it.
func (in *h3input) number() (uint64, error) {
	for {
		b := in.buffered()
		if n, size, err := quicvarint.Parse(b); err == nil {
			in.skip(size)
			return n, nil
		}
		if err := in.fill(); err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
}

// frame reads the head of a frame: its kind, and how many bytes follow; what was to be passed over comes first. io.EOF means that the
// stream has ended before it. A deadline that passes in the middle loses nothing: the next call goes on where this one stood.
func (in *h3input) frame() (kind uint64, size int64, err error) {
	for in.unwanted > 0 {
		if len(in.buffered()) == 0 {
			if err := in.fill(); err != nil {
				return 0, 0, inFrame(err)
			}
		}
		k := int(min(in.unwanted, int64(len(in.buffered()))))
		in.skip(k)
		in.unwanted -= int64(k)
	}
	for {
		kind, size, head := in.peekFrame()
		if head > 0 {
			in.skip(head)
			return kind, size, nil
		}
		if err := in.fill(); err != nil {
			if len(in.buffered()) > 0 {
				err = inFrame(err)
			}
			return 0, 0, err
		}
	}
}

// pass says that the next n bytes are wanted by nobody.
func (in *h3input) pass(n int64) { in.unwanted = n }

// peekFrame is frame of what is there already, which it leaves. head is how long the head is; 0: it is not there.
func (in *h3input) peekFrame() (kind uint64, size int64, head int) {
	b := in.buffered()
	kind, k, err := quicvarint.Parse(b)
	if err != nil {
		return 0, 0, 0
	}
	n, l, err := quicvarint.Parse(b[k:])
	if err != nil {
		return 0, 0, 0
	}
	return kind, int64(n), k + l
}

// full reads all of p. After a deadline that has passed nobody may go on.
func (in *h3input) full(p []byte) error {
	for len(p) > 0 {
		n, err := in.Read(p)
		p = p[n:]
		if err != nil {
			return inFrame(err)
		}
	}
	return nil
}

// gather reads size bytes into a buffer, which grows as they come: who only says that they will come is lent no memory for them. It is to
// be freed in any case. After a deadline that has passed nobody may go on.
func (in *h3input) gather(size int) (*wire.Buf, error) {
	buf := wire.GetBuf(min(size, wire.Small))
	for n := 0; n < size; {
		if n == len(buf.B) {
			more := wire.GetBuf(min(size, 2*n))
			copy(more.B, buf.B)
			buf.Free()
			buf = more
		}
		k, err := in.Read(buf.B[n:min(size, len(buf.B))])
		n += k
		if err != nil {
			return buf, inFrame(err)
		}
	}
	return buf, nil
}

// inFrame is what the end of a stream is within a frame.
func inFrame(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return cutShort(err)
}

// cutShort makes a breach of the protocol of a frame that its stream does not hold all of (RFC 9114 section 7.1).
func cutShort(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return h3Error(codeFrame)
	}
	return err
}
