package wire

// This file is for heads that come decoded, field by field, and not as lines: those of HTTP/2 and HTTP/3. What it refuses is what a
// scan refuses, so that a request is judged alike whichever protocol carried it.

// The refusals of fields that no line could have carried.
var (
	ErrFieldValue      = &Refusal{400, "bad_field_value", "A header value begins or ends with white space."}
	ErrConnectionField = &Refusal{400, "connection_field", "A header field is about the connection, which HTTP/2 and HTTP/3 do not allow."}
)

// connectionFields make a message of HTTP/2 or HTTP/3 malformed (RFC 9113 section 8.2.2, RFC 9114 section 4.2). TE may say "trailers".
const connectionFields = 1<<Connection | 1<<KeepAlive | 1<<ProxyConnection | 1<<TransferEncoding | 1<<Upgrade

// Receive appends a field of a decoded head, and takes down in m what it decides, as a scan of its line would have done. The
// name must be in lower case (RFC 9113 section 8.2.1, RFC 9114 section 4.2). A Refusal leaves the head as it was. The bytes are copied.
func (h *Head) Receive(name, value string, m *Message) error {
	if len(name) > 0xffff || !lowerToken(name) {
		return ErrFieldName
	}
	start := len(h.added)
	h.added = append(append(h.added, name...), ": "...)
	valueStart := len(h.added)
	h.added = append(append(h.added, value...), '\r', '\n')
	valueEnd := valueStart + len(value)
	v := h.added[valueStart:valueEnd:valueEnd]
	k := identify(h.added[start : start+len(name)])
	var err error
	switch {
	case !clean(v):
		err = ErrControl
	case len(trimOWS(v)) < len(v):
		err = ErrFieldValue
	case connectionFields&(1<<k) != 0, k == TE && !equalFoldString(v, "trailers"):
		err = ErrConnectionField
	case decides&(1<<k) != 0:
		err = m.note(k, v, h)
	}
	if err != nil {
		h.added = h.added[:start]
		return err
	}
	h.seen |= 1 << k
	h.fields = append(h.fields, field{
		start: uint32(start), end: uint32(len(h.added)), valueStart: uint32(valueStart), valueEnd: uint32(valueEnd),
		nameLen: uint16(len(name)), known: k, flags: flagAdded,
	})
	return nil
}

// ReceiveTrailer is Receive for a field of a trailer section. ErrBadTrailer is its only refusal, also of fields that may not
// stand in trailers.
func (h *Head) ReceiveTrailer(name, value string) error {
	var m Message
	m.Reset()
	if h.Receive(name, value, &m) != nil {
		return ErrBadTrailer
	}
	last := len(h.fields) - 1
	if uint64(1)<<h.fields[last].known&forbiddenInTrailers != 0 {
		h.added = h.added[:h.fields[last].start]
		h.fields = h.fields[:last]
		return ErrBadTrailer
	}
	return nil
}

// Receive takes method and target of a decoded request, as strictly as a scan of its line.
func (m *Message) Receive(method, target []byte, lim *Limits) error {
	if len(method) > methodBytesMax || !IsToken(method) || len(target) == 0 {
		return ErrRequestLine
	}
	m.Method, m.Target, m.Minor = method, target, 1
	return checkTarget(target, lim)
}

func lowerToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !tokenByte[c] || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return len(s) > 0
}
