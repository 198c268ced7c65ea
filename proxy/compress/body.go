package compress

import (
	"errors"
	"io"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// wholeMax is up to what size a body that is all there is compressed before its head goes out: it then has a Content-Length, and leaves in
// one write. What is larger is compressed as it is sent.
const wholeMax = wire.Large

// compress makes the body one in the coding at index c, if there is an encoder for it and it gets smaller by that.
func (p *Policy) compress(x *proxy.Exchange, c int) {
	r := &x.Response
	events := isEvents(r.Head.GetKnown(wire.ContentType))
	l := p.lenders[c]
	if events {
		l = p.light[c]
	}
	b := bodies.Get().(*body)
	e := l.lend(b)
	if e == nil {
		bodies.Put(b)
		p.counts.Refused.Add(1)
		return
	}
	b.encoder, b.lender, b.counts = e, l, p.counts
	b.from = r.Body
	b.events, b.sized = events, r.Body.Size() >= 0
	in := b.gather()
	switch {
	case !b.whole:
		changeHead(x, p.codings[c])
		r.Body.SetFlow(nil, b, -1)
	case int64(len(in)) < max(p.minSize, 1):
		b.leave(x, in)
	default:
		if out := b.atOnce(in); out == nil {
			b.leave(x, in)
		} else {
			changeHead(x, p.codings[c])
			r.Body.SetFlow(out, b, announced(r, len(out)))
		}
	}
}

// announced is the size that a body of n bytes may announce: with trailers none, for in HTTP/1.1 they come after chunks alone.
func announced(r *proxy.Response, n int) int64 {
	if r.Trailers.Len() > 0 {
		return -1
	}
	return int64(n)
}

func isEvents(contentType []byte) bool {
	const t = "text/event-stream"
	return len(contentType) >= len(t) && wire.EqualFold(contentType[:len(t)], t)
}

// body is the flow of a compressed body, and where its encoder writes to.
type body struct {
	from    proxy.Body // what is compressed
	encoder encoder    // nil once it is not needed any more
	lender  *lender
	counts  *Counts

	sized, events bool
	whole         bool      // all of it is in pending
	in            *wire.Buf // what was read of from
	pending       int       // bytes of in that the encoder has not got
	unflushed     bool      // it has got some that it may be holding back
	flushedAt     int64     // wire.Now

	room []byte // of whoever reads, while he does
	rest []byte // what has not fitted into that
	at   int    // what of rest was read

	once *wire.Buf // where a whole body goes
	out  []byte    // of once; its capacity is the bound
	fits bool      // into out

	total struct{ in, out uint64 }
	err   error // after which nothing comes, io.EOF for the end
}

var bodies = sync.Pool{New: func() any { return new(body) }}

// gather reads what is there without waiting, and finds out whether that is all. It returns that.
func (b *body) gather() []byte {
	if !b.from.Flowing() && len(b.from.Prefix()) <= wholeMax {
		b.whole = true
		return b.from.Prefix()
	}
	if b.events || b.from.Size() > wholeMax {
		return nil
	}
	b.in = wire.GetBuf(wholeMax)
	for b.pending < wholeMax && b.from.Buffered() > 0 && b.err == nil {
		b.read()
	}
	b.whole = b.err == io.EOF || b.err == nil && b.from.Left() == 0
	return b.in.B[:b.pending]
}

// read reads once from the origin.
func (b *body) read() {
	var n int
	n, b.err = b.from.Read(b.in.B[b.pending:])
	b.pending += n
}

// atOnce compresses a whole body, and returns nil if it does not get smaller.
func (b *body) atOnce(in []byte) []byte {
	b.once, b.fits = wire.GetBuf(len(in)), true
	b.out = b.once.B[: 0 : len(in)-1]
	_, err := b.encoder.Write(in)
	if err == nil {
		err = b.encoder.Close()
	}
	out := b.out
	b.out, b.pending = nil, 0
	if err != nil {
		b.drop()
		return nil
	}
	b.giveBack()
	if !b.fits {
		return nil
	}
	b.total.in, b.total.out = uint64(len(in)), uint64(len(out))
	b.counts.Responses[b.lender.coding].Add(1)
	b.err = io.EOF
	return out
}

// leave lets the body be what it is. What was read of it is in memory now, and announces how long it is.
func (b *body) leave(x *proxy.Exchange, in []byte) {
	if b.encoder != nil {
		b.giveBack()
	}
	if b.in == nil {
		b.recycle() // the body was left alone
		return
	}
	b.err, b.pending = io.EOF, 0
	x.Response.Body.SetFlow(in, b, announced(&x.Response, len(in)))
}

// Write takes what the encoder has made.
func (b *body) Write(p []byte) (int, error) {
	n := len(p)
	if b.once != nil {
		if b.fits = b.fits && len(b.out)+n <= cap(b.out); b.fits {
			b.out = append(b.out, p...)
		}
		return n, nil
	}
	b.total.out += uint64(n)
	direct := copy(b.room, p)
	b.room = b.room[direct:]
	b.rest = append(b.rest, p[direct:]...)
	return n, nil
}

// Read compresses on until there is something to read.
func (b *body) Read(p []byte) (int, error) {
	for {
		if b.at < len(b.rest) {
			n := copy(p, b.rest[b.at:])
			if b.at += n; b.at == len(b.rest) {
				b.rest, b.at = b.rest[:0], 0
			}
			return n, nil
		}
		if b.encoder == nil {
			return 0, b.err
		}
		b.room = p
		b.step()
		n := len(p) - len(b.room)
		b.room = nil
		if n > 0 {
			return n, nil
		}
	}
}

// step gives the encoder what has come. A body that breaks off goes out as far as it has come, and never gets the end that makes a
// compressed stream whole.
func (b *body) step() {
	if b.pending == 0 && b.err == nil {
		b.fetch()
	}
	if n := b.pending; n > 0 {
		b.pending = 0
		b.total.in += uint64(n)
		b.unflushed = true
		if _, err := b.encoder.Write(b.in.B[:n]); err != nil {
			b.fail(err)
			return
		}
	}
	var err error
	switch {
	case b.err == io.EOF, b.err == nil && b.from.Left() == 0:
		b.err = io.EOF
		err = b.encoder.Close()
	case b.err != nil, b.from.Buffered() == 0 && b.due():
		if b.unflushed {
			err = b.encoder.Flush()
		}
		b.unflushed = false
	default:
		return
	}
	if err != nil {
		b.fail(err)
	} else if b.err != nil {
		b.end()
	}
}

// fetch reads the next piece from the origin. Events are short, and one waits long for them: they have a small buffer.
func (b *body) fetch() {
	if b.in == nil {
		size := wire.Large
		if b.events {
			size = wire.Small
		}
		b.in = wire.GetBuf(size)
	}
	b.read()
}

// due reports whether what the encoder holds has to go out before the origin is waited for. A body of unknown size may be one whose
// pieces are waited for at the other end. One of known size is a file or the like: it is only flushed every now and then, which costs
// less and compresses better, but at once when it begins.
func (b *body) due() bool {
	if b.events || !b.sized {
		return true
	}
	now := wire.Now()
	if now-b.flushedAt < int64(flushEvery) {
		return false
	}
	b.flushedAt = now
	return true
}

const flushEvery = 100 * time.Millisecond

// fail is for an encoder that fails, which none should.
func (b *body) fail(err error) {
	b.err = errors.Join(errEncoder, err)
	b.drop()
}

var errEncoder = errors.New("cannot compress the response")

// end gives the encoder back, when nothing more comes.
func (b *body) end() {
	b.counts.Responses[b.lender.coding].Add(1)
	b.giveBack()
}

func (b *body) giveBack() {
	b.lender.takeBack(b.encoder)
	b.encoder = nil
}

// drop is giveBack for an encoder that nobody should have again.
func (b *body) drop() {
	b.lender.of.bytes.Add(-b.lender.bytes)
	b.encoder = nil
}

// Buffered is how much can be read without waiting, at least. What the origin has sent leads to something to read, since it is flushed
// when nothing more is there; only where that is not sure, see due, nothing is promised.
func (b *body) Buffered() int {
	switch {
	case b.at < len(b.rest):
		return len(b.rest) - b.at
	case b.encoder == nil:
		return 1 // the end, or why there is none
	case b.sized && !b.events && b.flushedAt != 0:
		return 0
	}
	return min(b.pending+b.from.Buffered(), 1)
}

// Close ends the body wherever it stands.
func (b *body) Close() error {
	err := b.from.Close()
	if b.encoder != nil {
		b.end()
	}
	b.counts.In.Add(b.total.in)
	b.counts.Out.Add(b.total.out)
	b.recycle()
	return err
}

// restKeepMax caps what a pooled body keeps. It is what the encoders write at a time of what does not compress.
const restKeepMax = 256 << 10

func (b *body) recycle() {
	b.in.Free()
	b.once.Free()
	rest := b.rest[:0]
	if cap(rest) > restKeepMax {
		rest = nil
	}
	*b = body{rest: rest}
	bodies.Put(b)
}
