package config

import (
	"fmt"
	"slices"
	"strings"
)

// Listener is where clients connect.
type Listener struct {
	Address  List[Address] `cfg:"address" required:"true" doc:"host:port, :port or unix:/path; one or several"`
	Trust    List[Prefix]  `cfg:"trust" doc:"proxies in front of Sluice whose X-Forwarded-For is believed: networks or addresses"`
	Redirect ToHTTPS       `cfg:"redirect" doc:"https, or https:8443 for another port, answers every request with a redirect to https"`
	TLS      Text          `cfg:"tls" doc:"the name of the section in tls to use, or self-signed for development; no TLS by default"`
	HTTP     List[Text]    `cfg:"http" default:"h1" doc:"the versions of HTTP that are spoken: h1, h2 (without TLS: by prior knowledge), h3 (over UDP, with TLS)"`
	AltSvc   Text          `cfg:"alt_svc" doc:"what responses over TCP say about h3 (RFC 7838), or off; by default that it is on the port of address"`
	Early    string        `cfg:"early_data" default:"off" enum:"off,safe" doc:"safe serves GET, HEAD and OPTIONS over h3 before the handshake has ended; they can be replayed"`
	TCP      Text          `cfg:"tcp" doc:"the service of tcp:// addresses that every connection is passed on to as it is"`
	Passing  Named[Text]   `cfg:"passthrough" names:"sni" doc:"TLS that does not end here: names that clients ask for (SNI), *.example.com as well, and the services of tcp:// addresses for them"`
	Allow    List[Prefix]  `cfg:"allow" doc:"whose connections tcp and passthrough pass on: networks or addresses; everybody's by default"`
	Door     *Door         `cfg:"limits" doc:"what is let in of each client, by its address, before there is a request"`
	Proxied  *Proxied      `cfg:"proxy_protocol" doc:"connections of an L4 balancer begin with a PROXY header"`
	Pos      Pos
}

// Proxied says whose connections begin with a PROXY header, version 1 or 2.
type Proxied struct {
	From List[Prefix] `cfg:"from" required:"true" doc:"the balancers: networks or addresses; everybody else's connections have none"`
	Pos  Pos
}

// decodeShort refuses an address alone, and says how it is written.
func (l *Listener) decodeShort(d *decoder, n *node, path string) bool {
	address := ":8080"
	if n.kind == scalarNode {
		if network, _, _ := parseAddress(n.text); network != "" {
			address = n.text
		} else if _, ok := parsePort(n.text); ok {
			address = ":" + n.text
		}
	}
	d.wants(n, path, "a mapping with an address", fmt.Sprintf("{ address: %q }", address))
	return true
}

// ToHTTPS sends clients to https, on the same host.
type ToHTTPS struct {
	Port int // that they are sent to; 0: they are not
}

func (r *ToHTTPS) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "https, or https:PORT for another port than 443"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	scheme, port, other := strings.Cut(text, ":")
	r.Port = 443
	if other {
		r.Port, ok = parsePort(port)
	}
	if scheme != "https" || !ok || r.Port == 0 {
		r.Port = 0
		d.wants(n, path, wanted, "")
	}
}

func (v *validator) listeners(listen Named[Listener]) {
	if len(listen) == 0 {
		v.fail("listen", "at least one listener is needed", `listen: { web: { address: ":8080" } }`)
	}
	type bound struct {
		Address
		path string
	}
	var all []bound
	if admin := v.config.Admin; !admin.Off {
		all = append(all, bound{admin.Address, "admin.address"})
	}
	for _, l := range listen {
		path := joinPath("listen", l.Name)
		if len(l.Value.Address) == 0 && v.written(joinPath(path, "address")) {
			v.fail(joinPath(path, "address"), "names no address", "")
		}
		for i, a := range l.Value.Address {
			where := bound{a, v.item(joinPath(path, "address"), i)}
			for _, other := range all {
				if a.Network != "" && a.overlaps(other.Address) {
					v.failAt(a.Pos, where.path, fmt.Sprintf("is taken by %s", other.path), fmt.Sprintf("at %s", other.Pos))
					break
				}
			}
			all = append(all, where)
		}
		v.listenerTLS(&l.Value, path)
		v.passing(&l.Value, path)
		v.httpVersions(l.Value.HTTP, joinPath(path, "http"))
		v.http3(&l.Value, path)
		v.door(&l.Value, path)
	}
}

