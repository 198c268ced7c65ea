package server

import (
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
	ends     bool      // the stream's last
	arriving frames.Block
	section
	trailer wire.Head
	err     error // what is wrong with it
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
	return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

func (b *headBlock) reset(limits *proxy.Limits, ends bool) {
	b.trailer.Reset()
	*b = headBlock{section: section{limits: *limits}, ends: ends, trailer: b.trailer}
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
	b.arriving.Count(f)
	if b.st == nil || b.err != nil {
		return // it changes the table, and is not looked at
	}
	b.err = b.take(f)
}

func (b *headBlock) take(f hpack.HeaderField) error {
	if b.trailers {
		return b.takeTrailer(f.Name, f.Value, &b.trailer)
	}
	return b.section.take(f.Name, f.Value, &b.st.incoming, &b.st.x.Request.Head)
}

// newStream prepares a stream whose head is arriving.
func newStream(c *h2, id uint32, limits *proxy.Limits) *h2stream {
	st := &h2stream{c: c, id: id, recvWindow: frames.NewRecvWindow(streamWindow), x: proxy.Acquire()}
	st.incoming.reset(limits)
	st.changed.L = &c.mu
	st.x.Started = wire.Now()
	st.x.Waited = true
	st.recvCredit = int64(limits.HeadTimeout)
	st.sendCredit = st.sendCreditMax()
	return st
}
