package rules

import (
	"bytes"

	"sluice/proxy/wire"
)

// Invalidates says that what is stored for a URL does not count any more, because a request with such a method had such an answer (RFC 9111 section 4.4): the
// method is not known to be safe, and the answer is no error. What Location and Content-Location name goes, too, if SameOrigin says so.
func Invalidates(method string, status int) bool {
	return !safe(method) && 200 <= status && status < 400
}

// safe knows the safe methods that there are (RFC 9110 section 9.2.1; QUERY and those of WebDAV may be, but a cache that is not sure invalidates).
func safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// SameOrigin returns path and query of a URL that a response names, if it is one of the origin that the request was for; host may have a port. The path is
// as the response has it, not normalised. A path that is relative to the request's is not resolved: a cache may leave such URLs alone.
func SameOrigin(location []byte, scheme string, host []byte) (pathAndQuery []byte, ok bool) {
	if i := bytes.IndexByte(location, '#'); i >= 0 {
		location = location[:i]
	}
	rest := location
	if len(rest) > 0 && rest[0] != '/' {
		i := bytes.Index(rest, []byte("://"))
		if i < 0 || !is(rest[:i], scheme) {
			return nil, false
		}
		rest = rest[i+1:]
	}
	if !bytes.HasPrefix(rest, []byte("//")) {
		return rest, len(rest) > 0
	}
	rest = rest[2:]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	if !sameAuthority(authority, host, scheme) {
		return nil, false
	}
	switch rest = rest[end:]; {
	case len(rest) == 0:
		return root, true
	case rest[0] == '?':
		return nil, false
	}
	return rest, true
}

var root = []byte("/")

func sameAuthority(a, b []byte, scheme string) bool {
	hostA, portA := wire.SplitHostPort(a)
	hostB, portB := wire.SplitHostPort(b)
	return len(hostA) > 0 && is(hostA, text(hostB)) && portOf(portA, scheme) == portOf(portB, scheme)
}

func portOf(port []byte, scheme string) string {
	switch {
	case len(port) > 0:
		return text(port)
	case scheme == "https":
		return "443"
	}
	return "80"
}
