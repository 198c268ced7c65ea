package config

import (
	"fmt"
	"slices"
)

// Listener is where clients connect.
type Listener struct {
	Address  List[Address] `cfg:"address" required:"true" doc:"host:port, :port or unix:/path; one or several"`
	Trust    List[Prefix]  `cfg:"trust" doc:"proxies in front of Sluice whose X-Forwarded-For is believed: networks or addresses"`
	Redirect string        `cfg:"redirect" enum:"https" doc:"https answers every request with a redirect to https"`
	TLS      Text          `cfg:"tls" doc:"the name of the section in tls to use, or self-signed for development; no TLS by default"`
	HTTP     List[Text]    `cfg:"http" default:"h1" doc:"the versions of HTTP that are spoken: h1, h2 (without TLS: by prior knowledge)"`
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

// laterHTTP are the protocols of later builds.
var laterHTTP = []string{"h3"}

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
		v.httpVersions(l.Value.HTTP, joinPath(path, "http"))
	}
}

func (v *validator) listenerTLS(l *Listener, path string) {
	if l.TLS.Text == "" {
		return
	}
	path = joinPath(path, "tls")
	if l.Redirect == "https" {
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

func (v *validator) httpVersions(versions List[Text], path string) {
	if len(versions) == 0 {
		v.fail(path, "names no version", "h1 is HTTP/1.1, h2 is HTTP/2")
	}
	for i, version := range versions {
		where := v.item(path, i)
		switch {
		case version.Text == "h1" || version.Text == "h2" || version.Text == "":
		case version.Text == "h2c":
			v.failAt(version.Pos, where, "wants h2, also without TLS", "HTTP/2 is then spoken with clients that know beforehand")
		case slices.Contains(laterHTTP, version.Text):
			v.failAt(version.Pos, where, notYet(version.Text), "h1 and h2 are")
		default:
			v.failAt(version.Pos, where, "wants h1 or h2, got "+v.show(version.Text, version.Pos), "")
		}
	}
}

// item is the path of an element, or of the key itself when one value stands there instead of a list.
func (v *validator) item(path string, i int) string {
	if where := indexPath(path, i); v.written(where) {
		return where
	}
	return path
}
