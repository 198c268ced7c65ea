package transcode

import (
	"encoding/binary"
	"io"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// answer is the flow of an answer: the messages of the service as they come, then its trailers as one more frame. An answer that breaks
// off must never look like one that has ended well: after a whole message the frame says what has happened, and in the middle of one
// there is none, but an error, so that the edge cuts the response short. Clients that do not notice such a cut are why the frame
// is there.
type answer struct {
	x        *proxy.Exchange
	messages proxy.Body
	frames   frames
	told     bool   // the head has a status
	last     []byte // the frame of the trailers, as far as nobody has read it
	ended    bool
}

func (a *answer) Read(p []byte) (int, error) {
	if !a.ended {
		n, err := a.messages.Read(p)
		if !a.frames.pass(p[:n]) {
			return 0, errFrames
		}
		switch {
		case err == nil:
			return n, nil
		case !a.frames.between() && err == io.EOF:
			return n, errFrames.With(io.ErrUnexpectedEOF)
		case err == io.EOF:
			a.end()
		case !a.frames.between() || a.x.Canceled() != nil:
			return n, err
		default:
			a.breakOff(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if len(a.last) == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.last)
	a.last = a.last[n:]
	return n, nil
}

var errFrames = &proxy.Error{
	Status: 502, Code: "upstream_messages", Detail: "The origin's answer does not consist of messages of gRPC.", Side: proxy.ByUpstream, GRPC: 13,
}

// end makes the last frame. Its length is bounded by that of trailers.
func (a *answer) end() {
	a.ended = true
	r := &a.x.Response
	trailers := proxy.FinalTrailers(&r.Trailers, r.Decided)
	if known := a.told || trailers.Has("grpc-status"); !known {
		a.say(trailers, errNoStatus)
	} else if trailers.Len() > 0 {
		a.say(trailers, nil)
	}
	r.Trailers.Reset() // they are in the body now
}

var errNoStatus = &proxy.Error{Status: 502, Code: "upstream_no_status", Detail: "The origin ended the call without a status.", Side: proxy.ByUpstream, GRPC: 2}

// breakOff makes the last frame of an answer that has none.
func (a *answer) breakOff(err error) {
	a.ended, a.x.Aborted = true, true
	if a.x.ErrCause == nil {
		a.x.ErrCause = err
	}
	a.say(new(wire.Head), proxy.AsError(err))
}

// say makes the last frame: the trailers, and what went wrong if they do not say it.
func (a *answer) say(trailers *wire.Head, wrong *proxy.Error) {
	a.last = appendTrailers(nil, trailers)
	if wrong != nil {
		a.last = append(a.last, "grpc-status: "...)
		a.last = wire.AppendUint(a.last, uint64(wrong.GRPCStatus()))
		a.last = append(a.last, "\r\ngrpc-message: "...)
		a.last = append(a.x.AppendGRPCMessage(a.last, wrong), "\r\n"...)
	}
	binary.BigEndian.PutUint32(a.last[1:frameHead], uint32(len(a.last)-frameHead))
}

const (
	frameHead    = 5
	flagTrailers = 0x80
)

// appendTrailers appends the frame of trailers, its length still to be filled in. Their names are in lower case; their values have no
// control bytes, which nobody gets into a wire.Head.
func appendTrailers(dst []byte, trailers *wire.Head) []byte {
	dst = append(dst, flagTrailers, 0, 0, 0, 0)
	for name, value := range trailers.All() {
		for _, c := range name {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
		}
		dst = append(append(dst, ": "...), value...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// Buffered is how much can be read without waiting; at the end 1, since Read can say so.
func (a *answer) Buffered() int {
	switch {
	case len(a.last) > 0:
		return len(a.last)
	case a.ended:
		return 1
	}
	return a.messages.Buffered()
}

func (a *answer) Close() error { return a.messages.Close() }

// frames follows the messages of a call: a byte of flags, four of length, then so much. What claims to be another kind of frame would be
// taken for the trailers by clients of gRPC-Web.
type frames struct {
	head [frameHead]byte
	have int    // of head
	left uint32 // of the message
}

// pass takes bytes that go by, and reports false for what is no message.
func (f *frames) pass(p []byte) bool {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(len(p), int(min(f.left, 1<<30)))
			f.left -= uint32(n)
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:], p)
		f.have += n
		p = p[n:]
		if f.head[0] > 1 {
			return false
		}
		if f.have == frameHead {
			f.have, f.left = 0, binary.BigEndian.Uint32(f.head[1:])
		}
	}
	return true
}

// between reports that no message has begun that has not ended.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }
