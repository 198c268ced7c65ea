package consumer

import (
	"bytes"
	"iter"

	"sluice/proxy/wire"
)

var ampersand, semicolon, equals, space = []byte("&"), []byte(";"), []byte("="), []byte(" ")

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
