package config

import (
	"net"
	"slices"
	"strings"
)

// GRPCWeb lets browsers call the route's service of gRPC. In a file it is `true` for pages of the same origin.
type GRPCWeb struct {
	Origins     List[Text] `cfg:"origins" doc:"pages of other origins that may call: https://shop.example; \"*\" admits all"`
	Credentials bool       `cfg:"credentials" default:"false" doc:"calls from other origins carry cookies and client certificates"`
	MaxAge      Duration   `cfg:"max_age" default:"10m" doc:"how long a browser remembers that it may call"`
	Pos         Pos
}

func (g *GRPCWeb) decodeShort(d *decoder, n *node, path string) bool {
	if yes, ok := d.boolean(n, path); ok && !yes {
		d.report.fail(n.pos, path, "wants true, or a mapping with origins", "remove the key")
	}
	return true
}

func (*GRPCWeb) shortSchema(*schemaWriter) object { return object{"const": true} }

func (v *validator) grpcWeb(r *Route, path string) {
	g := r.GRPCWeb
	if g == nil {
		return
	}
	v.webOrigins(g.Origins, g.Credentials, path+".origins")
	if len(g.Origins) > 0 && r.CORS != nil && !r.CORS.Off {
		v.fail(path+".origins", "the route's cors says which pages may call", "leave one of the two out")
	}
	if g.Credentials && len(g.Origins) == 0 {
		v.fail(path+".credentials", "is about calls from other origins, and there are none", "origins: [...]")
	}
	if !r.Match.takes("POST") {
		v.fail(path, "the route does not take POST, which all calls of gRPC-Web are", "leave the method out of match")
	}
	if r.To == nil {
		return // reported
	}
	for _, t := range r.To.Targets {
		if s, ok := v.config.Services.Get(t.Service); ok && !s.speaksH2() {
			v.fail(path, "the service "+t.Service+" has an address that does not speak HTTP/2, which gRPC needs", "grpc://, grpcs://, h2c:// or h2://")
		}
	}
}

// speaksH2 reports whether every address speaks HTTP/2. One that was refused is taken for one that does.
func (s *Service) speaksH2() bool {
	return !slices.ContainsFunc(s.To, func(o Origin) bool { return o.Network != "" && !o.H2 })
}

// isWebOrigin reports whether s is an origin as a browser writes it (RFC 6454 section 6.2).
func isWebOrigin(s string) bool {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || strings.ToLower(s) != s || !isScheme(scheme) {
		return false
	}
	host, port, ok := splitAuthority(authority)
	return ok && host != "" && !(scheme == "https" && port == "443") && !(scheme == "http" && port == "80") &&
		(port == "" || authority == net.JoinHostPort(host, port))
}

// isScheme reports whether s can be the scheme of an origin, of which HTTP has two and browsers' extensions their own.
func isScheme(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == "" && s[0] >= 'a'
}
