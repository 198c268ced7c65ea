package proxy

import (
	"bytes"
	"errors"
	"iter"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"

	"sluice/proxy/wire"
)

// Header returns a request field for a routing predicate. The first of several fields of one name counts.
func (x *Exchange) Header(name string) ([]byte, bool) {
	if name == "Host" || name == "host" {
		return x.Request.Host, x.Request.Host != nil
	}
	v := x.Request.Head.Get(name)
	return v, v != nil
}

// HeaderOnce is Header for a field that stands there once; false if there is none or several: see QueryOnce.
func (x *Exchange) HeaderOnce(name string) ([]byte, bool) {
	if name == "Host" || name == "host" {
		return x.Request.Host, x.Request.Host != nil
	}
	return x.Request.Head.Once(name)
}

// Query returns the first value of a query parameter, decoded. It is valid until the exchange finishes.
func (x *Exchange) Query(name string) ([]byte, bool) {
	value, ok := x.rawQuery(name)
	if ok && needsUnescape(value) {
		value = x.KeepScratch(AppendUnescaped(x.Scratch(), value))
	}
	return value, ok
}

// rawQuery returns the first value of a query parameter as it was sent.
func (x *Exchange) rawQuery(name string) ([]byte, bool) {
	for q := x.Request.Query; len(q) > 0; {
		pair := q
		if i := bytes.IndexByte(q, '&'); i >= 0 {
			pair, q = q[:i], q[i+1:]
		} else {
			q = nil
		}
		if key, value, _ := bytes.Cut(pair, equals); UnescapesTo(key, name) {
			return value, true
		}
	}
	return nil, false
}

var equals = []byte("=")

// QueryOnce returns the value of a query parameter that stands there once, decoded; false if there is none or several. Which of several
// counts, and whether a semicolon ends one, servers disagree about: who counts by a value must not count by another one than the origin reads.
func (x *Exchange) QueryOnce(name string) (value []byte, ok bool) {
	for q := x.Request.Query; len(q) > 0; {
		pair := q
		if i := bytes.IndexAny(q, "&;"); i >= 0 {
			pair, q = q[:i], q[i+1:]
		} else {
			q = nil
		}
		key, of, _ := bytes.Cut(pair, equals)
		if !UnescapesTo(key, name) {
			continue
		}
		if ok {
			return nil, false
		}
		value, ok = of, true
	}
	if ok && needsUnescape(value) {
		value = x.KeepScratch(AppendUnescaped(x.Scratch(), value))
	}
	return value, ok
}

func needsUnescape(b []byte) bool {
	return bytes.IndexByte(b, '%') >= 0 || bytes.IndexByte(b, '+') >= 0
}

// UnescapesTo compares a query parameter's name, which is rarely escaped.
func UnescapesTo(b []byte, s string) bool {
	if !needsUnescape(b) {
		return string(b) == s
	}
	i := 0
	for len(b) > 0 {
		c, n := unescapeByte(b)
		if i == len(s) || s[i] != c {
			return false
		}
		b = b[n:]
		i++
	}
	return i == len(s)
}

// AppendUnescaped appends a part of a query, decoded.
func AppendUnescaped(dst, b []byte) []byte {
	for len(b) > 0 {
		c, n := unescapeByte(b)
		dst = append(dst, c)
		b = b[n:]
	}
	return dst
}

// unescapeByte decodes %XX and "+". A broken escape stays as it is: the origin sees the same bytes.
func unescapeByte(b []byte) (byte, int) {
	switch {
	case b[0] == '+':
		return ' ', 1
	case b[0] == '%' && len(b) > 2 && unhex(b[1]) < 16 && unhex(b[2]) < 16:
		return unhex(b[1])<<4 | unhex(b[2]), 3
	}
	return b[0], 1
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// Cookie returns the value of the first request cookie called name (RFC 6265 section 5.4: names are case-sensitive).
func (x *Exchange) Cookie(name string) ([]byte, bool) {
	for field := range x.Request.Head.ValuesKnown(wire.Cookie) {
		for len(field) > 0 {
			pair := field
			if i := bytes.IndexByte(field, ';'); i >= 0 {
				pair, field = field[:i], field[i+1:]
			} else {
				field = nil
			}
			pair = bytes.Trim(pair, " \t")
			if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
				value := pair[len(name)+1:]
				if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				return value, true
			}
		}
	}
	return nil, false
}

// Cookies yields the name and value of every request cookie, as Cookie has them.
func (x *Exchange) Cookies() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for field := range x.Request.Head.ValuesKnown(wire.Cookie) {
			for len(field) > 0 {
				var pair []byte
				pair, field, _ = bytes.Cut(field, semicolon)
				name, value, _ := bytes.Cut(bytes.Trim(pair, " \t"), equals)
				if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				if len(name) > 0 && !yield(name, value) {
					return
				}
			}
		}
	}
}

// CookiePairs returns every request cookie called name, with its name and as it was sent. Which of several counts, whether quotes belong
// to a value and blanks to a name, servers disagree about: whoever must tell apart what an origin may tell apart looks at all of it.
func (x *Exchange) CookiePairs(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for field := range x.Request.Head.ValuesKnown(wire.Cookie) {
			for pair := range bytes.SplitSeq(field, semicolon) {
				pair = bytes.Trim(pair, " \t")
				key, _, _ := bytes.Cut(pair, equals)
				if string(bytes.TrimRight(key, " \t")) == name && !yield(pair) {
					return
				}
			}
		}
	}
}

