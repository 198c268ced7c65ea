package compile

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/tlsterm"
)

// ECHSet is a section of tls whose clients may encrypt which name they ask for, as far as it has to be published.
type ECHSet struct {
	Name   string
	ECH    tlsterm.ECH
	Rotate time.Duration
	ALPN   []string // the protocols of its listeners
	Hosts  []string // what the certificates are for, apart from the public name and from names that are passed on; sorted
}

// ECHSets returns the sections that listeners use and that have ech. It reads their certificates.
func ECHSets(c *config.Config) ([]ECHSet, error) {
	var sets []ECHSet
	for i := range c.Listen {
		name, set, ok := c.TLSSet(&c.Listen[i].Value)
		if !ok || set.ECH == nil {
			continue
		}
		h1, h2, h3 := versions(&c.Listen[i].Value)
		o := tlsOptions(name, set, &proxy.Listening{NoH1: !h1, H2: h2})
		at := slices.IndexFunc(sets, func(s ECHSet) bool { return s.Name == name })
		if at < 0 {
			hosts, err := hostsOf(o)
			if err != nil {
				return nil, err
			}
			at = len(sets)
			sets = append(sets, ECHSet{Name: name, ECH: *o.ECH, Rotate: time.Duration(set.ECH.Rotate), Hosts: hosts})
		}
		protocols := o.ALPN
		if h3 && c.Listen[i].Value.AltSvc.Text != "off" {
			protocols = append(protocols, "h3")
		}
		for _, protocol := range protocols {
			if !slices.Contains(sets[at].ALPN, protocol) {
				sets[at].ALPN = append(sets[at].ALPN, protocol)
			}
		}
	}
	for i := range sets {
		slices.Sort(sets[i].ALPN) // h2 first
		sets[i].Hosts = slices.DeleteFunc(sets[i].Hosts, c.PassedOn)
	}
	return sets, nil
}

// hostsOf returns the names that the certificates are for, without the public one: asking for that one hides nothing.
func hostsOf(o tlsterm.Options) ([]string, error) {
	public := o.ECH.PublicName
	o.ECH, o.ClientCerts, o.Tickets = nil, nil, nil
	var hosts []string
	var there []tlsterm.Source
	for _, s := range o.Certificates {
		if s.ACME == nil {
			there = append(there, s)
			continue
		}
		for _, host := range s.ACME.Hosts { // whether they have a certificate already or not
			if host = strings.ToLower(host); host != public {
				hosts = append(hosts, host)
			}
		}
	}
	var certificates []tlsterm.Info
	if o.Certificates = there; len(there) > 0 {
		t, err := tlsterm.Open(o)
		if err != nil {
			return nil, err
		}
		certificates = t.Certificates()
	}
	for _, c := range certificates {
		for _, name := range c.Names {
			name = strings.ToLower(name)
			if _, err := netip.ParseAddr(name); err != nil && name != public {
				hosts = append(hosts, name)
			}
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}
