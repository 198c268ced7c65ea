package compile

import (
	"fmt"
	"slices"
	"strings"

	"sluice/control/config"
	"sluice/tlsterm"
)

// asking is what a listener asks of clients.
type asking struct {
	listener string
	rules    []tlsterm.ClientCerts
	names    *tlsterm.NameRules
}

// ruleFor is the rule for a host, or nil.
func (a *asking) ruleFor(host string) *tlsterm.ClientCerts {
	if rule := a.names.Of([]byte(host)); rule > 0 {
		return &a.rules[rule-1]
	}
	return nil
}

// clientCerts warns of routes that ask for what no listener has asked for, and of those that a listener leads to past the rule of
// another one. A route for a wildcard is judged by one of its names, and one for any host by the names of the rules.
func (b *builder) clientCerts() {
	var listeners []asking
	asks := false
	for i := range b.config.Listen {
		l := &b.config.Listen[i]
		if l.Value.Redirect.Port != 0 || !l.Value.TakesRequests() {
			continue
		}
		a := asking{listener: l.Name}
		if name, set, ok := b.config.TLSSet(&l.Value); ok {
			a.rules = tlsOptions(name, set, &b.plan.Listeners[i].Listening).ClientCerts
		}
		a.names = tlsterm.NewNameRules(a.rules)
		asks = asks || len(a.rules) > 0
		listeners = append(listeners, a)
	}
	if !asks {
		return // a policy for nothing was reported
	}
	for i, r := range b.routes {
		for _, host := range hostsToJudge(r.Pattern.Host, listeners) {
			if b.judgeRoute(i, host, listeners) {
				break
			}
		}
	}
}

// hostsToJudge are names that a route is for.
func hostsToJudge(host string, listeners []asking) []string {
	if host != "" {
		return []string{host}
	}
	var hosts []string
	for _, a := range listeners {
		for i := range a.rules {
			hosts = append(hosts, a.rules[i].Names...)
		}
	}
	return hosts
}

// judgeRoute warns of a route, and reports whether there was a reason.
func (b *builder) judgeRoute(i int, host string, listeners []asking) bool {
	name := host
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		name = "any" + suffix
	}
	asked, required, past := false, "", ""
	for _, a := range listeners {
		switch rule := a.ruleFor(name); {
		case rule == nil:
			past = a.listener
		case len(rule.Names) > 0 && rule.Mode == tlsterm.Require:
			asked, required = true, a.listener
		default:
			asked = true
		}
	}
	path := config.JoinPath("routes", b.routes[i].Name, "match")
	switch needs := b.needsCertificate(&b.config.Routes[i].Value); {
	case needs && !asked && name == host:
		b.warn(path, fmt.Sprintf("no listener asks clients for a certificate that ask for %s: everybody is refused", host), "tls.*.client_certs")
	case !needs && required != "" && past != "":
		b.warn(path, fmt.Sprintf("%s wants a certificate of clients that ask for %s, and %s leads here without one", required, host, past),
			"use: [ { client_cert: {} } ]")
	default:
		return false
	}
	return true
}

// needsCertificate reports whether a route refuses who has shown no certificate.
func (b *builder) needsCertificate(r *config.Route) bool {
	return slices.ContainsFunc(b.definitions(b.config.Chain(r)), func(p *config.Policy) bool { return p.ClientCert != nil && p.ClientCert.Mode == "enforce" })
}
