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
	HTTP     List[Text]    `cfg:"http" default:"h1" doc:"the versions of HTTP that are spoken"`
	Pos      Pos
	_        struct{} `later:"tls,proxy_protocol"`
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
var laterHTTP = []string{"h2", "h2c", "h3"}

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
		v.httpVersions(l.Value.HTTP, joinPath(path, "http"))
	}
}

func (v *validator) httpVersions(versions List[Text], path string) {
	if len(versions) == 0 {
		v.fail(path, "names no version", "h1 is HTTP/1.1")
	}
	for i, version := range versions {
		where := v.item(path, i)
		switch {
		case version.Text == "h1" || version.Text == "":
		case slices.Contains(laterHTTP, version.Text):
			v.failAt(version.Pos, where, notYet(version.Text), "h1 is")
		default:
			v.failAt(version.Pos, where, "wants h1, got "+v.show(version.Text, version.Pos), "")
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
