package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
)

// digestMatches reports whether a body is what a Content-Digest says (RFC 9530 section 2): all of the digests that are understood, and there
// has to be one. junk is memory for what is read.
func digestMatches(field, body, junk []byte) bool {
	r := reader{in: field}
	r.spaces()
	checked := 0
	var seen names
	for !r.done() {
		_, name, raw, ok := r.member(junk[:0])
		if !ok || !seen.add(name) {
			return false
		}
		var want [sha512.Size]byte
		switch string(name) {
		case "sha-256":
			sum := sha256.Sum256(body)
			if !decodeBinary(want[:sha256.Size], raw) || subtle.ConstantTimeCompare(sum[:], want[:sha256.Size]) != 1 {
				return false
			}
			checked++
		case "sha-512":
			sum := sha512.Sum512(body)
			if !decodeBinary(want[:], raw) || subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
				return false
			}
			checked++
		}
	}
	return checked > 0
}

// decodeBinary reads a byte sequence that is as long as dst.
func decodeBinary(dst, raw []byte) bool {
	n := len(raw)
	if n < 2 || raw[0] != ':' || raw[n-1] != ':' || strict.EncodedLen(len(dst)) != n-2 {
		return false
	}
	got, err := strict.Decode(dst, raw[1:n-1])
	return err == nil && got == len(dst)
}
