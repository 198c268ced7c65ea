package browser

import (
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// CORSOptions say which pages of other origins may call a route (Fetch standard, "CORS protocol"). Pages of the same origin
// always may.
type CORSOptions struct {
	Origins []string // "https://shop.example", "https://*.shop.example"; or "*" alone, for all
	Methods []string // that they may use, beside GET, HEAD and POST, which nobody can keep them from
	Headers []string // request fields that they may send; nil: whatever they ask for
	Expose  []string // response fields that they may read, beside the few that they always may
	// ExposeAll lets them read every field of a response, whatever it is called, and those of gRPC.
	ExposeAll      bool
	Credentials    bool // cookies and the like go with calls
	MaxAge         time.Duration
	PrivateNetwork bool // pages of the internet may call although the gateway is in a private network
}

// CORS answers the requests by which browsers ask whether a page may call, and says in every other response, errors included, which
// page may read it. It is the first policy of its route, since a browser that asks shows nothing by which policies could know it, and
// the route's Pages.
type CORS struct {
	origins        origins
	methods        string
	headers        string // empty: whatever is asked for
	expose         string
	exposeAll      bool
	credentials    bool
	maxAge         string
	privateNetwork bool
}

// NewCORS returns the policy. The options must make sense.
func NewCORS(o CORSOptions) *CORS {
	return &CORS{
		origins: newOrigins(o.Origins), methods: strings.Join(o.Methods, ", "), headers: strings.Join(o.Headers, ", "),
		expose: strings.Join(o.Expose, ", "), exposeAll: o.ExposeAll, credentials: o.Credentials,
		maxAge: string(wire.AppendUint(nil, uint64(o.MaxAge/time.Second))), privateNetwork: o.PrivateNetwork,
	}
}

// Meet prepares the response to a request that a page may have caused.
func (c *CORS) Meet(x *proxy.Exchange) {
	x.Page = x.Request.Head.Get("origin")
	x.OnHead(c)
}

// Serve answers a request that only asks whether a page may call, and hands on all others: those of pages that may not call as well,
// which cannot read the answer then. A page that must not even cause them is what the policy csrf is for.
func (c *CORS) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	if x.Preflight() == nil {
		return next.Serve(x)
	}
	if !c.origins.admit(x.Page) {
		return proxy.ErrOriginDenied
	}
	r, h := &x.Response, &x.Response.Head
	r.Status = 204
	r.Body.SetAbsent(-1)
	if c.methods != "" {
		h.AddString("Access-Control-Allow-Methods", c.methods)
	}
	if c.headers != "" {
		h.AddString("Access-Control-Allow-Headers", c.headers)
	} else if names := appendAsked(x.Scratch(), x); len(names) > 0 {
		h.Add("Access-Control-Allow-Headers", names)
	}
	h.AddString("Access-Control-Max-Age", c.maxAge)
	if c.privateNetwork && wire.EqualFold(x.Request.Head.Get("access-control-request-private-network"), "true") {
		h.AddString("Access-Control-Allow-Private-Network", "true")
	}
	return nil
}

// appendAsked appends the names of the fields that a page wants to send.
func appendAsked(dst []byte, x *proxy.Exchange) []byte {
	for value := range x.Request.Head.Values("access-control-request-headers") {
		for name := range wire.Items(value) {
			if !wire.IsToken(name) {
				continue
			}
			if len(dst) > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(dst, name...)
		}
	}
	return dst
}

// EditHead says in the response who may read it. Whatever the service says about that, the configuration says it instead.
func (c *CORS) EditHead(x *proxy.Exchange) {
	h := &x.Response.Head
	for _, name := range ofEvery {
		h.Del(name)
	}
	preflight := x.Preflight() != nil
	if !preflight {
		for _, name := range ofPreflights {
			h.Del(name)
		}
	}
	if c.origins.all {
		// The answer is the same for everybody, so that whoever keeps it needs not know who has asked.
		h.AddString("Access-Control-Allow-Origin", "*")
	} else {
		// Also where nobody is admitted, or no page has asked: who keeps that must not give it to a page that is.
		addVary(h, "Origin")
		if !c.origins.admit(x.Page) {
			return
		}
		h.Add("Access-Control-Allow-Origin", x.Page)
		if c.credentials {
			h.AddString("Access-Control-Allow-Credentials", "true")
		}
	}
	switch {
	case preflight:
	case c.exposeAll && len(x.Page) > 0:
		h.Add("Access-Control-Expose-Headers", appendNames(x.Scratch(), h))
	case c.expose != "":
		h.AddString("Access-Control-Expose-Headers", c.expose)
	}
}

// ofEvery are the fields of every response that a page may read, ofPreflights those of answers to browsers that ask.
var (
	ofEvery      = [...]string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"}
	ofPreflights = [...]string{
		"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age", "Access-Control-Allow-Private-Network",
	}
)

// addVary says that the response depends on a field of the request, unless it is said already.
func addVary(h *wire.Head, name string) {
	for value := range h.Values("vary") {
		for item := range wire.Items(value) {
			if wire.EqualFold(item, name) || string(item) == "*" {
				return
			}
		}
	}
	h.AddString("Vary", name)
}

// appendNames lists what a page may read of an answer of gRPC: the metadata that the service has sent, whose names nobody knows
// beforehand, and the status. "*" would do so only for calls without credentials.
func appendNames(dst []byte, h *wire.Head) []byte {
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
	for _, n := range [...]string{"grpc-status", "grpc-message", "vary", "set-cookie", "access-control-allow-origin", "access-control-allow-credentials"} {
		if wire.EqualFold(name, n) {
			return true
		}
	}
	return false
}
