package router

import (
	"bytes"
	"errors"
)

// What NormalizePath refuses. Each deserves a 400.
var (
	ErrPathRelative  = errors.New("path does not begin with a slash")
	ErrPathControl   = errors.New("path contains a control character, raw or escaped")
	ErrPathBackslash = errors.New("path contains a backslash, raw or escaped")
	ErrPathDelimiter = errors.New("path contains a space, a question mark or a number sign that is not escaped")
	ErrPathEscape    = errors.New("path contains a percent sign that two hexadecimal digits do not follow")
)

// NormalizePath brings the path of a request (without its query) into the one form
// in which it is matched and sent on:
//
//   - Dot segments are resolved, also when written %2e, never above the root
//     (RFC 3986 section 5.2.4).
//   - Escapes of unreserved characters are decoded; of all others only the digits
//     are put in upper case (sections 6.2.2.1 and 6.2.2.2). So %2F stays an ordinary
//     part of its segment, and %2541 stays what it is.
//   - Empty segments and raw bytes from 0x80 on stay.
//
// It returns raw itself if there is nothing to change; otherwise it appends to dst,
// which must not overlap raw, and returns what it appended. The error is one of the
// ErrPath values; nothing is allocated but what dst lacks. Normalising twice changes
// nothing more.
func NormalizePath(dst, raw []byte) ([]byte, error) {
	if len(raw) == 0 || raw[0] != '/' {
		return nil, ErrPathRelative
	}
	if isNormal(raw) {
		return raw, nil
	}
	return appendNormalPath(dst, raw)
}

// isNormal reports whether the path, which begins with a slash, is already normal.
// Nearly every path is.
func isNormal(path []byte) bool {
	for i, c := range path {
		switch byteClasses[c] {
		case plain:
		case dot:
			if path[i-1] == '/' && beginsWithDotSegment(path[i:]) {
				return false
			}
		case percent:
			if !beginsWithNormalEscape(path[i:]) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func beginsWithDotSegment(path []byte) bool {
	n := 1
	if len(path) > 1 && path[1] == '.' {
		n = 2
	}
	return len(path) == n || path[n] == '/'
}

func beginsWithNormalEscape(path []byte) bool {
	if len(path) < 3 || path[1] >= 'a' || path[2] >= 'a' {
		return false
	}
	c, ok := unhex(path[1], path[2])
	return ok && escapeStays(c)
}

func appendNormalPath(dst, raw []byte) ([]byte, error) {
	base := len(dst)
	for i := 0; i < len(raw); {
		start := len(dst) // raw[i] is a slash: here begins a segment
		dst = append(dst, '/')
		i++
		for i < len(raw) && raw[i] != '/' {
			var err error
			if dst, i, err = appendNormal(dst, raw, i); err != nil {
				return nil, err
			}
		}
		switch string(dst[start+1:]) {
		case ".":
			dst = dst[:start]
		case "..":
			dst = dst[:base+max(0, bytes.LastIndexByte(dst[base:start], '/'))]
		default:
			continue
		}
		if i == len(raw) {
			dst = append(dst, '/') // "/a/." and "/a/b/.." name the directory
		}
	}
	return dst[base:], nil
}

// appendNormal appends the normal form of the byte or escape at raw[i] and returns
// where the next one begins.
func appendNormal(dst, raw []byte, i int) ([]byte, int, error) {
	c := raw[i]
	switch byteClasses[c] {
	case control:
		return nil, 0, ErrPathControl
	case backslash:
		return nil, 0, ErrPathBackslash
	case delimiter:
		return nil, 0, ErrPathDelimiter
	case percent:
		return appendNormalEscape(dst, raw, i)
	}
	return append(dst, c), i + 1, nil
}

func appendNormalEscape(dst, raw []byte, i int) ([]byte, int, error) {
	if len(raw)-i < 3 {
		return nil, 0, ErrPathEscape
	}
	c, ok := unhex(raw[i+1], raw[i+2])
	switch {
	case !ok:
		return nil, 0, ErrPathEscape
	case byteClasses[c] == control:
		return nil, 0, ErrPathControl
	case byteClasses[c] == backslash:
		return nil, 0, ErrPathBackslash
	case escapeStays(c):
		return append(dst, '%', upperHex[c>>4], upperHex[c&15]), i + 3, nil
	}
	return append(dst, c), i + 3, nil
}

// escapeStays reports whether the escaped form of c is its normal form: c is neither
// unreserved (RFC 3986 section 2.3) nor forbidden.
func escapeStays(c byte) bool {
	if byteClasses[c] == control || byteClasses[c] == backslash {
		return false
	}
	return !isAlphanumeric(c) && c != '-' && c != '.' && c != '_' && c != '~'
}

// byteClass is what NormalizePath has to do about a byte.
type byteClass uint8

const (
	plain byteClass = iota
	dot
	percent
	control
	backslash
	delimiter
)

var byteClasses = func() (classes [256]byteClass) {
	for c := range 0x20 {
		classes[c] = control
	}
	classes[0x7f] = control
	classes['\\'] = backslash
	classes[' '] = delimiter
	classes['?'] = delimiter
	classes['#'] = delimiter
	classes['%'] = percent
	classes['.'] = dot
	return classes
}()

const upperHex = "0123456789ABCDEF"

func unhex(high, low byte) (c byte, ok bool) {
	h, ok1 := hexDigit(high)
	l, ok2 := hexDigit(low)
	return h<<4 | l, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
