package server

import (
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// headBlock is the block of fields that is arriving: a request's head, its trailers, or something that nobody wants any more
// but that has to be decoded, because later blocks refer to it (RFC 7541 section 2.2). It lies in one HEADERS frame and as
// many CONTINUATION frames as the client likes, within bounds.
type headBlock struct {
	st       *h2stream // whose it is; nil: nobody's
	trailers bool
	ends     bool // the stream's last
	arriving frames.Block
	decoded  int // bytes, counted as a head of HTTP/1.1 has them
	fields   int
	regular  bool // a field that is no pseudo-header was there
	cookie   bool // a Cookie was there: it may come in crumbs (RFC 9113 section 8.2.3), which count as one field
	limits   proxy.Limits
	trailer  wire.Head
	err      error // what is wrong with it
}

// The malformed requests (RFC 9113 section 8.1.1): their streams are reset.
var (
	errPseudo = &wire.Refusal{Status: 400, Code: "bad_pseudo_header",
		Detail: "The pseudo-header fields are not those of a request, each of them once and before all other fields."}
	errLength = &wire.Refusal{Status: 400, Code: "bad_content_length", Detail: "Content-Length is not the length of the body."}
)

// resets reports whether a request that is refused for this reason gets a reset for an answer.
func resets(err error) bool {
	return err == errPseudo || err == errLength || err == wire.ErrConnectionField
}

func (c *h2) takeHeaders(f *http2.HeadersFrame) error {
	b := &c.block
	id := f.StreamID
	c.mu.Lock()
	st := c.streams[id]
	fresh := st == nil && id > c.lastID
	var err error
	switch {
	case id%2 == 0:
		err = frames.ErrProtocol
	case f.HasPriority() && f.Priority.StreamDep == id:
		err = frames.ErrProtocol // RFC 7540 section 5.3.1; of the whole connection, since the block is not decoded
	case fresh:
		c.ended.opens(c.lastID, id)
		c.lastID = id
	case st == nil:
		if err = c.over(id); err == nil {
			err = c.flood.talk()
		}
	case st.ended:
		err = frames.ErrClosed
	}
	if !f.HeadersEnded() {
		c.headUntil = wire.Now() + int64(c.rates.HeadTimeout)
		c.arm()
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	b.reset(&c.server.snapshot.Load().Limits, f.StreamEnded())
	if fresh {
		st = newStream(c, id, &b.limits)
	}
	b.st, b.trailers = st, !fresh
	c.decoder.SetEmitEnabled(st != nil)
	return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

func (b *headBlock) reset(limits *proxy.Limits, ends bool) {
	b.trailer.Reset()
	*b = headBlock{limits: *limits, ends: ends, trailer: b.trailer}
}

// takeFragment decodes a part of the block.
func (c *h2) takeFragment(p []byte, last bool) error {
	b := &c.block
	if err := b.arriving.Decode(c.decoder, p, last, b.limits.HeadBytes); err != nil {
		b.drop()
		return err
	}
	if !last {
		return nil
	}
	if b.arriving.Frames() > 1 {
		c.mu.Lock()
		c.headUntil = 0
		c.arm()
		c.mu.Unlock()
	}
	st := b.st
	b.st = nil
	switch {
	case st == nil:
		return nil
	case b.trailers:
		return c.takeTrailers(st)
	}
	st.refusal = b.err
	if st.refusal == nil {
		st.refusal = st.judge(b.ends)
	}
	return c.begin(st, b.ends)
}

// drop lets go of a request that will not begin.
func (b *headBlock) drop() {
	if b.st != nil && !b.trailers {
		b.st.x.Release()
	}
	b.st = nil
}

func (c *h2) takeTrailers(st *h2stream) error {
	b := &c.block
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] != st {
		return nil
	}
	if b.err != nil || !b.ends {
		return frames.Malformed(st.id)
	}
	if st.x != nil {
		for name, value := range b.trailer.All() {
			st.x.Request.Trailers.Add(string(name), value)
		}
		st.trailers = b.trailer.Len() > 0
	}
	return c.endRequest(st)
}

// emit takes a decoded field.
func (c *h2) emit(f hpack.HeaderField) {
	b := &c.block
	if b.st == nil || b.err != nil {
		return
	}
	b.err = b.take(f)
	if b.err != nil {
		c.decoder.SetEmitEnabled(false) // what follows changes the table, and is not looked at
	}
}

func (b *headBlock) take(f hpack.HeaderField) error {
	b.decoded += len(f.Name) + len(f.Value) + len(": \r\n")
	if b.decoded > b.limits.HeadBytes {
		return wire.ErrHeadTooLarge
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		if b.regular || b.trailers {
			return errPseudo
		}
		return b.st.pseudo.take(f.Name, f.Value)
	}
	b.regular = true
	if !b.cookie || f.Name != "cookie" {
		b.fields++
	}
	b.cookie = b.cookie || f.Name == "cookie"
	if b.fields > b.limits.Fields {
		return wire.ErrTooManyFields
	}
	if b.trailers {
		return b.trailer.ReceiveTrailer(f.Name, f.Value)
	}
	return b.st.x.Request.Head.Receive(f.Name, f.Value, &b.st.message)
}

// pseudo are the pseudo-header fields of a request (RFC 9113 section 8.3.1).
type pseudo struct {
	method, scheme, authority, path string
	seen                            [4]bool
}

func (p *pseudo) take(name, value string) error {
	var to *string
	i := 0
	switch name {
	case ":method":
		to = &p.method
	case ":scheme":
		to, i = &p.scheme, 1
	case ":authority":
		to, i = &p.authority, 2
	case ":path":
		to, i = &p.path, 3
	default:
		return errPseudo
	}
	if p.seen[i] {
		return errPseudo
	}
	*to, p.seen[i] = value, true
	return nil
}

// newStream prepares a stream whose head is arriving.
func newStream(c *h2, id uint32, limits *proxy.Limits) *h2stream {
	st := &h2stream{c: c, id: id, limits: *limits, recvWindow: frames.NewRecvWindow(streamWindow), declared: -1, x: proxy.Acquire()}
	st.changed.L = &c.mu
	st.message.Reset()
	st.x.Started = wire.Now()
	st.x.Waited = true
	st.recvCredit = int64(limits.HeadTimeout)
	st.sendCredit = st.sendCreditMax()
	return st
}

// sendCreditMax is how long a client may take nothing of a response: as with HTTP/1.1, a moment and as long as a window
// takes at the minimum rate.
func (st *h2stream) sendCreditMax() int64 {
	if st.limits.MinRate <= 0 {
		return 0
	}
	return int64(st.limits.HeadTimeout) + windowBytes*int64(time.Second)/st.limits.MinRate
}
