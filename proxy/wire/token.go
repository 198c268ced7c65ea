package wire

import (
	"encoding/binary"
	"iter"
)

// tokenByte marks the bytes of a token (RFC 9110 section 5.6.2): methods and field names.
var tokenByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return
}()

// IsToken reports whether s is a token of RFC 9110, as a method or a field name has to be.
func IsToken[S string | []byte](s S) bool {
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// clean reports whether b holds no control byte but the tab. Eight bytes at a time: heads are mostly text, and
// this check runs over each of their bytes.
func clean(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		d := w ^ 0x7f7f7f7f7f7f7f7f
		if (w-0x20*ones)&^w&highs|(d-ones)&^d&highs != 0 && !cleanSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return cleanSlow(b)
}

func cleanSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trimOWS removes optional white space at both ends.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// Items yields the elements of a comma-separated list without quoted strings (Connection, Via, TE), white space
// trimmed and empty elements left out.
func Items(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			item := b
			if i := indexByte(b, ','); i >= 0 {
				item, b = b[:i], b[i+1:]
			} else {
				b = nil
			}
			if item = trimOWS(item); len(item) > 0 && !yield(item) {
				return
			}
		}
	}
}

// AppendUint appends n in decimal.
func AppendUint(dst []byte, n uint64) []byte {
	if n < 10 {
		return append(dst, byte('0'+n))
	}
	var digits [20]byte
	i := len(digits)
	for n >= 10 {
		i -= 2
		pair := n % 100 * 2
		digits[i], digits[i+1] = pairs[pair], pairs[pair+1]
		n /= 100
	}
	if n > 0 {
		i--
		digits[i] = byte('0' + n)
	}
	return append(dst, digits[i:]...)
}

// pairs are the numbers of two digits: to take two at a time halves the divisions.
const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
