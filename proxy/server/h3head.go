package server

import (
	"errors"
	"io"
	"time"

	"github.com/quic-go/qpack"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// readHead reads the head of a request, which may take as long as with the other protocols, and reports whether nothing follows it.
// What is wrong with it becomes st.refusal; an error is why there is no request.
func (st *h3stream) readHead() (ends bool, err error) {
	_ = st.str.SetReadDeadline(time.Now().Add(st.limits.HeadTimeout)) // never fails
	kind, size, err := st.frameOfMessage()
	switch {
	case err != nil:
		return false, noHead(err)
	case kind != frameHeaders:
		return false, h3Error(codeFrameUnexpected) // RFC 9114 section 4.1
	}
	s := section{limits: st.limits}
	st.refusal, err = st.readSection(size, func(name, value string) error {
		return s.take(name, value, &st.incoming, &st.x.Request.Head)
	})
	if err != nil {
		return false, noHead(err)
	}
	if st.refusal == nil {
		st.refusal = st.judge(false)
	}
	if st.refusal == nil && (st.endsSoon() || st.in.err == io.EOF && len(st.in.buffered()) == 0) {
		if ends, err = st.awaitEnd(); err != nil {
			return false, noHead(err)
		}
	}
	_ = st.str.SetReadDeadline(time.Time{})
	return ends || st.refusal != nil, nil // of a refused one nothing more is looked at
}

// noHead says how a stream is ended whose head did not come.
func noHead(err error) error {
	if errors.Is(err, io.EOF) {
		return h3Reset(codeRequestIncomplete)
	}
	return err
}

// frameOfMessage is the next frame that is part of a request; others may stand between them (RFC 9114 section 9).
func (st *h3stream) frameOfMessage() (kind uint64, size int64, err error) {
	for {
		kind, size, err = st.in.frame()
		switch {
		case err != nil:
			return 0, 0, err
		case kind == frameData, kind == frameHeaders:
			return kind, size, nil
		case kind <= frameGoAway && kind != 0, kind == frameMaxPushID, kind == framePriority, kind == framePriorityPush, isReserved(kind):
			return 0, 0, h3Error(codeFrameUnexpected)
		}
		if err := st.c.judge((*flood).talk); err != nil {
			return 0, 0, err
		}
		st.in.pass(size)
	}
}

// readSection reads a block of fields. refusal is what take says of the first one that it does not want: the others do not matter.
func (st *h3stream) readSection(size int64, take func(name, value string) error) (refusal, err error) {
	// Bytes that say nothing new can be packed ever so tightly, but not loosely: so many are not within the limit.
	if size > 2*int64(st.limits.HeadBytes) {
		return wire.ErrHeadTooLarge, nil
	}
	if block := st.in.buffered(); int64(len(block)) >= size {
		defer st.in.skip(int(size))
		return decodeSection(block[:size], take)
	}
	buf, err := st.in.gather(int(size))
	defer buf.Free()
	if err != nil {
		return nil, err
	}
	return decodeSection(buf.B[:size], take)
}

// decodeSection decodes a block of fields (RFC 9204). The strings are its own.
func decodeSection(block []byte, take func(name, value string) error) (refusal, err error) {
	var decoder qpack.Decoder
	for next := decoder.Decode(block); ; {
		f, err := next()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, h3Error(codeDecompression)
		}
		if refusal := take(f.Name, f.Value); refusal != nil {
			return refusal, nil
		}
	}
}

// endsSoon reports whether the end of the stream is waited for before the request is served. Nothing of a head says that no body
// follows, and the end may be in a later packet: without it the origin would have to be told of a body of unknown length.
func (st *h3stream) endsSoon() bool {
	switch st.pseudo.method {
	case "GET", "HEAD", "OPTIONS", "DELETE", "TRACE":
		return st.declared <= 0
	}
	return st.declared == 0
}

// awaitEnd waits for the end, or for a body.
func (st *h3stream) awaitEnd() (ends bool, err error) {
	for st.left == 0 {
		switch err := st.nextFrame(); {
		case err == io.EOF:
			st.mu.Lock()
			st.ended = true
			st.mu.Unlock()
			return !st.trailed, nil
		case err == h3Reset(codeMessage):
			st.refusal = errLength
			return true, nil
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

// readTrailers reads the trailer section, which may take as long as a head.
func (st *h3stream) readTrailers(size int64) error {
	if err := st.await(int64(st.limits.HeadTimeout)); err != nil {
		return err
	}
	s := section{limits: st.limits, trailers: true}
	var trailers wire.Head
	refusal, err := st.readSection(size, func(name, value string) error { return s.takeTrailer(name, value, &trailers) })
	if isTimeout(err) {
		return proxy.ErrSlowBody
	}
	if err != nil {
		return err
	}
	if refusal != nil {
		return h3Reset(codeMessage)
	}
	for name, value := range trailers.All() {
		st.x.Request.Trailers.Add(string(name), value)
	}
	return nil
}

// proven reports whether the handshake has ended: before that, what comes may have been recorded and sent again by anybody.
func (c *h3) proven() bool {
	select {
	case <-c.conn.HandshakeComplete():
		return true
	default:
		return false
	}
}

// mayBeEarly reports whether a request that came before the end of the handshake may be served before it (RFC 8470): if it asks for
// nothing to be changed, and carries nothing.
func (st *h3stream) mayBeEarly(x *proxy.Exchange) bool {
	switch x.Request.Method {
	case "GET", "HEAD", "OPTIONS":
		return !x.Request.Body.Flowing() && x.Request.Body.Size() == 0
	}
	return false
}

// awaitHandshake waits for the end of the handshake, which takes no longer than a round trip, and reports whether it was completed.
func (st *h3stream) awaitHandshake() bool {
	select {
	case <-st.c.conn.HandshakeComplete():
		return true
	case <-st.str.Context().Done():
		return false
	}
}

// markEarly tells the origin that a request may come again, from somebody else: it may refuse with 425, and the client then asks once
// more after the handshake (RFC 8470 section 5.1).
func markEarly(x *proxy.Exchange) {
	const name = "Early-Data"
	x.Request.Head.Del(name)
	x.Request.Head.AddString(name, "1")
}
