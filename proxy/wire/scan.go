package wire

import (
	"bytes"
)

// Refusal is why a head is not one that the gateway speaks about to anybody. It is a constant: refusing costs
// no allocation.
type Refusal struct {
	Status int    // what a server answers: 400, 414, 431, 501 or 505
	Code   string // stable, for machines
	Detail string // for people
}

func (r *Refusal) Error() string { return r.Detail }

// The refusals of a scan.
var (
	ErrRequestLine       = &Refusal{400, "bad_request_line", "The request line is not METHOD SP target SP HTTP/1.x."}
	ErrTarget            = &Refusal{400, "bad_target", "The request target is not one of the forms of RFC 9112."}
	ErrStatusLine        = &Refusal{502, "bad_status_line", "The status line is not HTTP/1.x SP three digits SP reason."}
	ErrVersion           = &Refusal{505, "version_not_supported", "The protocol version is neither HTTP/1.1 nor HTTP/1.0."}
	ErrBareLF            = &Refusal{400, "bare_lf", "A line ends in LF without CR."}
	ErrControl           = &Refusal{400, "control_byte", "A control byte stands in the head."}
	ErrFold              = &Refusal{400, "obs_fold", "A header line is folded."}
	ErrFieldName         = &Refusal{400, "bad_field_name", "A header name is not a token directly followed by a colon."}
	ErrHost              = &Refusal{400, "bad_host", "The Host field is missing, repeated or not a host."}
	ErrContentLength     = &Refusal{400, "bad_content_length", "Content-Length is repeated or not a plain decimal number."}
	ErrTransferEncoding  = &Refusal{400, "bad_transfer_encoding", "Transfer-Encoding is repeated or not just chunked."}
	ErrBothFramings      = &Refusal{400, "two_framings", "Both Content-Length and Transfer-Encoding are given."}
	ErrTransferEncoding0 = &Refusal{400, "transfer_encoding_in_http10", "Transfer-Encoding in an HTTP/1.0 message."}
	ErrConnection        = &Refusal{400, "bad_connection", "Connection names more options than anybody has."}
	ErrTooManyFields     = &Refusal{431, "too_many_headers", "The head has more fields than the limit allows."}
	ErrHeadTooLarge      = &Refusal{431, "headers_too_large", "The head has more bytes than the limit allows."}
	ErrTargetTooLong     = &Refusal{414, "uri_too_long", "The request target is longer than the limit allows."}
	ErrBadChunk          = &Refusal{400, "bad_chunk", "The chunked coding of the body is broken."}
	ErrBadTrailer        = &Refusal{400, "bad_trailer", "A trailer field is broken or not allowed in a trailer."}
)

// Limits bound a head. All are inclusive.
type Limits struct {
	HeadBytes   int // request or status line and all fields with their line ends
	TargetBytes int
	Fields      int
}

// Message is what a scan of a head finds, beside the fields themselves.
type Message struct {
	// Of a request. They lie in the scanned buffer.
	Method, Target []byte
	// Of a response.
	Status int
	Reason []byte

	Minor         int   // 1 for HTTP/1.1, 0 for HTTP/1.0
	ContentLength int64 // -1 if the field is absent
	Chunked       bool
	Close         bool // Connection: close was asked for
	KeepAlive     bool // Connection: keep-alive was asked for
	Upgrade       bool // Connection: upgrade was asked for
	Options       bool // Connection names further fields, see DropHopByHop

	// Progress of a scan that waits for more bytes.
	next    int // where the next line begins
	lines   int // where the field lines begin
	first   bool
	bytes   int // length of the head when complete
	options int // named by Connection
	recall  *Recall
}

// Reset prepares m for the next message.
func (m *Message) Reset() { *m = Message{ContentLength: -1, recall: m.recall} }

// Begun reports that a scan has read the first line.
func (m *Message) Begun() bool { return m.first }

// Bytes is the length of the scanned head with its final empty line.
func (m *Message) Bytes() int { return m.bytes }