func (v *validator) listenerTLS(l *Listener, path string) {
	if l.TLS.Text == "" {
		return
	}
	path = joinPath(path, "tls")
	if l.Redirect.Port != 0 {
		v.fail(path, "the listener redirects to https, which clients have reached already", "leave redirect out, or tls")
	}
	if l.TLS.Text == selfSigned {
		return
	}
	if _, ok := v.tlsUsed[l.TLS.Text]; ok {
		v.tlsUsed[l.TLS.Text] = true
		return
	}
	v.unknown("TLS section", "tls", l.TLS, path, append(v.config.TLS.Names(), selfSigned))
}

// TakesRequests reports whether requests come in by the listener: not if all that it does is to pass connections on.
func (l *Listener) TakesRequests() bool {
	return l.TCP.Text == "" && (len(l.Passing) == 0 || l.TLS.Text != "")
}

// passing checks what passes connections on, and that nothing stands beside it that would have no effect.
func (v *validator) passing(l *Listener, path string) {
	ignored := func(beside string, keys ...string) {
		for _, key := range keys {
			if where := joinPath(path, key); v.written(where) {
				v.fail(where, "has no effect beside "+beside, "connections are passed on as they are")
			}
		}
	}
	tcp := joinPath(path, "tcp")
	switch {
	case v.written(tcp):
		ignored("tcp", "tls", "passthrough", "redirect", "http")
		v.tcpService(l.TCP, tcp)
	case l.Passing != nil && l.TLS.Text == "":
		ignored("passthrough without tls", "redirect", "http")
	}
	if l.Passing != nil && len(l.Passing) == 0 {
		v.fail(joinPath(path, "passthrough"), "names nothing", "passthrough: { db.shop.example: db }")
	}
	for _, e := range l.Passing {
		v.tcpService(e.Value, joinPath(joinPath(path, "passthrough"), e.Name))
	}
	v.passedAway(l, path)
	if allow := joinPath(path, "allow"); v.written(allow) && l.TCP.Text == "" && len(l.Passing) == 0 {
		v.fail(allow, "is for connections that are passed on, and the listener has neither tcp nor passthrough", "for requests there is the policy addresses")
	}
}

// passedAway looks for names that the listener's own TLS needs, and that are passed on.
func (v *validator) passedAway(l *Listener, path string) {
	name, set, ok := v.config.TLSSet(l)
	if !ok {
		return
	}
	if set.ECH != nil {
		if key, passed := l.passedBy(set.ECH.PublicName.Text); passed {
			v.fail(joinPath(joinPath(path, "passthrough"), key), "passes the public name of ech in tls."+name+" on: nobody could use ech", "take another public_name")
		}
	}
	for _, c := range set.Certificates {
		if c.ACME == nil {
			continue
		}
		for _, host := range c.Hosts {
			if key, passed := l.passedBy(host.Text); passed {
				v.warn(joinPath(joinPath(path, "passthrough"), key), "passes "+host.Text+" on, for which tls."+name+" orders a certificate", "leave one of them out")
			}
		}
	}
}

// passedBy returns the name in passthrough by which a host is passed on.
func (l *Listener) passedBy(host string) (key string, passed bool) {
	host = strings.ToLower(host)
	for _, e := range l.Passing {
		key := strings.ToLower(e.Name)
		if key == host {
			return e.Name, true
		}
		if suffix, ok := strings.CutPrefix(key, "*"); ok && strings.HasSuffix(host, suffix) {
			return e.Name, true
		}
	}
	return "", false
}

// tcpService checks a service that connections are passed on to.
func (v *validator) tcpService(name Text, path string) {
	service, ok := v.config.Services.Get(name.Text)
	switch {
	case name.Text == "":
		v.failAt(name.Pos, path, "names no service", "")
	case strings.Contains(name.Text, "://"):
		v.failAt(name.Pos, path, "wants the name of a service, not an address", "services: { db: tcp://... } gives it the name db; then write db")
	case !ok:
		v.unknown("service", "services", name, path, v.config.Services.Names())
	default:
		v.serviceUsed[name.Text] = true
		if to := joinPath(joinPath("services", name.Text), "to"); !service.TCP() && !v.report.touched[to] {
			v.failAt(name.Pos, path, "connections can be passed on to tcp:// addresses only, and the service has none", fmt.Sprintf("its addresses are at %s", v.config.At(to)))
		}
	}
}