// CookieOnce is Cookie for a name that stands there once; false if there is none or several, in whichever form: see QueryOnce.
func (x *Exchange) CookieOnce(name string) ([]byte, bool) {
	n := 0
	for range x.CookiePairs(name) {
		n++
	}
	if n != 1 {
		return nil, false
	}
	return x.Cookie(name)
}

var semicolon = []byte(";")

// StripCookie takes the cookies of a name out of the request, for credentials that the origin is not to see; the others stay.
func (x *Exchange) StripCookie(name string) { x.stripCookies(name, false) }

// StripCookieFamily is StripCookie for what is kept in several cookies: name, and those whose names begin with it and a dot.
func (x *Exchange) StripCookieFamily(name string) { x.stripCookies(name, true) }

func (x *Exchange) stripCookies(name string, family bool) {
	head := &x.Request.Head
	rest := x.Scratch()
	for field := range head.ValuesKnown(wire.Cookie) {
		for len(field) > 0 {
			var pair []byte
			pair, field, _ = bytes.Cut(field, semicolon)
			pair = bytes.Trim(pair, " \t")
			key, _, _ := bytes.Cut(pair, equals)
			if len(pair) == 0 || string(key) == name || family && len(key) > len(name) && key[len(name)] == '.' && string(key[:len(name)]) == name {
				continue
			}
			if len(rest) > 0 {
				rest = append(rest, "; "...)
			}
			rest = append(rest, pair...)
		}
	}
	rest = x.KeepScratch(rest)
	head.DelKnown(wire.Cookie.Bit())
	if len(rest) > 0 {
		head.AddKnown(wire.Cookie, rest) // it was received, and holds no control bytes
	}
	x.Request.Decided = append(x.Request.Decided, "Cookie")
}

// JSONBodyMax bounds how much of a request body is read ahead for a predicate on a JSON field.
const JSONBodyMax = 64 << 10

// jsonCache remembers the parsed body while several routes are asked about it.
type jsonCache struct {
	tried  bool
	value  *fastjson.Value
	parser *fastjson.Parser
	err    error // of reading the body; the request is refused with it
}

var jsonParsers fastjson.ParserPool

func (j *jsonCache) reset() {
	if j.parser != nil {
		jsonParsers.Put(j.parser)
	}
	*j = jsonCache{}
}

// JSON returns a field of the JSON request body by its dotted path: a string's content, or the JSON text of any other
// value. A body that is no JSON, is longer than JSONBodyMax or has another content type has no fields.
func (x *Exchange) JSON(path string) ([]byte, bool) {
	j := &x.jsonState
	if !j.tried {
		j.tried = true
		x.parseJSON()
	}
	v := j.value
	for v != nil && path != "" {
		key := path
		if i := indexDot(path); i >= 0 {
			key, path = path[:i], path[i+1:]
		} else {
			path = ""
		}
		if v = member(v, key); v == ambiguous {
			j.err = ErrBadBody.With(errTwice)
			return nil, false
		}
	}
	if v == nil {
		return nil, false
	}
	if v.Type() == fastjson.TypeString {
		return v.GetStringBytes(), true
	}
	return x.KeepScratch(v.MarshalTo(x.Scratch())), true
}

// member returns a member of an object or an element of an array, nil if there is none. Parsers disagree about a key that
// stands in an object twice: what is judged must be what the origin reads, so such a body is refused.
func member(v *fastjson.Value, key string) *fastjson.Value {
	if v.Type() != fastjson.TypeObject {
		return v.Get(key)
	}
	var found *fastjson.Value
	v.GetObject().Visit(func(k []byte, value *fastjson.Value) {
		switch {
		case string(k) != key:
		case found == nil:
			found = value
		default:
			found = ambiguous
		}
	})
	return found
}

var ambiguous = new(fastjson.Value)

var errTwice = errors.New("a key that decides about the route stands in the body twice")

func indexDot(s string) int {
	for i := range len(s) {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}

func (x *Exchange) parseJSON() {
	j := &x.jsonState
	mime := x.Request.Head.GetKnown(wire.ContentType)
	if !isJSON(mime) || x.Request.Body.Size() > JSONBodyMax {
		return
	}
	var body []byte
	if body, j.err = x.Peek(&x.Request.Body, JSONBodyMax+1); j.err != nil || len(body) > JSONBodyMax {
		return
	}
	j.parser = jsonParsers.Get()
	// Not JSON: it has no fields, and the route without that predicate may still take it.
	j.value, _ = j.parser.ParseBytes(body)
}

// isJSON reports a media type with "json" in it. Case means nothing in a media type (RFC 9110 section 8.3.1): a predicate
// must see what the origin will see.
func isJSON(mime []byte) bool {
	for ; len(mime) >= 4; mime = mime[1:] {
		if wire.EqualFold(mime[:4], "json") {
			return true
		}
	}
	return false
}

// BodyError is why the body could not be read when a predicate asked for it.
func (x *Exchange) BodyError() error { return x.jsonState.err }

// StatusText returns the standard reason phrase.
func StatusText(status int) string {
	// fasthttp has the phrases of RFC 2616 for some.
	switch status {
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 422:
		return "Unprocessable Content"
	case 499:
		return "Client Closed Request" // nobody's standard, but everybody's log
	}
	return fasthttp.StatusMessage(status)
}