// ScanRequest reads a request head from the start of buf into m and h, strictly by RFC 9112: what it accepts has
// one reading. It returns true when the head is complete and false when more bytes are needed; it then goes on
// from where it stopped when called again with a longer buf that begins with the same bytes. A Refusal is final.
// h borrows buf. m must have been Reset and h be empty at the first call.
func ScanRequest(buf []byte, lim *Limits, m *Message, h *Head) (bool, error) {
	if !m.first {
		// One empty line before a request line is let pass (RFC 9112 section 2.2) by whoever fills buf.
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			return false, checkPartialRequestLine(buf, lim)
		}
		if err := scanRequestLine(buf[:end], lim, m); err != nil {
			return false, err
		}
		m.next, m.lines, m.first = end+1, end+1, true
	} else {
		// The buffer may have moved.
		line := buf[:bytes.IndexByte(buf, '\n')]
		if err := scanRequestLine(line, lim, m); err != nil {
			return false, err
		}
	}
	done, err := scanFields(buf, lim, m, h)
	if !done || err != nil {
		return false, err
	}
	if err := checkRequest(m, h); err != nil {
		return false, err
	}
	return true, nil
}

// ScanResponse is ScanRequest for a response head. Its refusals mean that the origin cannot be understood.
func ScanResponse(buf []byte, lim *Limits, m *Message, h *Head) (bool, error) {
	if !m.first {
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			if len(buf) > lim.HeadBytes {
				return false, ErrHeadTooLarge
			}
			return false, nil
		}
		if err := scanStatusLine(buf[:end], m); err != nil {
			return false, err
		}
		m.next, m.lines, m.first = end+1, end+1, true
	} else if err := scanStatusLine(buf[:bytes.IndexByte(buf, '\n')], m); err != nil {
		return false, err
	}
	done, err := scanFields(buf, lim, m, h)
	if !done || err != nil {
		return false, err
	}
	return true, checkFraming(m, h)
}

const methodBytesMax = 32

func scanRequestLine(line []byte, lim *Limits, m *Message) error {
	if len(line) == 0 || line[len(line)-1] != '\r' {
		return ErrBareLF
	}
	line = line[:len(line)-1]
	i := 0
	for i < len(line) && tokenByte[line[i]] {
		i++
	}
	if i == 0 || i > methodBytesMax || i == len(line) || line[i] != ' ' {
		return ErrRequestLine
	}
	m.Method = line[:i:i]
	rest := line[i+1:]
	end := bytes.IndexByte(rest, ' ')
	if end <= 0 {
		return ErrRequestLine
	}
	m.Target = rest[:end:end]
	version := rest[end+1:]
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || version[5]-'0' > 9 || version[7]-'0' > 9 {
		return ErrRequestLine
	}
	if version[5] != '1' || version[7] > '1' {
		return ErrVersion
	}
	m.Minor = int(version[7] - '0')
	return checkTarget(m.Target, lim)
}

func checkTarget(target []byte, lim *Limits) error {
	if len(target) > lim.TargetBytes {
		return ErrTargetTooLong
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c == '#' || c == '\\' {
			return ErrTarget
		}
	}
	return nil
}

// checkPartialRequestLine refuses what can no longer become a request line, so that a client that sends an
// endless one, or another protocol, hears of it at once.
func checkPartialRequestLine(buf []byte, lim *Limits) error {
	i := 0
	for i < len(buf) && tokenByte[buf[i]] {
		i++
	}
	if i > methodBytesMax || i < len(buf) && (i == 0 || buf[i] != ' ') {
		return ErrRequestLine
	}
	if len(buf) > i+1+lim.TargetBytes+len(" HTTP/1.1\r") {
		return ErrTargetTooLong
	}
	return nil
}

