package config

import (
	"fmt"
	"slices"
	"strconv"
)

// validator finds what one value cannot know about itself. It adds nothing at a path where, or below which, the
// decoder found an error: a service with a mistyped key is not also reported as a service without addresses.
type validator struct {
	config *Config
	report *report

	serviceUsed map[string]bool
	policyUsed  map[string]bool
	tlsUsed     map[string]bool
	groupUsed   map[string]bool
	storeUsed   map[string]bool
}

func (c *Config) validate(r *report) {
	v := &validator{config: c, report: r, serviceUsed: map[string]bool{}, policyUsed: map[string]bool{}, tlsUsed: map[string]bool{}, groupUsed: map[string]bool{}, storeUsed: map[string]bool{}}
	for _, s := range c.Services {
		v.serviceUsed[s.Name] = false
	}
	for _, p := range c.Policies {
		v.policyUsed[p.Name] = false
	}
	for _, t := range c.TLS {
		v.tlsUsed[t.Name] = false
	}
	for _, s := range c.Stores {
		v.storeUsed[s.Name] = false
	}
	v.version(c.Version)
	v.admin(c.Admin)
	v.stores(c.Stores)
	v.log(c.Log)
	v.limits(c.Limits)
	v.tls(c.TLS)
	v.listeners(c.Listen)
	v.services(c.Services)
	v.consumers(c.Consumers)
	v.policies(c.Policies)
	v.plans()
	v.defaults(c.Defaults)
	v.routes(c.Routes)
	if !r.errors {
		v.unused()
	}
}

func (v *validator) version(version int) {
	if v.written("version") && version != 1 {
		v.fail("version", fmt.Sprintf("version %d of the format is not known", version), "this build reads version 1")
	}
}

// unused warns of what nothing uses, and of a file that serves nothing. A broken route may be the one that would: so only for a file without errors.
func (v *validator) unused() {
	takesRequests := slices.ContainsFunc(v.config.Listen, func(l Entry[Listener]) bool { return l.Value.TakesRequests() && l.Value.Redirect.Port == 0 })
	if len(v.config.Routes) == 0 && takesRequests {
		v.warn("routes", "there are no routes: every request is answered with 404", "")
	}
	for _, s := range v.config.Services {
		if !v.serviceUsed[s.Name] {
			v.report.warn(s.Pos, joinPath("services", s.Name), "nothing uses the service", "")
		}
	}
	asked := false
	for _, t := range v.config.TLS {
		asked = asked || v.tlsUsed[t.Name] && len(t.Value.ClientCerts) > 0
	}
	for _, p := range v.config.Policies {
		if p.Value.ClientCert != nil && !asked {
			v.report.warn(p.Pos, joinPath("policies", p.Name), "no listener asks for client certificates: everybody is refused", "tls.*.client_certs")
		}
	}
	for _, t := range v.config.TLS {
		if !v.tlsUsed[t.Name] {
			v.report.warn(t.Pos, joinPath("tls", t.Name), "no listener uses it", "")
		}
	}
	for _, g := range v.config.Consumers {
		if !v.groupUsed[g.Name] {
			v.report.warn(g.Pos, joinPath("consumers", g.Name), "no policy uses the group", "")
		}
	}
	for _, s := range v.config.Stores {
		if !v.storeUsed[s.Name] {
			v.report.warn(s.Value.Pos, joinPath("stores", s.Name), "nothing uses the store", "")
		}
	}
	for _, p := range v.config.Policies {
		if p.Value.Countries != nil && v.config.Mentions("client.country") {
			continue // it names the database, whether a route uses it or not
		}
		if !v.policyUsed[p.Name] {
			v.report.warn(p.Pos, joinPath("policies", p.Name), "nothing uses the policy", "")
		}
	}
}

func (v *validator) fail(path, message, hint string) {
	v.failAt(v.config.At(path), path, message, hint)
}

func (v *validator) failAt(pos Pos, path, message, hint string) {
	if !v.report.touched[path] {
		v.report.add(Problem{Pos: pos, Path: path, Message: message, Hint: hint})
		v.report.errors = true
	}
}

func (v *validator) warn(path, message, hint string) {
	if !v.report.touched[path] {
		v.report.warn(v.config.At(path), path, message, hint)
	}
}

// unknown reports a name that does not exist.
func (v *validator) unknown(what, plural string, name Text, path string, known []string) {
	if v.report.touched[path] || v.lost(plural, known) {
		return
	}
	known = sortedCopy(known)
	if v.config.Substituted(name.Pos) {
		v.failAt(name.Pos, path, fmt.Sprintf("there is no %s with the substituted name", what), didYouMean("", plural, known))
		return
	}
	v.failAt(name.Pos, path, fmt.Sprintf("there is no %s %s", what, strconv.Quote(clip(name.Text))), didYouMean(name.Text, plural, known))
}

// lost reports whether nothing of a section was understood, or its key was mistyped: what refers to it may be right.
func (v *validator) lost(section string, names []string) bool {
	return len(names) == 0 && v.report.touched[section]
}

// show quotes a value, unless ${...} made it.
func (v *validator) show(text string, pos Pos) string {
	if v.config.Substituted(pos) {
		return "the substituted value"
	}
	return strconv.Quote(clip(text))
}

// written reports whether the path stands in a file, as opposed to a default.
func (v *validator) written(path string) bool {
	_, ok := v.config.at[path]
	return ok
}
