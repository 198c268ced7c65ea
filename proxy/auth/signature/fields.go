package signature

import (
	"bytes"
	"encoding/base64"
)

// kind is what a bare item is (RFC 9651 section 3.3).
type kind uint8

const (
	none kind = iota
	integer
	decimal
	text
	token
	binaryItem
	boolean
	date
)

// reader reads structured fields, strictly: what the grammar forbids fails, and so do names that stand there twice, of which one would
// silently count, and Display Strings. Whatever it reads it appends to a buffer in the one form that there is (section 4.1).
type reader struct {
	in []byte
	at int
}

func (r *reader) done() bool { return r.at == len(r.in) }

func (r *reader) next() byte {
	if r.at < len(r.in) {
		return r.in[r.at]
	}
	return 0 // which no field holds
}

func (r *reader) take(c byte) bool {
	if r.next() != c || r.done() {
		return false
	}
	r.at++
	return true
}

func (r *reader) spaces() {
	for r.next() == ' ' {
		r.at++
	}
}

func (r *reader) optionalSpace() {
	for r.next() == ' ' || r.next() == '\t' {
		r.at++
	}
}

// bare is an item without its parameters, and what stands there, without quotes or colons.
type bare struct {
	kind   kind
	value  []byte
	escape bool // something in text is escaped
	number int64
}

// item reads a bare item.
func (r *reader) item(dst []byte) ([]byte, bare, bool) {
	switch c := r.next(); {
	case c == '-' || isDigit(c):
		return r.number(dst)
	case c == '"':
		return r.text(dst)
	case c == '*' || isAlpha(c):
		begin := r.at
		for isTokenByte(r.next()) || r.next() == ':' || r.next() == '/' {
			r.at++
		}
		word := r.in[begin:r.at]
		return append(dst, word...), bare{kind: token, value: word}, true
	case c == ':':
		return r.binary(dst)
	case c == '?':
		r.at++
		switch r.next() {
		case '0', '1':
			r.at++
			return append(dst, '?', r.in[r.at-1]), bare{kind: boolean, number: int64(r.in[r.at-1] - '0')}, true
		}
	case c == '@':
		r.at++
		out, b, ok := r.number(append(dst, '@'))
		b.kind = date
		return out, b, ok && bytes.IndexByte(out[len(dst):], '.') < 0
	}
	return dst, bare{}, false
}

// number reads an integer of up to 15 digits, or a decimal of up to 12 and 3.
func (r *reader) number(dst []byte) ([]byte, bare, bool) {
	negative := r.take('-')
	whole := r.digits()
	if len(whole) == 0 || len(whole) > 15 {
		return dst, bare{}, false
	}
	var n int64
	for _, c := range whole {
		n = n*10 + int64(c-'0')
	}
	significant := bytes.TrimLeft(whole, "0")
	if len(significant) == 0 {
		significant = whole[:1]
	}
	if r.next() != '.' {
		if negative && n != 0 {
			dst, n = append(dst, '-'), -n
		}
		return append(dst, significant...), bare{kind: integer, number: n}, true
	}
	r.at++
	fraction := r.digits()
	if len(whole) > 12 || len(fraction) == 0 || len(fraction) > 3 {
		return dst, bare{}, false
	}
	fraction = bytes.TrimRight(fraction, "0")
	if negative && (n != 0 || len(fraction) > 0) {
		dst = append(dst, '-')
	}
	dst = append(append(dst, significant...), '.')
	if len(fraction) == 0 {
		return append(dst, '0'), bare{kind: decimal}, true
	}
	return append(dst, fraction...), bare{kind: decimal}, true
}

func (r *reader) digits() []byte {
	begin := r.at
	for isDigit(r.next()) {
		r.at++
	}
	return r.in[begin:r.at]
}

