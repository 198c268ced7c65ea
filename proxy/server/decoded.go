package server

import (
	"bytes"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// This file is for requests whose heads come decoded, field by field, and not as lines: those of HTTP/2 and HTTP/3. What makes
// a message malformed is the same for both (RFC 9113 section 8, RFC 9114 section 4).

// incoming is a request whose head is arriving, or has arrived.
type incoming struct {
	limits   proxy.Limits
	pseudo   pseudo
	message  wire.Message
	declared int64 // length of the body; -1: not known
	refusal  error // what is wrong with the head
}

func (in *incoming) reset(limits *proxy.Limits) {
	in.limits, in.declared = *limits, -1
	in.message.Reset()
}

// The malformed requests (RFC 9113 section 8.1.1, RFC 9114 section 4.1.2): their streams are reset.
var (
	errPseudo = &wire.Refusal{Status: 400, Code: "bad_pseudo_header",
		Detail: "The pseudo-header fields are not those of a request, each of them once and before all other fields."}
	errLength = &wire.Refusal{Status: 400, Code: "bad_content_length", Detail: "Content-Length is not the length of the body."}
)

// resets reports whether a request that is refused for this reason gets a reset for an answer.
func resets(err error) bool {
	return err == errPseudo || err == errLength || err == wire.ErrConnectionField
}

// section is a block of fields: a head, or trailers.
type section struct {
	trailers bool
	decoded  int // bytes, counted as a head of HTTP/1.1 has them
	fields   int
	regular  bool // a field that is no pseudo-header was there
	cookie   bool // a Cookie was there: it may come in crumbs (RFC 9113 section 8.2.3), which count as one field
	limits   proxy.Limits
}

// take takes a field of a head.
func (s *section) take(name, value string, in *incoming, head *wire.Head) error {
	if err := s.count(name, value); err != nil {
		return err
	}
	if len(name) > 0 && name[0] == ':' {
		return in.pseudo.take(name, value)
	}
	return head.Receive(name, value, &in.message)
}

// takeTrailer takes a field of a trailer section.
func (s *section) takeTrailer(name, value string, trailer *wire.Head) error {
	if err := s.count(name, value); err != nil {
		return err
	}
	return trailer.ReceiveTrailer(name, value)
}

// count holds the section to its limits, and pseudo-headers to their place.
func (s *section) count(name, value string) error {
	s.decoded += len(name) + len(value) + len(": \r\n")
	if s.decoded > s.limits.HeadBytes {
		return wire.ErrHeadTooLarge
	}
	if len(name) > 0 && name[0] == ':' {
		if s.regular || s.trailers {
			return errPseudo
		}
		return nil
	}
	s.regular = true
	if !s.cookie || name != "cookie" {
		s.fields++
	}
	s.cookie = s.cookie || name == "cookie"
	if s.fields > s.limits.Fields {
		return wire.ErrTooManyFields
	}
	return nil
}

// pseudo are the pseudo-header fields of a request (RFC 9113 section 8.3.1, RFC 9114 section 4.3.1).
type pseudo struct {
	method, scheme, authority, path string
	seen                            [4]bool
}

func (p *pseudo) take(name, value string) error {
	var to *string
	i := 0
	switch name {
	case ":method":
		to = &p.method
	case ":scheme":
		to, i = &p.scheme, 1
	case ":authority":
		to, i = &p.authority, 2
	case ":path":
		to, i = &p.path, 3
	default:
		return errPseudo
	}
	if p.seen[i] {
		return errPseudo
	}
	*to, p.seen[i] = value, true
	return nil
}

var errAuthority = &wire.Refusal{Status: 400, Code: "bad_host", Detail: "The fields :authority and Host name different hosts."}

// version is how a protocol is called: in logs and metrics, and in Via (RFC 9110 section 7.6.3).
type version struct{ proto, via string }

var (
	version2 = &version{"HTTP/2.0", "2.0 sluice"}
	version3 = &version{"HTTP/3.0", "3.0 sluice"}
)

// judge looks at a head that is complete, as checkRequest does at one of HTTP/1.1: at what makes a message malformed. ends says
// that no body follows.
func (in *incoming) judge(ends bool) error {
	p := &in.pseudo
	in.declared = in.message.ContentLength
	switch {
	case p.method == "CONNECT":
		if !p.seen[2] || p.seen[1] || p.seen[3] { // section 8.5
			return errPseudo
		}
	case !p.seen[0] || !p.seen[1] || !p.seen[3]:
		return errPseudo
	}
	if ends && in.declared > 0 {
		return errLength
	}
	return nil
}

// fillRequest turns the decoded head into the exchange's request, as h1 does; body fills in the body. After it, what is matched,
// judged and sent is one message.
func (in *incoming) fillRequest(x *proxy.Exchange, settings *settings, v *version, scheme string, peer []byte, body func(x *proxy.Exchange)) error {
	r, p, m := &x.Request, &in.pseudo, &in.message
	lim := wire.Limits{TargetBytes: in.limits.TargetBytes}
	method := x.KeepScratch(append(x.Scratch(), p.method...))
	target := x.KeepScratch(append(x.Scratch(), p.path...))
	x.Received = proxy.Received{Method: method, Target: target, Origin: target, Minor: 1, Proto: v.proto}
	if p.method == "CONNECT" {
		r.Method = "CONNECT"
		return errConnectMethod
	}
	if err := m.Receive(method, target, &lim); err != nil {
		return err
	}
	r.Method = methodString(method)
	r.Scheme = scheme
	if !wire.EqualFold([]byte(p.scheme), "http") && !wire.EqualFold([]byte(p.scheme), "https") {
		return wire.ErrTarget
	}
	if target[0] != '/' && !(r.Method == "OPTIONS" && len(target) == 1 && target[0] == '*') {
		return wire.ErrTarget
	}
	if err := in.fillHost(x); err != nil {
		return err
	}
	r.Path, r.Query, r.HasQuery = target, nil, false
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		r.Path, r.Query, r.HasQuery = target[:i], target[i+1:], true
	}
	if expect := r.Head.GetKnown(wire.Expect); expect != nil && !wire.EqualFold(expect, "100-continue") {
		return errExpectation
	}
	joinCookies(x)
	body(x)
	r.TakesTrailers = takesTrailers(&r.Head)
	wire.DropHopByHop(m, &r.Head)
	r.Head.DelKnown(wire.Host.Bit() | wire.Expect.Bit())
	identify(x, settings, peer, v.via)
	return nil
}

// fillHost takes the host from :authority, or from Host where that is all there is (RFC 9113 section 8.3.1). If both are there
// they have to agree: whatever looks at the other one later on would judge another request.
func (in *incoming) fillHost(x *proxy.Exchange) error {
	host := x.Request.Head.GetKnown(wire.Host)
	if in.pseudo.seen[2] {
		authority := x.KeepScratch(append(x.Scratch(), in.pseudo.authority...))
		if host != nil && !bytes.EqualFold(host, authority) {
			return errAuthority
		}
		host = authority
	}
	if !wire.ValidHost(host) {
		return wire.ErrHost
	}
	x.Request.Host = lowerHost(x, host)
	return nil
}

// joinCookies makes one field of the crumbs that Cookie may come in (RFC 9113 section 8.2.3).
func joinCookies(x *proxy.Exchange) {
	h := &x.Request.Head
	if h.CountKnown(wire.Cookie) < 2 {
		return
	}
	var all []byte
	for crumb := range h.ValuesKnown(wire.Cookie) {
		if len(all) > 0 {
			all = append(all, "; "...)
		}
		all = append(all, crumb...)
	}
	h.Set("Cookie", all)
}
