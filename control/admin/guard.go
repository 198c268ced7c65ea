package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// admit decides whether a request may come in at all. Health checks (public) need no token: a balancer has none, and
// they say no more than that the process lives.
//
// A browser on this machine can reach a loopback address on behalf of any page it shows. Two checks stand against
// that, on every path: a page of another site sends its Origin, and a name that was made to point here (DNS
// rebinding) stands in Host.
func (s *Server) admit(ctx *fasthttp.RequestCtx, public bool) (problem, bool) {
	o := s.options.Load()
	_, local := ctx.LocalAddr().(*net.UnixAddr) // no browser connects to a socket file, and any Host will do
	if !local && (!o.knowsHost(ctx.Request.Header.Host()) || !o.knowsHost(ctx.Host())) {
		return problem{Status: 403, Code: "foreign_host", Detail: "The Host is not this listener's: use its IP address, localhost or its configured name."}, false
	}
	for _, origin := range ctx.Request.Header.PeekAll("Origin") {
		if !sameOrigin(origin, ctx.Host()) {
			return problem{Status: 403, Code: "foreign_origin", Detail: "Pages of other sites have no access."}, false
		}
	}
	if site := string(ctx.Request.Header.Peek("Sec-Fetch-Site")); site == "cross-site" || site == "same-site" {
		// An image or a script of another page: its request has no Origin.
		return problem{Status: 403, Code: "foreign_origin", Detail: "Pages of other sites have no access."}, false
	}
	switch {
	case public:
		return problem{}, true
	case o.Token == "" && !(o.Private && private(ctx.LocalAddr())):
		// The configuration refuses this combination, but a connection may be older than it: one that came in on a
		// public address, with a token, does not become trusted because the listener has moved to a private one.
		return problem{Status: 403, Code: "no_token", Detail: "This address needs an admin token, and none is configured."}, false
	case o.Token != "" && !o.authorizes(ctx):
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="sluice admin"`) // RFC 6750 section 3
		return problem{Status: 401, Code: "token_required", Detail: "Send the admin token as Authorization: Bearer TOKEN."}, false
	}
	return problem{}, true
}

// private reports whether a connection to this address came from this machine.
func private(local net.Addr) bool {
	switch a := local.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// knowsHost accepts an IP address, localhost, the configured host, and nothing at all: HTTP/1.0 health checks send no
// Host, and browsers always do.
func (o *Options) knowsHost(authority []byte) bool {
	host := string(authority)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "" || strings.EqualFold(host, "localhost") || o.Host != "" && strings.EqualFold(host, o.Host) {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// sameOrigin compares an Origin (RFC 6454 section 7) with the host and port that were asked for. "null" is nobody's.
func sameOrigin(origin, host []byte) bool {
	authority, ok := bytes.CutPrefix(origin, []byte("http://"))
	return ok && len(host) > 0 && bytes.EqualFold(authority, host)
}

// authorizes compares digests, so that neither the content nor the length of the token shows in the time it takes.
func (o *Options) authorizes(ctx *fasthttp.RequestCtx) bool {
	scheme, token, ok := strings.Cut(string(ctx.Request.Header.Peek("Authorization")), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(o.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
