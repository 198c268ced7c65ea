package browser

import (
	"bytes"

	"sluice/proxy"
)

// CSRF is the guard against requests that change something, and that a page of another site has caused without whoever looks at it knowing:
// the browser adds their cookies. It decides by what browsers say about the page, as http.CrossOriginProtection of Go does: there are no
// tokens. Requests without such fields come from no browser of the last years.
type CSRF struct {
	trusted origins
}

// NewCSRF returns the guard. Pages of the trusted origins may do what those of the same origin may.
func NewCSRF(trusted []string) *CSRF { return &CSRF{newOrigins(trusted)} }

// ErrCrossSite refuses what a page of another site has caused.
var ErrCrossSite = &proxy.Error{Status: 403, Code: "cross_site", Detail: "A page of another site may not send this request.", Side: proxy.ByClient}

// Check returns nil or ErrCrossSite.
func (c *CSRF) Check(x *proxy.Exchange) error {
	r := &x.Request
	switch r.Method {
	case "GET", "HEAD", "OPTIONS":
		// A request for another protocol only looks as if it were safe: what a page sends over its WebSocket is not.
		if r.Upgrade == "" {
			return nil
		}
	}
	origin, site := r.Head.Get("origin"), r.Head.Get("sec-fetch-site")
	switch {
	case string(site) == "same-origin", string(site) == "none": // "none": the user, from the address bar say
		return nil
	case len(site) == 0 && (len(origin) == 0 || own(r, origin)):
		return nil
	case len(origin) > 0 && c.trusted.admit(origin):
		return nil
	}
	return ErrCrossSite
}

// own reports whether a page is of the gateway's own origin, for browsers that do not say so. Behind a balancer that ends TLS it may have
// another scheme than the request; one that came without TLS has been changed by anybody and is not that of a request over it.
func own(r *proxy.Request, origin []byte) bool {
	scheme, host, ok := bytes.Cut(origin, schemeEnds)
	return ok && bytes.Equal(host, r.Host) && !(r.Scheme == "https" && string(scheme) != "https")
}

var schemeEnds = []byte("://")
