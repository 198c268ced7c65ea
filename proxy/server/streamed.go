package server

import (
	"io"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// stream is where a response goes that shares its connection with others: one of HTTP/2 or HTTP/3.
type stream interface {
	// sendHead sends a head, or with status 0 trailers. length is announced if it is not below 0; end says that nothing follows.
	sendHead(status int, h *wire.Head, length int64, end bool) error
	// send sends bytes of the body.
	send(p []byte, end bool) error
	// pieceSize is how large a piece of the body is worth having.
	pieceSize() int
}

// sendResponse writes the response. After an error the stream has to be reset, so that the response never looks whole.
func sendResponse(to stream, x *proxy.Exchange) error {
	r := &x.Response
	bodyless := x.Request.Method == "HEAD" || r.Status == 204 || r.Status == 304 || r.Body.Absent()
	size := r.Body.Size()
	length := int64(-1)
	if r.Status != 204 && (r.Status != 304 || r.Body.Absent()) {
		length = size
	}
	end := bodyless || !r.Body.Flowing() && len(r.Body.Prefix()) == 0
	err := to.sendHead(r.Status, &r.Head, length, end)
	if err == nil && !end {
		err = sendBody(to, x, size)
	}
	return err
}

// errSlowReader is why the response of a client is given up that takes too little of it.
var errSlowReader = &wire.KickedError{Reason: wire.Expired}

// sendBody writes the body. What can be had without waiting goes out together.
func sendBody(to stream, x *proxy.Exchange, size int64) error {
	b := &x.Response.Body
	prefix := b.Prefix()
	sent := int64(len(prefix))
	b.SkipPrefix()
	whole := !b.Flowing() || sent == size
	if err := to.send(prefix, whole); err != nil || whole {
		return err
	}
	for done := false; !done; {
		var err error
		if done, err = sendPiece(to, x, size, &sent); err != nil {
			return err
		}
	}
	return nil
}

// sendPiece writes as much of the body as fits into a buffer, and reports whether that was the rest.
func sendPiece(to stream, x *proxy.Exchange, size int64, sent *int64) (done bool, err error) {
	buf := wire.GetBuf(to.pieceSize())
	defer buf.Free()
	n, err := gather(&x.Response.Body, buf.B, 0)
	*sent += int64(n)
	switch {
	case size >= 0 && *sent > size:
		return false, errTooLong
	case size >= 0 && *sent == size && (err == nil || err == io.EOF):
		return true, to.send(buf.B[:n], true)
	case err == nil:
		return false, to.send(buf.B[:n], false)
	case err == io.EOF && size < 0:
		return true, sendEnd(to, buf.B[:n], proxy.FinalTrailers(&x.Response.Trailers, x.Response.Decided))
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	_ = to.send(buf.B[:n], false) // the body's error is what counts
	return false, err
}

// sendEnd sends the last of a body, and its trailers.
func sendEnd(to stream, p []byte, trailers *wire.Head) error {
	if trailers.Len() == 0 {
		return to.send(p, true)
	}
	if err := to.send(p, false); err != nil {
		return err
	}
	return to.sendHead(0, trailers, -1, true)
}

// sendCreditMax is how long, in nanoseconds, a client may take nothing of a response, as with HTTP/1.1.
func (in *incoming) sendCreditMax() int64 { return readPatience(&in.limits, windowBytes) }