func (r *reader) text(dst []byte) ([]byte, bare, bool) {
	begin := r.at
	r.at++
	b := bare{kind: text}
	for !r.done() {
		switch c := r.next(); {
		case c == '"':
			b.value = r.in[begin+1 : r.at]
			r.at++
			return append(dst, r.in[begin:r.at]...), b, true
		case c == '\\':
			b.escape = true
			r.at++
			if c := r.next(); c != '"' && c != '\\' {
				return dst, bare{}, false
			}
		case c < ' ' || c > '~':
			return dst, bare{}, false
		}
		r.at++
	}
	return dst, bare{}, false
}

var strict = base64.StdEncoding.Strict()

// binary reads bytes in base64, of which there is one spelling. What it returns is that spelling.
func (r *reader) binary(dst []byte) ([]byte, bare, bool) {
	r.at++
	n := bytes.IndexByte(r.in[r.at:], ':')
	if n < 0 {
		return dst, bare{}, false
	}
	encoded := r.in[r.at : r.at+n]
	if !isBase64(encoded) {
		return dst, bare{}, false
	}
	dst = append(append(append(dst, ':'), encoded...), ':')
	r.at += n + 1
	return dst, bare{kind: binaryItem, value: encoded}, true
}

// isBase64 reports whether the text is base64 with padding, and with zeros where bits are left over.
func isBase64(s []byte) bool {
	if len(s)%4 != 0 {
		return false
	}
	if len(s) == 0 {
		return true
	}
	var last [3]byte
	if _, err := strict.Decode(last[:], s[len(s)-4:]); err != nil {
		return false
	}
	for _, c := range s[:len(s)-4] {
		if !isAlpha(c) && !isDigit(c) && c != '+' && c != '/' {
			return false
		}
	}
	// The decoder passes over line ends.
	return bytes.IndexByte(s[len(s)-4:], '\n') < 0 && bytes.IndexByte(s[len(s)-4:], '\r') < 0
}

// key reads the name of a parameter or of a member of a dictionary.
func (r *reader) key() ([]byte, bool) {
	begin := r.at
	if c := r.next(); c != '*' && !('a' <= c && c <= 'z') {
		return nil, false
	}
	for {
		c := r.next()
		if !('a' <= c && c <= 'z') && !isDigit(c) && c != '_' && c != '-' && c != '.' && c != '*' {
			return r.in[begin:r.at], true
		}
		r.at++
	}
}

// namesMax is how many parameters a thing, or how many members a dictionary may have.
const namesMax = 32

// names are those that were read already. There are so few that to compare each is the quickest.
type names struct {
	list [namesMax][]byte
	n    int
}

// add reports false for a name that is there, and if there are too many.
func (s *names) add(name []byte) bool {
	if s.n == len(s.list) {
		return false
	}
	for _, known := range s.list[:s.n] {
		if bytes.Equal(known, name) {
			return false
		}
	}
	s.list[s.n] = name
	s.n++
	return true
}

// parameter reads one, which begins with a semicolon. A parameter without a value is true.
func (r *reader) parameter(dst []byte) (out, name []byte, value bare, ok bool) {
	r.at++ // the semicolon
	r.spaces()
	if name, ok = r.key(); !ok {
		return dst, nil, bare{}, false
	}
	dst = append(append(dst, ';'), name...)
	if !r.take('=') {
		return dst, name, bare{kind: boolean, number: 1}, true
	}
	mark := len(dst)
	dst, value, ok = r.item(append(dst, '='))
	if ok && value.kind == boolean && value.number == 1 {
		dst = dst[:mark]
	}
	return dst, name, value, ok
}

func (r *reader) parameters(dst []byte) ([]byte, bool) {
	var seen names
	for r.next() == ';' {
		var name []byte
		var ok bool
		if dst, name, _, ok = r.parameter(dst); !ok || !seen.add(name) {
			return dst, false
		}
	}
	return dst, true
}

// fullItem reads an item with its parameters.
func (r *reader) fullItem(dst []byte) ([]byte, bool) {
	dst, _, ok := r.item(dst)
	if !ok {
		return dst, false
	}
	return r.parameters(dst)
}

