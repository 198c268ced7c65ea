package config

import (
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Origin is one endpoint of a service, with its address taken apart.
type Origin struct {
	Network string // "tcp" or "unix"; empty when the address was refused
	Address string // what to dial: "host:port", or the path of a socket
	TCP     bool   // tcp://: connections are passed on as they are
	TLS     bool
	H2      bool   // HTTP/2: by ALPN with TLS, else with prior knowledge
	Host    string // the authority of the address without a default port, for host: origin; "localhost" for a socket
	Base    string // goes in front of every path: "" or "/soap", never with a slash at the end
	Weight  int    // 1 to 1000
	Pos     Pos
}

// originFields is the long form of an Origin.
type originFields struct {
	URL    Text `cfg:"url" required:"true" doc:"http://host:port/base, https://..., h2://..., h2c://..., grpc://..., grpcs://..., unix:/path or tcp://host:port"`
	Weight int  `cfg:"weight" default:"1" min:"1" max:"1000" doc:"share of the requests, relative to the others"`
}

// laterSchemes are the addresses of later builds.
var laterSchemes = []string{"dns+srv", "dns", "kubernetes", "consul", "etcd"}

func (o *Origin) decode(d *decoder, n *node, path string, _ field) {
	long := originFields{Weight: 1}
	switch n.kind {
	case mapNode:
		d.structure(n, path, reflect.ValueOf(&long).Elem())
	default:
		text, ok := d.scalar(n, path, "an address such as http://10.0.1.10:8080")
		if !ok {
			return
		}
		long.URL = Text{text, n.pos}
	}
	o.Pos, o.Weight = n.pos, long.Weight
	if long.URL.Pos.Line == 0 { // absent, which was reported
		return
	}
	message, hint := o.parse(long.URL.Text)
	if message == "" {
		return
	}
	if d.substituted[long.URL.Pos] {
		hint = ""
	}
	d.report.fail(long.URL.Pos, path, message, hint)
}

// parse takes an address apart. No message repeats the address: it may hold a password.
func (o *Origin) parse(s string) (message, hint string) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return o.parseSocket(path)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		if _, _, err := net.SplitHostPort(s); err == nil && !strings.ContainsAny(s, "@/?#") {
			return "the address has no scheme", "write http://" + clip(s)
		}
		return "the address has no scheme", "http://, https:// or unix:/path"
	}
	switch {
	case scheme == "http" || scheme == "https":
	case scheme == "tcp":
		return o.parseTCP(rest)
	case scheme == "h2" || scheme == "h2c" || scheme == "grpc" || scheme == "grpcs":
		o.H2 = true
	case slices.Contains(laterSchemes, scheme):
		return notYet(scheme + "://"), "http://, https://, h2://, h2c://, grpc://, grpcs://, tcp:// and unix: are"
	default:
		return "the scheme of the address is not known", "http://, https://, h2://, h2c://, grpc://, grpcs://, tcp:// or unix:/path"
	}
	authority, base := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, base = rest[:i], rest[i:]
	}
	if strings.Contains(authority, "@") {
		return "the address carries a user name or password", "set an Authorization header with rewrite.headers instead"
	}
	host, port, ok := splitAuthority(authority)
	if !ok {
		return "the address has no valid host and port", "http://host:port, with brackets around an IPv6 address"
	}
	o.TLS = scheme == "https" || scheme == "h2" || scheme == "grpcs"
	standard := "80"
	if o.TLS {
		standard = "443"
	}
	if port == "" {
		port = standard
	}
	if message, hint = o.setBase(base); message != "" {
		return message, hint
	}
	o.Host = net.JoinHostPort(host, port)
	if port == standard {
		o.Host = strings.TrimSuffix(o.Host, ":"+port)
	}
	o.Network, o.Address = "tcp", net.JoinHostPort(host, port)
	return "", ""
}

// parseTCP takes the rest of an address of tcp:// apart: connections have a place to go to, and nothing else.
func (o *Origin) parseTCP(authority string) (message, hint string) {
	o.TCP = true
	host, port, ok := splitAuthority(authority)
	switch {
	case strings.ContainsAny(authority, "/?#@"):
		return "the address has more than host and port", "tcp://host:port"
	case !ok:
		return "the address has no valid host and port", "tcp://host:port, with brackets around an IPv6 address"
	case port == "":
		return "the address has no port", "tcp://host:port"
	}
	o.Network, o.Address = "tcp", net.JoinHostPort(host, port)
	o.Host = o.Address
	return "", ""
}

func (o *Origin) parseSocket(s string) (message, hint string) {
	path, base, _ := strings.Cut(s, ":")
	if !isSocketPath(path) {
		return "the path of a socket begins with / and has at most 107 characters", "unix:/run/app.sock, or unix:/run/app.sock:/base"
	}
	if message, hint = o.setBase(base); message != "" {
		return message, hint
	}
	o.Network, o.Address, o.Host = "unix", path, "localhost"
	return "", ""
}

func (o *Origin) setBase(base string) (message, hint string) {
	switch {
	case strings.ContainsAny(base, "?#"):
		return "the address has a query or a fragment", "only a path may follow the host"
	case base != "" && !isCleanPath(base):
		return "the path of the address is not clean", "it begins with /, has no . or .. segments, and escapes as %XX"
	}
	o.Base = strings.TrimRight(base, "/")
	return "", ""
}

// splitAuthority takes host:port apart; the port may be missing, and is then "".
func splitAuthority(s string) (host, port string, ok bool) {
	host = s
	switch {
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		host = s[1 : len(s)-1]
		return host, "", strings.Contains(host, ":") && isHost(host)
	case strings.Contains(s, ":"):
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", "", false
		}
		number, valid := parsePort(port)
		if !valid || number == 0 {
			return "", "", false
		}
		port = strconv.Itoa(number)
	}
	return host, port, isHost(host)
}

// isCleanPath reports whether a path can be sent as it is: RFC 3986 section 3.3 characters, valid escapes, no dot
// segments.
func isCleanPath(s string) bool {
	if !strings.HasPrefix(s, "/") {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
		case isAlnum(c), strings.IndexByte("/-._~!$&'()*+,;=:@", c) >= 0:
		default:
			return false
		}
	}
	for segment := range strings.SplitSeq(s, "/") {
		plain := strings.NewReplacer("%2e", ".", "%2E", ".").Replace(segment)
		if plain == "." || plain == ".." {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
