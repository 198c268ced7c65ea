package server

import "sluice/proxy/wire/frames"

// ended is what is known of streams that are no more, so that a frame on one of them can be judged (RFC 9113 section 5.1): after our
// reset a client may not know yet, and what it has sent meanwhile is passed over; after its own end of the stream, or its own
// reset, it must not send a request's frames. Bounded: a connection on which too much has happened is judged leniently.
type ended struct {
	cut     map[uint32]bool // we have reset them, or nobody looks at them
	skipped []span          // ids that no stream has had
	lenient bool
}

type span struct{ from, to uint32 }

// cutMax and skippedMax bound what is remembered for a connection, some kilobytes at most.
const (
	cutMax     = 256
	skippedMax = 16
)

// reset notes that we have reset a stream, or do not look at it.
func (e *ended) reset(id uint32) {
	switch {
	case e.lenient:
	case len(e.cut) >= cutMax:
		e.cut, e.skipped, e.lenient = nil, nil, true
	case e.cut == nil:
		e.cut = map[uint32]bool{id: true}
	default:
		e.cut[id] = true
	}
}

// opens notes that a stream was opened after last, by which all lower ones are closed (section 5.1.1).
func (e *ended) opens(last, id uint32) {
	if e.lenient || id <= last+2 && (last > 0 || id == 1) {
		return
	}
	if len(e.skipped) >= skippedMax {
		e.cut, e.skipped, e.lenient = nil, nil, true
		return
	}
	e.skipped = append(e.skipped, span{last + 1, id - 1})
}

// judge says what DATA or HEADERS on a stream that there is not any more are: nil, if the client may not know, or a
// connection error.
func (e *ended) judge(id uint32) error {
	if e.lenient || e.cut[id] {
		return nil
	}
	for _, s := range e.skipped {
		if s.from <= id && id <= s.to {
			return frames.ErrProtocol
		}
	}
	return frames.ErrClosed
}
