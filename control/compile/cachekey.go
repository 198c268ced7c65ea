package compile

import (
	"slices"
	"strings"

	"sluice/control/config"
	"sluice/proxy"
)

// mention is a template behind a cache: what it holds of a request becomes part of what is kept.
type mention struct {
	path, text string
	braces     bool
	asks       bool // it is a field of the request, on which the answer need not depend
}

// checkCacheKey reports what stands behind a cache and makes the answer depend on something of the request that is not in the key: what
// was made for one client would be given to others.
func (b *builder) checkCacheKey(c *config.CachePolicy) {
	for _, m := range b.behindCache() {
		pieces, err := config.SplitTemplate(m.text, m.braces)
		if err != nil {
			continue // reported
		}
		var seen []string
		for _, p := range pieces {
			hint, apart := keyWants(c, p.Variable)
			if !apart || slices.Contains(seen, p.Variable) {
				continue
			}
			seen = append(seen, p.Variable)
			if m.asks && strings.HasPrefix(p.Variable, "client.") {
				b.warn(m.path, "tells the service $"+p.Variable+" behind a cache: what it answers to the client that comes first is given to all", "right if the answer does not depend on it")
				continue
			}
			problem := b.config.Problem(m.path, "holds $"+p.Variable+" behind a cache whose key does not: what is made for one request would be given to others", hint)
			b.problems = append(b.problems, problem)
		}
	}
}

// behindCache lists the templates that are filled in behind the policy that is being built.
func (b *builder) behindCache() []mention {
	var all []mention
	ops := func(o *config.HeaderOps, path string, steps bool, asks bool) {
		if o == nil {
			return
		}
		for _, list := range []struct {
			word   string
			fields config.Named[config.Template]
		}{{"set", o.Set}, {"add", o.Add}} {
			for _, f := range list.fields {
				where := path
				if steps {
					where += "." + config.JoinPath(list.word, f.Name)
				}
				all = append(all, mention{path: where, text: f.Value.Text, asks: asks})
			}
		}
	}
	for _, p := range b.at.after {
		if p.Headers != nil {
			ops(p.Headers.Request, b.at.path+".use", false, true)
			ops(p.Headers.Response, b.at.path+".use", false, false)
		}
	}
	i := slices.IndexFunc(b.config.Routes, func(e config.Entry[config.Route]) bool { return e.Name == b.at.route.Name })
	r := &b.config.Routes[i].Value
	if w := r.Rewrite; w != nil {
		path := b.at.path + ".rewrite"
		if w.Path != nil {
			all = append(all, mention{path: path + ".path", text: w.Path.Text, braces: true})
		}
		if w.Regex != nil {
			all = append(all, mention{path: path + ".regex.to", text: w.Regex.To.Text})
		}
		if w.Host != nil {
			all = append(all, mention{path: path + ".host", text: w.Host.Text})
		}
		ops(w.Headers, path+".headers", true, true)
		ops(w.Response, path+".response", true, false)
	}
	if r.Redirect != nil {
		all = append(all, mention{path: b.at.path + ".redirect.to", text: r.Redirect.To.Text})
	}
	if r.Respond != nil {
		for _, h := range r.Respond.Headers {
			all = append(all, mention{path: b.at.path + "." + config.JoinPath("respond", "headers", h.Name), text: h.Value.Text})
		}
	}
	return all
}

// keyWants reports whether a variable tells requests apart that have the same key, and what would put it there.
func keyWants(c *config.CachePolicy, variable string) (hint string, apart bool) {
	family, name, _ := strings.Cut(variable, ".")
	has := func(names config.List[config.Text], name string) bool {
		return slices.ContainsFunc(names, func(t config.Text) bool { return t.Text == name })
	}
	varies := func(name string) bool {
		return slices.ContainsFunc(c.Vary, func(t config.Text) bool { return strings.EqualFold(t.Text, name) })
	}
	q := c.Key.Query
	wholeQuery := q == nil || q.All
	switch {
	case variable == "client.ip" || variable == "client.port" || variable == "client.country":
		return "put it into the access log, or leave the cache out", true
	case variable == "request.uri" || variable == "request.query":
		return "key: { query: all }", !wholeQuery
	case family == "query":
		return "key: { query: [" + name + "] }", !wholeQuery && !has(q.Names, name)
	case family == "header":
		return "vary: [" + name + "]", !strings.EqualFold(name, "host") && !varies(name)
	case family == "cookie":
		return "key: { cookies: [" + name + "] }", !has(c.Key.Cookies, name) && !varies("cookie")
	case !c.Share: // each client has answers of its own
	case family == "jwt":
		return "key: { claims: [" + name + "] }", !has(c.Key.Claims, name)
	case variable == "consumer", variable == "consumer.group": // who it is is no claim
		return "leave out share: true", true
	case family == "consumer":
		return "key: { claims: [" + name + "] }", !has(c.Key.Claims, name)
	}
	return "", false
}

// explainCache remembers what a cache tells requests apart by, and whose its answers are, for those who ask.
func (b *builder) explainCache(name string, c *config.CachePolicy) {
	key := []string{"scheme, host, path"}
	list := func(what string, names config.List[config.Text]) {
		if len(names) > 0 {
			key = append(key, what+" "+strings.Join(texts(names), ", "))
		}
	}
	switch q := c.Key.Query; {
	case q == nil || q.All:
		key[0] += ", query"
	default:
		list("of the query", q.Names)
	}
	list("the fields", c.Vary)
	list("the cookies", c.Key.Cookies)
	list("the claims", c.Key.Claims)
	if b.plan.caching == nil {
		b.plan.caching = make(map[*proxy.Route][]string)
	}
	line := name + ": by " + strings.Join(key, "; ") + "; and the fields that Vary of the answer names; " + b.whoseCopy(c)
	b.plan.caching[b.at.route] = append(b.plan.caching[b.at.route], line)
}

// whoseCopy says who gets what the cache that is being built keeps. Whatever policies before it find out tells copies apart, and so does a
// certificate, whether or not a policy asks for it.
func (b *builder) whoseCopy(c *config.CachePolicy) string {
	var by []string
	for _, p := range b.at.before {
		if p.TellsApart() && !slices.Contains(by, p.Kind()) {
			by = append(by, p.Kind())
		}
	}
	if !slices.Contains(by, "client_cert") && slices.ContainsFunc(b.config.TLS, func(t config.Entry[config.TLS]) bool { return len(t.Value.ClientCerts) > 0 }) {
		by = append(by, "its certificate")
	}
	several := ""
	if len(by) > 1 {
		several = ": one that differs by " + strings.Join(by, " or ") + " is another"
	}
	asked := slices.ContainsFunc(b.at.before, func(p *config.Policy) bool { return p.ForwardAuth != nil && p.ForwardAuth.Mode == "enforce" })
	switch {
	case c.Share:
		return "one copy for all clients, whoever they are"
	case b.identified():
		return "each client has a copy of its own" + several
	case asked:
		return "whoever shows and wants the same before the service that decides has one copy" + several
	case len(by) > 0:
		return "each client that is known has a copy of its own, all others have one" + several
	}
	return "one copy for all clients"
}
