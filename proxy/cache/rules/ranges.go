package rules

import (
	"bytes"
	"math"

	"sluice/proxy/wire"
)

// Range is a part of a body, both ends included.
type Range struct{ From, To int64 }

// RangeKind is how a request for a range is answered from a complete response.
type RangeKind uint8

const (
	RangeNone          RangeKind = iota // with the whole
	RangeOne                            // with 206 and the range
	RangeUnsatisfiable                  // with 416
)

// EvaluateRange reads Range and If-Range of a GET that a stored 200 with a body of that size would answer (RFC 9110 section 14.2). Several ranges, other
// units and what is not understood are answered with the whole. changed and date are the stored Last-Modified and Date, 0 if there is none.
func EvaluateRange(req *wire.Head, etag []byte, changed, date, size int64) (Range, RangeKind) {
	var value []byte
	for line := range req.Values("range") {
		if value != nil {
			return Range{}, RangeNone
		}
		value = line
	}
	if value == nil || !ifRange(req, etag, changed, date) {
		return Range{}, RangeNone
	}
	return parseRange(value, size)
}

// ifRange compares strongly (RFC 9110 section 13.1.5). A date is a strong validator if it lies long enough before the response for the origin not to have
// changed it again within the same second (section 8.8.2.2).
func ifRange(req *wire.Head, etag []byte, changed, date int64) bool {
	var value []byte
	for line := range req.Values("if-range") {
		if value != nil {
			return false
		}
		value = line
	}
	if value == nil {
		return true
	}
	if bytes.IndexByte(value, '"') >= 0 {
		return sameStrong(value, etag)
	}
	at, ok := ParseDate(value)
	return ok && changed != 0 && at == changed && date-changed >= strongAfter
}

const strongAfter = 60

// AskPart turns a request, without conditions of its own, into one for a part of a stored 200 (RFC 9110 section 14.2). It returns false if the
// origin cannot be asked so, because the stored one has no strong entity tag.
func AskPart(req *wire.Head, etag []byte, part Range) bool {
	if !sameStrong(etag, etag) {
		return false
	}
	var buf [64]byte
	b := append(wire.AppendUint(append(buf[:0], "bytes="...), uint64(part.From)), '-')
	req.Add("Range", wire.AppendUint(b, uint64(part.To)))
	req.Add("If-Range", etag)
	return true
}

// IsPart reports whether the head of a 206 says that its body is that part of a stored 200 of size bytes with that entity tag (RFC 9110
// section 15.3.7.3).
func IsPart(h *wire.Head, etag []byte, part Range, size int64) bool {
	var b [80]byte
	want := AppendContentRange(b[:0], part, RangeOne, size)
	return sameStrong(h.Get("etag"), etag) && bytes.Equal(h.Get("content-range"), want)
}

func parseRange(value []byte, size int64) (Range, RangeKind) {
	const unit = "bytes="
	if len(value) < len(unit) || !is(value[:len(unit)], unit) {
		return Range{}, RangeNone
	}
	var spec []byte
	for item := range wire.Items(value[len(unit):]) {
		if spec != nil {
			return Range{}, RangeNone
		}
		spec = item
	}
	hyphen := bytes.IndexByte(spec, '-')
	if hyphen < 0 {
		return Range{}, RangeNone
	}
	first, last := spec[:hyphen], spec[hyphen+1:]
	if len(first) == 0 {
		return suffix(last, size)
	}
	from, ok := parsePosition(first)
	if !ok {
		return Range{}, RangeNone
	}
	to := int64(math.MaxInt64)
	if len(last) > 0 {
		if to, ok = parsePosition(last); !ok || to < from {
			return Range{}, RangeNone
		}
	}
	if from >= size {
		return Range{}, RangeUnsatisfiable
	}
	return Range{from, min(to, size-1)}, RangeOne
}

// suffix is "the last n bytes". Of an empty body there are none to send, which 206 cannot say.
func suffix(digits []byte, size int64) (Range, RangeKind) {
	n, ok := parsePosition(digits)
	switch {
	case !ok:
		return Range{}, RangeNone
	case n == 0:
		return Range{}, RangeUnsatisfiable
	case size == 0:
		return Range{}, RangeNone
	}
	return Range{max(size-n, 0), size - 1}, RangeOne
}

// parsePosition takes what is too large to count for the largest position.
func parsePosition(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		d := int64(c - '0')
		if d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, true
}

// AppendContentRange appends the Content-Range of a 206, or of a 416 for which r does not count.
func AppendContentRange(dst []byte, r Range, k RangeKind, size int64) []byte {
	dst = append(dst, "bytes "...)
	if k == RangeOne {
		dst = wire.AppendUint(dst, uint64(r.From))
		dst = append(dst, '-')
		dst = wire.AppendUint(dst, uint64(r.To))
	} else {
		dst = append(dst, '*')
	}
	dst = append(dst, '/')
	return wire.AppendUint(dst, uint64(size))
}
