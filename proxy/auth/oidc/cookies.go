package oidc

import (
	"bytes"
	"strconv"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// attributes of all cookies: for this host alone, over https alone, not for scripts, and not with what other sites make browsers send, but
// for links that somebody follows.
const attributes = "; Path=/; Secure; HttpOnly; SameSite=Lax"

// names are those of the cookies of a policy. A session may take several: NAME, NAME.1 and so on.
type names struct {
	base   string
	chunks [chunksMax]string
	try    string // what the cookie of an attempt begins with
}

func newNames(base string) names {
	n := names{base: base, try: base + ".try-"}
	for i := range n.chunks {
		n.chunks[i] = base
		if i > 0 {
			n.chunks[i] += "." + strconv.Itoa(i)
		}
	}
	return n
}

// found is what a request has of them.
type found struct {
	chunks [chunksMax][]byte
	twice  bool // a chunk is there twice: somebody has added one
	some   bool // there is any cookie of the policy, which the service does not get
}

// find looks at all cookies of a request once. Nothing is allocated.
func (n *names) find(x *proxy.Exchange) (f found) {
	for field := range x.Request.Head.ValuesKnown(wire.Cookie) {
		for len(field) > 0 {
			var pair []byte
			pair, field, _ = bytes.Cut(field, semicolon)
			name, value, _ := bytes.Cut(bytes.Trim(pair, " \t"), equals)
			if !n.own(name) {
				continue
			}
			f.some = true
			for i := range n.chunks {
				if string(name) == n.chunks[i] {
					f.twice = f.twice || f.chunks[i] != nil
					f.chunks[i] = value
				}
			}
		}
	}
	return f
}

var semicolon, equals = []byte(";"), []byte("=")

// own reports whether a cookie is one of the policy: NAME, or NAME. and anything.
func (n *names) own(name []byte) bool {
	return len(name) >= len(n.base) && string(name[:len(n.base)]) == n.base && (len(name) == len(n.base) || name[len(n.base)] == '.')
}

// session returns the parts of a sealed session, and how many there are; 0: there is none. The first part begins with their number, so
// that what is left of an older and longer session does not count.
func (f *found) session() (parts [chunksMax][]byte, n int) {
	if f.twice || len(f.chunks[0]) == 0 {
		return parts, 0
	}
	n = int(f.chunks[0][0]) - '0'
	if n < 1 || n > chunksMax {
		return parts, 0
	}
	parts = f.chunks
	parts[0] = parts[0][1:]
	for _, p := range parts[:n] {
		if len(p) == 0 || len(p) > chunkBytesMax {
			return parts, 0
		}
	}
	return parts, n
}

// setSession makes the fields that let a browser keep a sealed session, and forget what it has beyond that.
func (n *names) setSession(sealed []byte, has *found) []string {
	count := (1 + len(sealed) + chunkBytesMax - 1) / chunkBytesMax
	text := strconv.Itoa(count) + string(sealed)
	var fields []string
	for i := range count {
		part := text[:min(len(text), chunkBytesMax)]
		text = text[len(part):]
		fields = append(fields, n.chunks[i]+"="+part+attributes)
	}
	for i := count; i < chunksMax; i++ {
		if has.chunks[i] != nil {
			fields = append(fields, expired(n.chunks[i]))
		}
	}
	return fields
}

// endSession makes the fields that let a browser forget its session.
func (n *names) endSession(has *found) []string {
	var fields []string
	for i, name := range n.chunks {
		if has.chunks[i] != nil {
			fields = append(fields, expired(name))
		}
	}
	return fields
}

func expired(name string) string { return name + "=; Max-Age=0" + attributes }

// attempts lists the cookies of attempts that the browser has, in its order: the oldest first (RFC 6265 section 5.4).
func (n *names) attempts(x *proxy.Exchange) []string {
	var list []string
	for field := range x.Request.Head.ValuesKnown(wire.Cookie) {
		for pair := range bytes.SplitSeq(field, semicolon) {
			name, _, _ := bytes.Cut(bytes.Trim(pair, " \t"), equals)
			if strings.HasPrefix(string(name), n.try) {
				list = append(list, string(name))
			}
		}
	}
	return list
}

// setter adds cookies to the response, whatever that becomes.
type setter struct{ fields []string }

func set(x *proxy.Exchange, fields []string) {
	if len(fields) > 0 {
		x.OnHead(&setter{fields})
	}
}

// EditHead implements proxy.HeadEditor. A response with the cookie of somebody is nobody else's.
func (s *setter) EditHead(x *proxy.Exchange) {
	for _, f := range s.fields {
		x.Response.Head.AddString("Set-Cookie", f)
	}
	x.Response.Head.AddString("Cache-Control", "private")
}
