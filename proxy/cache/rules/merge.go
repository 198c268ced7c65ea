package rules

import "sluice/proxy/wire"

// Merge fills dst with the head of a stored response as a newer one updates it, a 304 or the answer to a HEAD (RFC 9111 section 3.2): what the newer one says
// replaces what was said, but for the fields that describe the stored body. The Age of old does not outlive the update. What a cache does not
// store of a response is to be taken out of the newer one before, Set-Cookie say. The order is that of old, then what is new.
func Merge(dst, stored, fresh *wire.Head) {
	for name, value := range stored.All() {
		if describesBody(name) || !is(name, "age") && !fresh.Has(text(name)) {
			dst.Add(text(name), value)
		}
	}
	for name, value := range fresh.All() {
		if !describesBody(name) {
			dst.Add(text(name), value)
		}
	}
}

// describesBody lists the fields that belong to the body as it was stored; a 304 has none, and some origins describe that.
func describesBody(name []byte) bool {
	switch len(name) {
	case 12:
		return is(name, "content-type")
	case 13:
		return is(name, "content-range")
	case 14:
		return is(name, "content-length")
	case 16:
		return is(name, "content-encoding")
	}
	return false
}
