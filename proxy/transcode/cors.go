package transcode

import (
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// CORS says which pages may call from elsewhere (Fetch standard, "CORS protocol"). Pages of the same origin always may.
type CORS struct {
	Origins     []string // "https://shop.example"; or "*" alone, for all
	Credentials bool     // cookies and the like go with calls
	MaxAge      time.Duration
}

// pages is CORS, and what a call needs of it: calls are all alike, so that there is little to be said.
type pages struct {
	origins     map[string]bool
	any         bool
	credentials bool
	maxAge      []byte
}

func newPages(o CORS) pages {
	p := pages{origins: make(map[string]bool, len(o.Origins)), credentials: o.Credentials, maxAge: wire.AppendUint(nil, uint64(o.MaxAge/time.Second))}
	for _, origin := range o.Origins {
		p.origins[origin] = true
	}
	p.any = p.origins["*"]
	return p
}

var errOrigin = &proxy.Error{Status: 403, Code: "origin_denied", Detail: "Pages of this origin may not call the service.", Side: proxy.ByClient}

// Meet prepares the response to a request that a page has caused.
func (p *pages) Meet(x *proxy.Exchange) {
	if origin := x.Request.Head.Get("origin"); origin != nil {
		x.OnHead(&page{pages: p, origin: origin, admitted: p.admits(origin), preflight: asks(x)})
	}
}

func (p *pages) admits(origin []byte) bool { return p.any || p.origins[string(origin)] }

// asks reports whether a request only asks if a page may call.
func asks(x *proxy.Exchange) bool {
	h := &x.Request.Head
	return x.Request.Method == "OPTIONS" && h.Has("origin") && h.Has("access-control-request-method")
}

// answer tells a page that it may call.
func (p *pages) answer(x *proxy.Exchange) error {
	if !p.admits(x.Request.Head.Get("origin")) {
		return errOrigin
	}
	r := &x.Response
	r.Status = 204
	r.Body.SetAbsent(-1)
	r.Head.AddString("Access-Control-Allow-Methods", "POST")
	// Metadata may have any name.
	names := x.Scratch()
	for value := range x.Request.Head.Values("access-control-request-headers") {
		for name := range wire.Items(value) {
			if !wire.IsToken(name) {
				continue
			}
			if len(names) > 0 {
				names = append(names, ", "...)
			}
			names = append(names, name...)
		}
	}
	if len(names) > 0 {
		r.Head.Add("Access-Control-Allow-Headers", names)
	}
	r.Head.Add("Access-Control-Max-Age", p.maxAge)
	return nil
}

// page is who has caused a request. Policies may change the request, but not that.
type page struct {
	*pages
	origin    []byte
	admitted  bool
	preflight bool
}

// EditHead says in the response, errors included, that the page may read it. Whatever the service says about that, the configuration
// says it instead.
func (p *page) EditHead(x *proxy.Exchange) {
	h := &x.Response.Head
	h.AddString("Vary", "Origin")
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
		h.Del(name)
	}
	if !p.admitted {
		return
	}
	if p.any {
		h.AddString("Access-Control-Allow-Origin", "*")
	} else {
		h.Add("Access-Control-Allow-Origin", p.origin)
	}
	if p.credentials {
		h.AddString("Access-Control-Allow-Credentials", "true")
	}
	if !p.preflight {
		h.Add("Access-Control-Expose-Headers", exposed(x.Scratch(), h))
	}
}

// exposed lists what a page may read: the metadata that the service has sent, whose names nobody knows beforehand, and the
// status. "*" would do so only for calls without credentials.
func exposed(dst []byte, h *wire.Head) []byte {
	dst = append(dst, "grpc-status, grpc-message"...)
	for name := range h.All() {
		if hidden(name) || len(dst) > exposedBytesMax {
			continue
		}
		dst = append(append(dst, ", "...), name...)
	}
	return dst
}

// exposedBytesMax bounds the list; names beyond it stay hidden.
const exposedBytesMax = 4 << 10

func hidden(name []byte) bool {
	for _, n := range []string{"grpc-status", "grpc-message", "vary", "set-cookie", "access-control-allow-origin", "access-control-allow-credentials"} {
		if wire.EqualFold(name, n) {
			return true
		}
	}
	return false
}