func scanStatusLine(line []byte, m *Message) error {
	if len(line) == 0 || line[len(line)-1] != '\r' {
		return ErrBareLF
	}
	line = line[:len(line)-1]
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7]-'0' > 1 || line[8] != ' ' {
		return ErrStatusLine
	}
	d0, d1, d2 := line[9]-'0', line[10]-'0', line[11]-'0'
	if d0 < 1 || d0 > 9 || d1 > 9 || d2 > 9 || len(line) > 12 && line[12] != ' ' || !clean(line) {
		return ErrStatusLine
	}
	m.Minor = int(line[7] - '0')
	m.Status = int(d0)*100 + int(d1)*10 + int(d2)
	m.Reason = nil
	if len(line) > 13 {
		m.Reason = line[13:]
	}
	return nil
}

// scanFields reads field lines from m.next on until the empty line.
func scanFields(buf []byte, lim *Limits, m *Message, h *Head) (bool, error) {
	h.block = buf
	if m.recall != nil && m.next == m.lines {
		if err := m.recall.apply(buf, lim, m, h); err != nil {
			return false, err
		}
	}
	for {
		pos := m.next
		end := bytes.IndexByte(buf[pos:], '\n')
		if end < 0 {
			if len(buf) > lim.HeadBytes {
				return false, ErrHeadTooLarge
			}
			return false, nil
		}
		line := buf[pos : pos+end]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return false, ErrBareLF
		}
		line = line[:len(line)-1]
		m.next = pos + end + 1
		if m.next > lim.HeadBytes {
			return false, ErrHeadTooLarge
		}
		if len(line) == 0 {
			m.bytes = m.next
			h.block = buf[:m.bytes:m.bytes]
			if m.recall != nil {
				m.recall.keep(buf, m.lines, pos, h)
			}
			return true, nil
		}
		if len(h.fields) >= lim.Fields {
			return false, ErrTooManyFields
		}
		if err := scanField(line, pos, m, h); err != nil {
			return false, err
		}
	}
}

func scanField(line []byte, pos int, m *Message, h *Head) error {
	i := 0
	for i < len(line) && tokenByte[line[i]] {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' || i > 0xffff {
		if line[0] == ' ' || line[0] == '\t' {
			return ErrFold
		}
		if !clean(line) {
			return ErrControl
		}
		return ErrFieldName
	}
	if !clean(line[i+1:]) {
		return ErrControl
	}
	valueStart, valueEnd := i+1, len(line)
	for valueStart < valueEnd && (line[valueStart] == ' ' || line[valueStart] == '\t') {
		valueStart++
	}
	for valueEnd > valueStart && (line[valueEnd-1] == ' ' || line[valueEnd-1] == '\t') {
		valueEnd--
	}
	k := identify(line[:i])
	if decides&(1<<k) != 0 {
		if err := m.note(k, line[valueStart:valueEnd], h); err != nil {
			return err
		}
	}
	h.seen |= 1 << k
	h.fields = append(h.fields, field{
		start: uint32(pos), end: uint32(pos + len(line) + 2),
		valueStart: uint32(pos + valueStart), valueEnd: uint32(pos + valueEnd),
		nameLen: uint16(i), known: k,
	})
	return nil
}

// decides is the mask of fields whose values decide how the message is read.
const decides = 1<<ContentLength | 1<<TransferEncoding | 1<<Connection | 1<<Host

// note takes down what such a field says.
func (m *Message) note(k Known, value []byte, h *Head) error {
	switch k {
	case ContentLength:
		n, ok := parseLength(value)
		if !ok || m.ContentLength >= 0 {
			return ErrContentLength
		}
		m.ContentLength = n
	case TransferEncoding:
		if m.Chunked || !equalFoldString(value, "chunked") {
			return ErrTransferEncoding
		}
		m.Chunked = true
	case Connection:
		if !scanConnection(value, m) {
			return ErrConnection
		}
	case Host:
		if h.seen&(1<<Host) != 0 {
			return ErrHost
		}
	}
	return nil
}

// optionsMax bounds what Connection may name: each name is looked for among all fields.
const optionsMax = 32