// innerList reads items in parentheses, and what follows them.
func (r *reader) innerList(dst []byte) ([]byte, bool) {
	r.at++ // the parenthesis
	dst = append(dst, '(')
	for n := 0; ; n++ {
		begin := r.at
		r.spaces()
		if r.take(')') {
			return r.parameters(append(dst, ')'))
		}
		if n > 0 {
			if begin == r.at {
				return dst, false // there is nothing between two items
			}
			dst = append(dst, ' ')
		}
		var ok bool
		if dst, ok = r.fullItem(dst); !ok {
			return dst, false
		}
	}
}

func (r *reader) memberValue(dst []byte) ([]byte, bool) {
	if r.next() == '(' {
		return r.innerList(dst)
	}
	return r.fullItem(dst)
}

// member reads one of a dictionary, with what separates it from the next. What it appends is the value, without the key.
func (r *reader) member(dst []byte) (out, key, raw []byte, ok bool) {
	if key, ok = r.key(); !ok {
		return dst, nil, nil, false
	}
	begin := r.at
	if r.take('=') {
		begin = r.at
		dst, ok = r.memberValue(dst)
	} else {
		dst, ok = r.parameters(append(dst, "?1"...))
	}
	if !ok {
		return dst, nil, nil, false
	}
	return dst, key, r.in[begin:r.at], r.separator()
}

// separator reads what stands between two members; there is one behind it, unless the field ends.
func (r *reader) separator() bool {
	r.optionalSpace()
	if r.done() {
		return true
	}
	if !r.take(',') {
		return false
	}
	r.optionalSpace()
	return !r.done()
}

// shape is what a structured field is as a whole.
type shape uint8

const (
	isItem shape = iota + 1
	isList
	isDictionary
)

// shapes are those of fields of requests whose shape is known.
var shapes = map[string]shape{
	"content-digest": isDictionary, "repr-digest": isDictionary, "want-content-digest": isDictionary, "want-repr-digest": isDictionary,
	"signature": isDictionary, "signature-input": isDictionary, "accept-signature": isDictionary, "priority": isDictionary,
	"client-cert": isItem, "client-cert-chain": isList, "cache-status": isList, "proxy-status": isList,
}

// field appends a whole structured field in its one form.
func (r *reader) field(dst []byte, s shape) ([]byte, bool) {
	for r.next() == ' ' {
		r.at++
	}
	if s == isItem {
		dst, ok := r.fullItem(dst)
		r.spaces()
		return dst, ok && r.done()
	}
	var seen names
	for n := 0; !r.done(); n++ {
		if n > 0 {
			dst = append(dst, ", "...)
		}
		if s == isList {
			var ok bool
			if dst, ok = r.memberValue(dst); !ok || !r.separator() {
				return dst, false
			}
			continue
		}
		ahead := *r
		name, ok := ahead.key()
		if !ok || !seen.add(name) {
			return dst, false
		}
		dst = append(append(dst, name...), '=')
		value := len(dst)
		if dst, _, _, ok = r.member(dst); !ok {
			return dst, false
		}
		if rest := dst[value:]; bytes.HasPrefix(rest, []byte("?1")) { // "a=?1;b" is "a;b"
			dst = append(dst[:value-1], rest[2:]...)
		}
	}
	return dst, true
}

// memberOf appends the value of one member of a dictionary.
func (r *reader) memberOf(dst, key []byte) ([]byte, bool) {
	r.spaces()
	found := false
	var seen names
	for !r.done() {
		mark := len(dst)
		out, name, _, ok := r.member(dst)
		if !ok || !seen.add(name) {
			return dst, false
		}
		if bytes.Equal(name, key) {
			found, dst = true, out
		} else {
			dst = out[:mark]
		}
	}
	return dst, found
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isTokenByte(c byte) bool {
	return isAlpha(c) || isDigit(c) || c != 0 && bytes.IndexByte(tokenBytes, c) >= 0
}

var tokenBytes = []byte("!#$%&'*+-.^_`|~")
