package compress

import (
	"bytes"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// untrue are the fields that are no longer true of a compressed response: digests of what was (RFC 9530; Content-MD5 and Digest are
// what came before it), and that ranges of it can be had. Unencoded-Digest stays true.
var untrue = []string{"accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"}

// changeHead says that the body is in this coding. Content-Length is no field, but derives from the body.
func changeHead(x *proxy.Exchange, coding string) {
	r := &x.Response
	h := &r.Head
	for _, name := range untrue {
		h.Del(name)
	}
	r.Decided = append(r.Decided, untrue...) // digests may come as trailers as well
	h.AddString("Content-Encoding", coding)
	// The bytes are others than those that a strong validator vouches for; the meaning is the same.
	if tag := h.Get("etag"); tag != nil {
		if weak := weakened(x.Scratch(), tag); weak != nil {
			h.Set("ETag", weak)
		} else if !bytes.HasPrefix(tag, weakPrefix) {
			h.Del("etag")
		}
	}
}

var weakPrefix = []byte("W/")

// weakened appends the weak form of a strong entity tag, or returns nil if it is none (RFC 9110 section 8.8.3).
func weakened(dst, tag []byte) []byte {
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return nil
	}
	return append(append(dst, weakPrefix...), tag...)
}

// weakenKnown is for a client that asks whether what it has still holds, and names a tag that changeHead made. It must get to hear the
// same one: by a strong tag it would not find what it has (RFC 9111 section 4.3.4). Origins compare weakly, as they have to (RFC 9110
// section 13.1.2), so that they need not know.
func weakenKnown(x *proxy.Exchange) {
	h := &x.Response.Head
	weak := weakened(x.Scratch(), h.Get("etag"))
	if weak == nil {
		return
	}
	for value := range x.Request.Head.Values("if-none-match") {
		if bytes.Contains(value, weak) {
			h.Set("ETag", weak)
			varyByCoding(x)
			return
		}
	}
}

// varyByCoding says that the response depends on what the client accepts, to caches between here and there.
func varyByCoding(x *proxy.Exchange) {
	const name = "Accept-Encoding"
	h := &x.Response.Head
	all := x.Scratch()
	for value := range h.Values("vary") {
		for item := range wire.Items(value) {
			if wire.EqualFold(item, name) || wire.EqualFold(item, "*") {
				return
			}
			all = append(append(all, item...), ", "...)
		}
	}
	h.Set("Vary", append(all, name...))
}
