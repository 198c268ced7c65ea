package compile

import (
	"errors"
	"net/netip"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/transform"
	"sluice/router"
)

// policyBuilders makes a policy of each kind, under the name that a report calls it by. A new kind is one line here.
var policyBuilders = []func(b *builder, name string, p *config.Policy, pattern *router.Pattern) (proxy.Policy, bool, error){
	(*builder).headersPolicy,
	(*builder).addressesPolicy,
	(*builder).clientCertPolicy,
	(*builder).cachePolicy,
	(*builder).compressPolicy,
	(*builder).jwtPolicy,
	(*builder).introspectionPolicy,
	(*builder).oidcPolicy,
	(*builder).upstreamTokenPolicy,
	(*builder).rateLimitPolicy,
	(*builder).concurrencyPolicy,
	(*builder).quotaPolicy,
	(*builder).apiKeyPolicy,
	(*builder).basicAuthPolicy,
	(*builder).signaturePolicy,
	(*builder).securityHeadersPolicy,
	(*builder).cookiesPolicy,
	(*builder).csrfPolicy,
	(*builder).countriesPolicy,
	(*builder).forwardAuthPolicy,
	(*builder).authorizePolicy,
}

// policy builds the link for one use of a policy.
func (b *builder) policy(u config.Use, pattern *router.Pattern, path string) (proxy.Link, bool) {
	p, name := b.definition(u), u.Name
	if u.Inline == nil {
		path = config.JoinPath("policies", u.Name)
	}
	if name == "" {
		name = p.Kind()
	}
	b.enforcing = p.Enforced()
	if b.enforcing && b.plan.asksStored(p) {
		b.plan.asksMembers = true
	}
	for _, build := range policyBuilders {
		policy, mine, err := build(b, name, p, pattern)
		if !mine {
			continue
		}
		if err != nil {
			if key := (*keyError)(nil); errors.As(err, &key) && u.Inline == nil {
				path, err = config.JoinPath("policies", u.Name, p.Kind(), key.key), key.err
			}
			b.fail(path, err.Error())
			return proxy.Link{}, false
		}
		if policy == nil {
			return proxy.Link{}, false // nothing of it holds on this route, which was said
		}
		return proxy.Link{Name: name, Policy: policy}, true
	}
	panic("BUG: a policy of no kind passed validation at " + path)
}

// keyError is what is wrong with one key of a policy. Its own place in the file is known where the policy has a name.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }

// step is the place in a route's chain that a policy is built for.
type step struct {
	route         *proxy.Route
	path          string // of the route
	before, after []*config.Policy
	own           bool // the route itself wants the policy; else defaults.use does
}

func (b *builder) definition(u config.Use) *config.Policy { return definition(b.config, u) }

// definition is what a use means.
func definition(c *config.Config, u config.Use) *config.Policy {
	if u.Inline != nil {
		return u.Inline
	}
	p, ok := c.Policies.Get(u.Name)
	if !ok {
		panic("BUG: a policy that does not exist passed validation: " + u.Name)
	}
	return p
}

func (b *builder) definitions(chain []config.Use) []*config.Policy {
	all := make([]*config.Policy, len(chain))
	for i, u := range chain {
		all[i] = b.definition(u)
	}
	return all
}

func (b *builder) headersPolicy(_ string, p *config.Policy, pattern *router.Pattern) (proxy.Policy, bool, error) {
	if p.Headers == nil {
		return nil, false, nil
	}
	request, err := headerOps(p.Headers.Request, pattern)
	if err != nil {
		return nil, true, err
	}
	response, err := headerOps(p.Headers.Response, pattern)
	if err != nil {
		return nil, true, err
	}
	h, err := transform.NewHeaders(request, response)
	return h, true, err
}

// headerOps keeps the order of the words: what is removed goes first, so that set and add have the last word.
func headerOps(o *config.HeaderOps, pattern *router.Pattern) (transform.Ops, error) {
	if o == nil {
		return nil, nil
	}
	var ops transform.Ops
	for _, name := range o.Remove {
		ops = append(ops, transform.Op{Verb: transform.Remove, Name: name.Text})
	}
	for _, list := range []struct {
		verb   transform.Verb
		fields config.Named[config.Template]
	}{{transform.Set, o.Set}, {transform.Add, o.Add}} {
		for _, f := range list.fields {
			t, err := proxy.ParseTemplate(f.Value.Text, pattern, false)
			if err != nil {
				return nil, err
			}
			ops = append(ops, transform.Op{Verb: list.verb, Name: f.Name, Value: t})
		}
	}
	return ops, nil
}

func prefixes(list config.List[config.Prefix]) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, p.Prefix)
	}
	return out
}

var modes = map[string]proxy.Mode{"enforce": proxy.Enforce, "report": proxy.Report, "off": proxy.Off}

// rewrites builds what a route's rewrite says, in the order path, host, headers: a header may hold the new path.
func (b *builder) rewrites(r *config.Rewrite, pattern *router.Pattern, path string) []proxy.Link {
	if r == nil {
		return nil
	}
	var links []proxy.Link
	add := func(name string, p proxy.Policy, err error) {
		if err != nil {
			b.fail(path, err.Error())
			return
		}
		links = append(links, proxy.Link{Name: name, Policy: p})
	}
	if r.Path != nil {
		p, err := transform.NewPath(r.Path.Text, pattern)
		add("rewrite path", p, err)
	}
	if r.Strip != nil {
		p, err := transform.NewStrip(r.Strip.Text)
		add("rewrite strip", p, err)
	}
	if r.Replace != nil {
		p, err := transform.NewReplace(r.Replace.From.Text, r.Replace.To.Text)
		add("rewrite replace", p, err)
	}
	if r.Regex != nil {
		p, err := transform.NewRegex(r.Regex.Match.Text, r.Regex.To.Text)
		add("rewrite regex", p, err)
	}
	if r.Host != nil {
		p, err := transform.NewHost(r.Host.Text, pattern)
		add("rewrite host", p, err)
	}
	if r.Headers != nil || r.Response != nil {
		request, err := headerOps(r.Headers, pattern)
		if err != nil {
			add("", nil, err)
			return links
		}
		response, err := headerOps(r.Response, pattern)
		if err != nil {
			add("", nil, err)
			return links
		}
		p, err := transform.NewHeaders(request, response)
		add("rewrite headers", p, err)
	}
	return links
}
