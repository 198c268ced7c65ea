package consumer

import (
	"bytes"
	"iter"

	"sluice/proxy"
	"sluice/proxy/wire"
)

var ampersand, semicolon, equals, space, cookieGap = []byte("&"), []byte(";"), []byte("="), []byte(" "), []byte("; ")

// cookies yields the name and value of every cookie of a request (RFC 6265 section 4.2.1).
func cookies(head *wire.Head) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for field := range head.ValuesKnown(wire.Cookie) {
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

// stripCookie takes the cookies of a name out of the request; the others stay.
func stripCookie(x *proxy.Exchange, name string) {
	head := &x.Request.Head
	rest := x.Scratch()
	for field := range head.ValuesKnown(wire.Cookie) {
		for len(field) > 0 {
			var pair []byte
			pair, field, _ = bytes.Cut(field, semicolon)
			pair = bytes.Trim(pair, " \t")
			if key, _, _ := bytes.Cut(pair, equals); len(pair) == 0 || string(key) == name {
				continue
			}
			if len(rest) > 0 {
				rest = append(rest, cookieGap...)
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
