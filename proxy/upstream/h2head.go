package upstream

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// h2block is the block of fields that is arriving: a response's head, its trailers, or something that nobody wants any more but
// that has to be decoded, because later blocks refer to it (RFC 7541 section 2.2).
type h2block struct {
	id       uint32
	wanted   bool
	trailers bool
	ends     bool // the stream's last
	arriving frames.Block
	decoded  int // bytes, counted as a head of HTTP/1.1 has them
	fields   int
	regular  bool // a field that is no pseudo-header was there
	head     *h2head
	err      error // what is wrong with it
}

// h2head is a head that has arrived: an informational one, the response's, or with status 0 trailers.
type h2head struct {
	status  int
	message wire.Message
	fields  wire.Head
}

var errH2Status = errors.New("the response's :status is missing, repeated or no number, or another pseudo-header is there")

func (c *h2conn) takeHeaders(f *http2.HeadersFrame) error {
	b := &c.block
	c.mu.Lock()
	st := c.streams[f.StreamID]
	var err error
	*b = h2block{id: f.StreamID, wanted: st != nil && !st.ended, ends: f.StreamEnded(), head: new(h2head)}
	b.head.message.Reset()
	if b.wanted {
		b.trailers = st.headed
	} else if err = c.talk(); err == nil {
		err = c.unknown(f.StreamID)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

// takeFragment decodes a part of the block.
func (c *h2conn) takeFragment(p []byte, last bool) error {
	b := &c.block
	if err := b.arriving.Decode(c.decoder, p, last, c.endpoint.options.Limits.HeadBytes); err != nil {
		return err
	}
	if !last || !b.wanted {
		return nil
	}
	if b.err == nil && !b.trailers && b.head.status == 0 {
		b.err = errH2Status
	}
	if b.err != nil {
		c.refuse(b.id, http2.ErrCodeProtocol, errResponse.With(b.err))
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[b.id]
	if st == nil {
		return nil // it has been given up meanwhile
	}
	c.earn(0)
	return st.takeHead(b)
}

// emit takes a decoded field.
func (c *h2conn) emit(f hpack.HeaderField) {
	b := &c.block
	b.arriving.Count(f)
	if !b.wanted || b.err != nil {
		return // it changes the table, and is not looked at
	}
	b.err = b.take(f, &c.endpoint.options.Limits)
}

func (b *h2block) take(f hpack.HeaderField, lim *wire.Limits) error {
	b.decoded += len(f.Name) + len(f.Value) + len(": \r\n")
	if b.decoded > lim.HeadBytes {
		return wire.ErrHeadTooLarge
	}
	if strings.HasPrefix(f.Name, ":") {
		status, err := strconv.Atoi(f.Value)
		if f.Name != ":status" || b.regular || b.trailers || b.head.status != 0 || err != nil || len(f.Value) != 3 || status < 100 {
			return errH2Status
		}
		b.head.status = status
		return nil
	}
	b.regular = true
	if b.fields++; b.fields > lim.Fields {
		return wire.ErrTooManyFields
	}
	if b.trailers {
		return b.head.fields.ReceiveTrailer(f.Name, f.Value)
	}
	return b.head.fields.Receive(f.Name, f.Value, &b.head.message)
}

// encodeRequest puts the request's head into the block: pseudo-headers, then the fields as they are, in their order. Framing
// derives from the body alone. The lock is held.
func (c *h2conn) encodeRequest(x *proxy.Exchange) {
	r, e := &x.Request, c.endpoint
	scheme, authority := "http", e.host
	if e.tls != nil {
		scheme = "https"
	}
	switch {
	case authority != "":
	case len(r.Host) > 0:
		authority = string(r.Host)
	default:
		authority = e.target.authority()
	}
	var path []byte
	if len(r.Path) > 0 && r.Path[0] == '/' {
		path = append(path, e.target.Base...)
	}
	path = x.AppendURI(path)
	c.encoder.Begin()
	c.encode(":method", r.Method)
	c.encode(":scheme", scheme)
	c.encode(":authority", authority)
	c.encode(":path", string(path))
	c.encodeFields(&r.Head)
	// TE belongs to the connection it came over, and the gateway speaks for itself here: it passes trailers on to a client that
	// wants them. Servers of gRPC insist on being told.
	if r.TakesTrailers {
		c.encode("te", "trailers")
	}
	size := r.Body.Size()
	if (size > 0 || size == 0 && (r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH")) && !r.GRPC() {
		c.encode("content-length", strconv.FormatInt(size, 10))
	}
	if r.ExpectContinue && r.Body.Flowing() {
		c.encode("expect", "100-continue")
	}
}

// encodeFields adds fields, without those that HTTP/2 forbids (RFC 9113 section 8.2.2): those of clients are gone by now; this is
// for what a policy has set.
func (c *h2conn) encodeFields(h *wire.Head) {
	for name, value := range h.All() {
		switch name := string(bytes.ToLower(name)); name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "te", "host":
		default:
			c.encode(name, string(value))
		}
	}
}
