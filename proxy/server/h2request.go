package server

import (
	"bytes"

	"sluice/proxy"
	"sluice/proxy/wire"
)

var errAuthority = &wire.Refusal{Status: 400, Code: "bad_host", Detail: "The fields :authority and Host name different hosts."}

// proto2 is HTTP/2 in logs and metrics, via2 in Via (RFC 9110 section 7.6.3).
const (
	proto2 = "HTTP/2.0"
	via2   = "2.0 sluice"
)

// judge looks at a head that is complete, as checkRequest does at one of HTTP/1.1: at what makes a message malformed. ends says
// that no body follows.
func (st *h2stream) judge(ends bool) error {
	p := &st.pseudo
	st.declared = st.message.ContentLength
	switch {
	case p.method == "CONNECT":
		if !p.seen[2] || p.seen[1] || p.seen[3] { // section 8.5
			return errPseudo
		}
	case !p.seen[0] || !p.seen[1] || !p.seen[3]:
		return errPseudo
	}
	if ends && st.declared > 0 {
		return errLength
	}
	return nil
}

// fillRequest turns the decoded head into the exchange's request, as h1 does. After it, what is matched, judged and sent is one
// message.
func (st *h2stream) fillRequest(x *proxy.Exchange, settings *Settings) error {
	r, p, m := &x.Request, &st.pseudo, &st.message
	lim := wire.Limits{TargetBytes: st.limits.TargetBytes}
	method := x.KeepScratch(append(x.Scratch(), p.method...))
	target := x.KeepScratch(append(x.Scratch(), p.path...))
	x.Received = proxy.Received{Method: method, Target: target, Minor: 1, Proto: proto2}
	if p.method == "CONNECT" {
		r.Method = "CONNECT"
		return errConnectMethod
	}
	if err := m.Receive(method, target, &lim); err != nil {
		return err
	}
	r.Method = methodString(method)
	r.Scheme = st.c.scheme
	if !wire.EqualFold([]byte(p.scheme), "http") && !wire.EqualFold([]byte(p.scheme), "https") {
		return wire.ErrTarget
	}
	if target[0] != '/' && !(r.Method == "OPTIONS" && len(target) == 1 && target[0] == '*') {
		return wire.ErrTarget
	}
	if err := st.fillHost(x); err != nil {
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
	st.fillBody(x)
	r.TakesTrailers = takesTrailers(&r.Head)
	wire.DropHopByHop(m, &r.Head)
	r.Head.DelKnown(wire.Host.Bit() | wire.Expect.Bit())
	identify(x, settings, st.c.peerText, via2)
	return nil
}

// fillHost takes the host from :authority, or from Host where that is all there is (section 8.3.1). If both are there they have
// to agree: whatever looks at the other one later on would judge another request.
func (st *h2stream) fillHost(x *proxy.Exchange) error {
	host := x.Request.Head.GetKnown(wire.Host)
	if st.pseudo.seen[2] {
		authority := x.KeepScratch(append(x.Scratch(), st.pseudo.authority...))
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

// fillBody makes the body what has arrived of it, if that is all, else a flow.
func (st *h2stream) fillBody(x *proxy.Exchange) {
	c, r := st.c, &x.Request
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.ended && st.body.Len() == 0 && !st.trailers:
		return
	case st.ended && st.failed == nil && !st.trailers:
		if b, n := st.body.Detach(); b != nil {
			x.Hold(b)
			r.Body.SetWhole(b.B[:n])
			st.taken = int64(n)
			c.giveBack(st.taken)
			return
		}
	}
	r.Body.SetFlow(nil, st, st.declared)
	if r.Head.HasKnown(wire.Expect) && st.arrived == 0 && !st.ended {
		r.ExpectContinue = true
		st.expecting = true
	}
}