func (v *validator) httpVersions(versions List[Text], path string) {
	if len(versions) == 0 {
		v.fail(path, "names no version", "h1 is HTTP/1.1, h2 is HTTP/2")
	}
	for i, version := range versions {
		where := v.item(path, i)
		switch {
		case version.Text == "h1" || version.Text == "h2" || version.Text == "h3" || version.Text == "":
		case version.Text == "h2c":
			v.failAt(version.Pos, where, "wants h2, also without TLS", "HTTP/2 is then spoken with clients that know beforehand")
		default:
			v.failAt(version.Pos, where, "wants h1, h2 or h3, got "+v.show(version.Text, version.Pos), "")
		}
	}
}

// version is where in the list a version stands; -1: nowhere.
func (l *Listener) version(name string) int {
	return slices.IndexFunc(l.HTTP, func(t Text) bool { return t.Text == name })
}

// http3 checks what h3 needs, and what needs h3.
func (v *validator) http3(l *Listener, path string) {
	i := l.version("h3")
	if i < 0 {
		if l.AltSvc.Text != "" {
			v.failAt(l.AltSvc.Pos, joinPath(path, "alt_svc"), "says where h3 is, which the listener does not speak", "http: [h1, h2, h3]")
		}
		if l.Early == "safe" {
			v.fail(joinPath(path, "early_data"), "is for h3, which the listener does not speak", "http: [h1, h2, h3]")
		}
		return
	}
	where := v.item(joinPath(path, "http"), i)
	if l.TLS.Text == "" {
		v.failAt(l.HTTP[i].Pos, where, "h3 wants TLS, which the listener does not have", "tls: the name of a section, or self-signed")
	}
	if len(l.HTTP) == 1 {
		v.failAt(l.HTTP[i].Pos, where, "h3 alone is found by nobody: clients learn of it over TCP", "http: [h1, h2, h3]")
	}
	for j, a := range l.Address {
		if a.Network == "unix" {
			v.failAt(a.Pos, v.item(joinPath(path, "address"), j), "is no address of UDP, which h3 needs", "host:port, or leave h3 out")
		}
	}
	if l.Proxied != nil {
		for j, p := range l.Proxied.From {
			if p.Bits() == 0 {
				v.fail(v.item(joinPath(joinPath(path, "proxy_protocol"), "from"), j), "wants a PROXY header of everybody, which h3 cannot have: UDP carries none",
					"name the balancers' networks, whose packets are refused over UDP, or leave h3 out")
			}
		}
	}
	if text := l.AltSvc.Text; text != "" && text != "off" && !isAltSvc(text) {
		v.failAt(l.AltSvc.Pos, joinPath(path, "alt_svc"), "wants off or a list of services, got "+v.show(text, l.AltSvc.Pos), `h3=":443"; ma=86400`)
	}
	if set := v.config.tlsSection(l); l.Early == "safe" && set != nil && set.ClientCerts != nil {
		v.fail(joinPath(path, "early_data"), "does not go with client_certs: whoever records a request could send it again as that client",
			"leave one of them out")
	}
}

// isAltSvc tells values of Alt-Svc (RFC 7838 section 3) by their outside.
func isAltSvc(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s == "clear" || strings.Contains(s, `="`) && strings.Count(s, `"`)%2 == 0 && strings.TrimSpace(s) == s
}

// item is the path of an element, or of the key itself when one value stands there instead of a list.
func (v *validator) item(path string, i int) string {
	if where := indexPath(path, i); v.written(where) {
		return where
	}
	return path
}

// PassedOn reports whether a listener passes connections for a host on: encrypted, the name would not be seen.
func (c *Config) PassedOn(host string) bool {
	for i := range c.Listen {
		if _, passed := c.Listen[i].Value.passedBy(host); passed {
			return true
		}
	}
	return false
}
