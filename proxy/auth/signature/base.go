package signature

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unsafe"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// baseBytesMax is more than a request can sign whose head has the usual bounds, even if all of it is signed in several forms.
const baseBytesMax = 256 << 10

// appendBase appends what is signed (RFC 9421 section 2.5). It reports false if something of it is not in the request, or is not what it
// would have to be.
func appendBase(dst []byte, x *proxy.Exchange, in *input) ([]byte, bool) {
	for i := range in.n {
		dst = append(append(dst, in.id(i)...), ": "...)
		var ok bool
		if dst, ok = appendComponent(dst, x, &in.components[i]); !ok || len(dst) > baseBytesMax {
			return dst, false
		}
		dst = append(dst, '\n')
	}
	return append(append(dst, `"@signature-params": `...), in.text...), true
}

func appendComponent(dst []byte, x *proxy.Exchange, c *component) ([]byte, bool) {
	if c.name[0] != '@' {
		return appendField(dst, x, c)
	}
	path, query, hasQuery := bytes.Cut(x.Received.Origin, questionMark)
	switch string(c.name) {
	case "@method":
		return append(dst, x.Request.Method...), true
	case "@authority":
		return appendAuthority(dst, x), true
	case "@scheme":
		return append(dst, x.Request.Scheme...), true
	case "@request-target":
		return append(dst, x.Received.Target...), true
	case "@target-uri":
		dst = append(append(dst, x.Request.Scheme...), "://"...)
		return append(appendAuthority(dst, x), x.Received.Origin...), true
	case "@path":
		return append(dst, path...), true
	case "@query":
		return append(append(dst, '?'), query...), true
	}
	if !hasQuery {
		return dst, false
	}
	return appendParameter(dst, query, c.of)
}

var questionMark, ampersand, equals = []byte("?"), []byte("&"), []byte("=")

// appendAuthority appends the host in lower case, without the port that the scheme has anyway.
func appendAuthority(dst []byte, x *proxy.Exchange) []byte {
	host := x.Request.Host
	port := ":80"
	if x.Request.Scheme == "https" {
		port = ":443"
	}
	if rest, ok := cutSuffix(host, port); ok {
		host = rest
	}
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func cutSuffix(b []byte, suffix string) ([]byte, bool) {
	if n := len(b) - len(suffix); n >= 0 && string(b[n:]) == suffix {
		return b[:n], true
	}
	return b, false
}

// appendField appends a field (section 2.1).
func appendField(dst []byte, x *proxy.Exchange, c *component) ([]byte, bool) {
	mark := len(dst)
	dst, n := appendLines(dst, x, c)
	if n == 0 || c.form == plain || c.form == encoded {
		return dst, n > 0
	}
	// The lines as they are stand there; what is made of them goes behind, and then in their place.
	end := len(dst)
	r := reader{in: dst[mark:end:end]}
	var ok bool
	if c.form == member {
		dst, ok = r.memberOf(dst, c.of)
	} else {
		dst, ok = r.field(dst, shapes[string(c.name)])
	}
	made := copy(dst[mark:], dst[end:])
	return dst[:mark+made], ok
}

// appendLines appends the lines of a field, with commas between them, and returns how many there are.
func appendLines(dst []byte, x *proxy.Exchange, c *component) ([]byte, int) {
	n := 0
	add := func(value []byte) {
		if n++; n > 1 {
			dst = append(dst, ", "...)
		}
		value = bytes.Trim(value, " \t")
		if c.form != encoded {
			dst = append(dst, value...)
			return
		}
		dst = append(base64.StdEncoding.AppendEncode(append(dst, ':'), value), ':')
	}
	// What the gateway keeps apart from the head.
	switch string(c.name) {
	case "host":
		if len(x.Request.Host) > 0 {
			add(x.Request.Host)
		}
		return dst, n
	case "content-length":
		if size := x.Request.Body.Size(); size >= 0 && !x.Request.Head.HasKnown(wire.ContentLength) {
			var digits [20]byte
			add(strconv.AppendInt(digits[:0], size, 10))
			return dst, n
		}
	}
	for value := range x.Request.Head.Values(unsafe.String(unsafe.SliceData(c.name), len(c.name))) { // which keeps nothing of the name
		add(value)
	}
	return dst, n
}

// appendParameter appends the value of a parameter of the query (section 2.2.8): decoded as forms are, and encoded in one way. The name is
// encoded so, too. There has to be one of it.
func appendParameter(dst, query, name []byte) ([]byte, bool) {
	found := 0
	for rest := query; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, ampersand)
		if len(pair) == 0 {
			continue
		}
		key, value, _ := bytes.Cut(pair, equals)
		mark := len(dst)
		dst = appendRecoded(dst, key)
		same := bytes.Equal(dst[mark:], name)
		dst = dst[:mark]
		if !same {
			continue
		}
		if found++; found > 1 {
			return dst, false
		}
		dst = appendRecoded(dst, value)
	}
	return dst, found == 1
}

// appendRecoded decodes %XX and + and encodes what is no letter, digit or one of *-._ again.
func appendRecoded(dst, s []byte) []byte {
	const hexDigits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			c = byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		}
		if isAlpha(c) || isDigit(c) || c == '*' || c == '-' || c == '.' || c == '_' {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case isAlpha(c) && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
