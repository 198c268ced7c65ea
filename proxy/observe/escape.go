package observe

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	// valueMax is how many bytes of one value are logged: a whole request target at the default limit.
	valueMax = 8 << 10
	// lineMax bounds a line, but for the format's own text: values are cut when it comes near.
	lineMax = 64 << 10
	// expansionMax is what escaping makes of one byte at most: \u00XX.
	expansionMax = 6
)

// appendText appends v as it may stand inside a JSON string. What could begin another line, in a terminal or a
// log processor either, is escaped: C0 and C1 controls, DEL, the line and paragraph separators. Invalid UTF-8
// becomes U+FFFD. So the outcome is valid JSON and UTF-8, and one line, whatever v is.
func appendText[V string | []byte](dst []byte, v V) []byte {
	v, mark := cut(dst, v)
	return append(appendEscaped(dst, v), mark...)
}

// cut shortens v to what the line has room for, and returns what to write after it.
func cut[V string | []byte](line []byte, v V) (V, string) {
	room := min(valueMax, max(0, lineMax-len(line))/expansionMax)
	if len(v) <= room {
		return v, ""
	}
	return v[:room], "..."
}

func appendEscaped[V string | []byte](dst []byte, v V) []byte {
	const hex = "0123456789abcdef"
	plain := 0 // where the run begins that needs no escape
	for i := 0; ; {
		for len(v)-i >= 8 && plainWord(word(v[i:])) {
			i += 8
		}
		for i < len(v) && plainByte[v[i]] {
			i++
		}
		dst = append(dst, v[plain:i]...)
		if i == len(v) {
			return dst
		}
		c := v[i]
		size := 1
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < utf8.RuneSelf:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(string(v[i:min(i+utf8.UTFMax, len(v))]))
			if r < 0xA0 || r == 0x2028 || r == 0x2029 {
				dst = append(dst, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			} else {
				dst = utf8.AppendRune(dst, r) // U+FFFD for what is none
			}
		}
		i += size
		plain = i
	}
}

// copyPlain copies v to dst if all of it stands for itself in a JSON string, and reports whether it does. It looks at the bytes
// where it has them anyway.
func copyPlain(dst []byte, v string) bool {
	if len(v) < 8 {
		for i := range len(v) {
			if !plainByte[v[i]] {
				return false
			}
			dst[i] = v[i]
		}
		return true
	}
	for i := 0; i <= len(v)-8; i += 8 {
		w := word(v[i:])
		if !plainWord(w) {
			return false
		}
		binary.LittleEndian.PutUint64(dst[i:], w)
	}
	// The last bytes, together with some that were there before.
	w := word(v[len(v)-8:])
	binary.LittleEndian.PutUint64(dst[len(v)-8:], w)
	return plainWord(w)
}

// word returns the first eight bytes of v, the first one lowest.
func word[V string | []byte](v V) uint64 {
	_ = v[7]
	return uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16 | uint64(v[3])<<24 |
		uint64(v[4])<<32 | uint64(v[5])<<40 | uint64(v[6])<<48 | uint64(v[7])<<56
}

// plainWord reports whether plainByte holds for all of eight bytes. It looks at them at once: each term sets the highest bit of a
// byte for which it does not hold. A carry into the next byte comes from such a byte alone.
func plainWord(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	bad := w | // no ASCII
		(w + ones) | // DEL
		((w ^ 2*ones) - '!'*ones) | // controls, and the quote, which the bit makes a space
		((w ^ '\\'*ones) - ones) // the backslash
	return bad&highs == 0
}

// plainByte marks the ASCII that stands for itself in a JSON string.
var plainByte = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return
}()
