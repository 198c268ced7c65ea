package compile

import (
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy/browser"
	"sluice/router"
)

// corsOf builds what a route says about pages of other origins; nil: nothing. Calls of gRPC-Web are all alike, so that grpc_web has
// little to say.
func corsOf(r *config.Route, pattern *router.Pattern) *browser.CORS {
	switch w := r.GRPCWeb; {
	case w != nil && len(w.Origins) > 0:
		return browser.NewCORS(browser.CORSOptions{
			Origins: texts(w.Origins), Methods: []string{"POST"}, ExposeAll: true, Credentials: w.Credentials, MaxAge: time.Duration(w.MaxAge),
		})
	case r.CORS != nil && !r.CORS.Off:
		o := corsOptions(r.CORS, pattern.Methods)
		o.ExposeAll = w != nil
		return browser.NewCORS(o)
	}
	return nil
}

// corsOptions fills in the methods that a route takes; nil: any.
func corsOptions(c *config.CORS, methods []string) browser.CORSOptions {
	o := browser.CORSOptions{
		Origins: texts(c.Origins), Methods: texts(c.Methods), Headers: texts(c.Headers), Expose: texts(c.Expose),
		Credentials: c.Credentials, MaxAge: time.Duration(c.MaxAge), PrivateNetwork: c.PrivateNetwork,
	}
	for i, m := range o.Methods {
		o.Methods[i] = strings.ToUpper(m) // as in match
	}
	switch {
	case len(o.Methods) > 0:
	case len(methods) == 0:
		o.Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	default:
		o.Methods = methods
		if slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") {
			o.Methods = append(slices.Clone(methods), "HEAD")
		}
	}
	return o
}

// crossed warns of pages that a route admits, and whose calls it refuses all the same.
func (b *builder) crossed(r *config.Route, chain []*config.Policy, methods []string, path string) {
	if r.CORS == nil || r.CORS.Off || !slices.ContainsFunc(corsOptions(r.CORS, methods).Methods, changes) {
		return
	}
	for _, p := range chain {
		if p.CSRF == nil || p.CSRF.Mode != "enforce" {
			continue
		}
		for _, origin := range r.CORS.Origins {
			if !slices.ContainsFunc(p.CSRF.Origins, func(o config.Text) bool { return o.Text == origin.Text }) {
				b.warn(path, "pages that cors admits may not change anything: csrf does not know their origin", "csrf: { origins: [...] }, or cors with methods: [GET, HEAD]")
				return
			}
		}
	}
}

// changes reports whether requests of a method are not safe (RFC 9110 section 9.2.1).
func changes(method string) bool { return method != "GET" && method != "HEAD" && method != "OPTIONS" }

// unasked warns of a route that no browser that asks is led to: it asks without the fields and cookies of the request itself.
func (b *builder) unasked(r *config.Route, path string) {
	if r.CORS != nil && !r.CORS.Off && len(r.Match.Headers)+len(r.Match.Cookies)+len(r.Match.JSON) > 0 {
		b.warn(path+".match", "browsers ask whether a page may call without the fields, cookies and body of the call: this route is not asked",
			"let a route without these predicates, at the same path, have cors, too")
	}
}