func scanConnection(value []byte, m *Message) bool {
	for option := range Items(value) {
		if m.options++; m.options > optionsMax {
			return false
		}
		switch {
		case equalFoldString(option, "close"):
			m.Close = true
		case equalFoldString(option, "keep-alive"):
			m.KeepAlive = true
		case equalFoldString(option, "upgrade"):
			m.Upgrade = true
		default:
			m.Options = true
		}
	}
	return true
}

func checkRequest(m *Message, h *Head) error {
	if err := checkFraming(m, h); err != nil {
		return err
	}
	host := h.GetKnown(Host)
	if host == nil {
		if m.Minor == 0 {
			return nil // HTTP/1.0 clients may not know it
		}
		return ErrHost
	}
	if !validHost(host) {
		return ErrHost
	}
	return nil
}

func checkFraming(m *Message, h *Head) error {
	if !m.Chunked {
		return nil
	}
	if m.ContentLength >= 0 {
		return ErrBothFramings
	}
	if m.Minor == 0 {
		return ErrTransferEncoding0
	}
	return nil
}

// parseLength reads digits only: no sign, no list, no white space inside, at most 18 digits.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	return n, true
}

// ValidHost reports whether b is uri-host [":" port] without userinfo (RFC 9110 section 7.2), and not empty.
func ValidHost(b []byte) bool { return validHost(b) }

func validHost(b []byte) bool {
	host, port := SplitHostPort(b)
	if len(host) == 0 || len(port) > 5 {
		return false
	}
	number := 0
	for _, c := range port {
		if c-'0' > 9 {
			return false
		}
		number = number*10 + int(c-'0')
	}
	if number > 65535 {
		return false
	}
	if len(port) == 0 && len(host) != len(b) {
		return false // "host:" with an empty port: legal, but two readings of it exist
	}
	if host[0] == '[' {
		if len(host) < 4 || host[len(host)-1] != ']' {
			return false
		}
		for _, c := range host[1 : len(host)-1] {
			if !(c-'0' <= 9 || c|0x20-'a' <= 5 || c == ':' || c == '.') {
				return false
			}
		}
		return true
	}
	for _, c := range host {
		if !hostByte[c] {
			return false
		}
	}
	return true
}

// hostByte marks what a reg-name is made of in practice: letters, digits, "-", ".", "_" and the rest of the
// unreserved set. Percent escapes and sub-delims are legal in the grammar and used by nobody but attackers.
var hostByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = true, true
	}
	t['-'], t['.'], t['_'], t['~'] = true, true, true, true
	return
}()

// SplitHostPort cuts the port off a host. An IPv6 literal keeps its brackets.
func SplitHostPort(b []byte) (host, port []byte) {
	i := bytes.LastIndexByte(b, ':')
	if i < 0 || bytes.IndexByte(b[i:], ']') >= 0 {
		return b, nil
	}
	return b[:i], b[i+1:]
}

func indexByte(b []byte, c byte) int { return bytes.IndexByte(b, c) }

// DropHopByHop removes the fields that belong to the connection they came over, those that Connection names
// included (RFC 9110 section 7.6.1), and the framing fields. Fields that a proxy decides upon may not be named
// away by a client: such an option is ignored.
func DropHopByHop(m *Message, h *Head) {
	if m.Options {
		dropNamed(h)
	}
	h.DelKnown(HopByHop)
}

func dropNamed(h *Head) {
	const kept = 1<<Host | 1<<XForwardedFor | 1<<XForwardedHost | 1<<XForwardedProto | 1<<Forwarded | 1<<Via |
		1<<XRequestID | 1<<Authorization | 1<<Cookie | 1<<SetCookie | 1<<ContentType | 1<<Date | 1<<Expect
	for value := range h.ValuesKnown(Connection) {
		for option := range Items(value) {
			if uint64(1)<<identify(option)&kept == 0 && !equalFoldString(option, "cache-control") {
				h.DelFold(option)
			}
		}
	}
}
