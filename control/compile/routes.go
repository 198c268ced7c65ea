package compile

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/address"
	"sluice/proxy/auth/expression"
	"sluice/proxy/browser"
	"sluice/proxy/observe"
	"sluice/proxy/transcode"
	"sluice/proxy/upstream"
	"sluice/router"
)

// builder collects what becomes a plan, and every problem on the way.
type builder struct {
	runtime  *Runtime
	config   *config.Config
	plan     *Plan
	problems config.Problems

	// What runs now.
	running    map[string]*service
	runningTLS map[string]*terminator
	log        *accessLog
	generation uint64
	// What outlives a configuration on behalf of policies; known from the beginning, as chains are built with it.
	runningLasting map[string]lasting

	runningLimiters map[string]*limiter

	guards    map[*config.Addresses]*address.Guard
	countries map[*config.Countries]*address.Countries
	programs  map[string]*expression.Program // by what was compiled
	routes    []*proxy.Route                 // in the order of the configuration
	extra     []*proxy.Route                 // that no pattern leads to
	fallback  *proxy.Route
	uses      []use
	logins    []loginUse
	at        step // where the policy that is being built stands
	enforcing bool // it refuses whom it is there to refuse

	cacheJudged bool // what is wrong with the memory of the cache was said
}

// use is a place in a chain that waits for its service: services start only when everything else is known to work.
type use struct {
	route   *proxy.Route
	service string
	place   *placeholder
}

// placeholder stands in a chain for the service that is chosen last.
type placeholder struct{ to proxy.Policy }

func (p *placeholder) Serve(x *proxy.Exchange, next *proxy.Chain) error { return p.to.Serve(x, next) }

func (b *builder) fail(path, message string) {
	b.problems = append(b.problems, b.config.Problem(path, message, ""))
}

func (b *builder) warn(path, message, hint string) {
	problem := b.config.Problem(path, message, hint)
	problem.Warning = true
	b.problems = append(b.problems, problem)
}

func (b *builder) failErr(path string, err error) {
	if err != nil {
		b.fail(path, err.Error())
	}
}

// noRoute is the name of what serves requests that no route takes. It is no name that a configuration can give.
const noRoute = "-"

// patterns builds the routing table.
func (b *builder) patterns() {
	entries := make([]router.Route[*proxy.Route], 0, len(b.config.Routes))
	for i := range b.config.Routes {
		e := &b.config.Routes[i]
		p, err := pattern(&e.Value.Match)
		b.failErr(config.JoinPath("routes", e.Name, "match"), err)
		route := &proxy.Route{Name: e.Name, Pattern: p}
		b.routes = append(b.routes, route)
		entries = append(entries, router.Route[*proxy.Route]{Name: e.Name, Pattern: p, Value: route})
	}
	if b.problems.HasErrors() {
		return // a pattern that was not understood would be reported twice
	}
	var found []router.Problem
	b.plan.table, found = router.New(entries)
	for _, p := range found {
		problem := b.config.Problem(config.JoinPath("routes", p.Route, "match"), p.Message, "")
		if p.Other != "" {
			problem.Hint = fmt.Sprintf("the other one is at %s", b.config.At(config.JoinPath("routes", p.Other, "match")))
		}
		problem.Warning = p.Kind == router.Shadowed
		b.problems = append(b.problems, problem)
	}
}

// pattern turns either form of match into a pattern.
func pattern(m *config.Match) (router.Pattern, error) {
	if m.Pattern.Text != "" {
		return router.ParsePattern(m.Pattern.Text)
	}
	path := m.Path.Text
	if path == "" {
		path = "/**"
	}
	p, err := router.ParsePattern(strings.ToLower(m.Host.Text) + path)
	if err != nil {
		return p, err
	}
	for _, method := range m.Methods {
		p.Methods = append(p.Methods, strings.ToUpper(method.Text))
	}
	slices.Sort(p.Methods)
	p.Headers = predicates(m.Headers)
	p.Query = predicates(m.Query)
	p.Cookies = predicates(m.Cookies)
	p.JSON = predicates(m.JSON)
	return p, nil
}

var ops = map[config.PredicateKind]router.Op{
	config.Is: router.OpEquals, config.Present: router.OpPresent, config.Absent: router.OpAbsent,
	config.HasPrefix: router.OpPrefix, config.MatchesRegex: router.OpRegex,
}

func predicates(list config.Named[config.Predicate]) []router.Predicate {
	var out []router.Predicate
	for _, e := range list {
		out = append(out, router.Predicate{Name: e.Name, Op: ops[e.Value.Kind], Value: e.Value.Value})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// chains links every route's policies.
func (b *builder) chains() {
	b.fallback = &proxy.Route{Name: noRoute, Errors: b.errors(&b.config.Defaults.Errors, "defaults.errors")}
	if c := b.config.Defaults.CORS; c != nil && !c.Off {
		b.fallback.Pages = browser.NewCORS(corsOptions(c, nil)) // pages may read that there is nothing, too
	}
	for i, route := range b.routes {
		e := &b.config.Routes[i]
		path := config.JoinPath("routes", e.Name)
		route.Timeout = duration(e.Value.Timeout)
		route.BodyLimit = int64(*e.Value.BodyLimit)
		route.Errors = b.errors(e.Value.Errors, path+".errors")
		links, to := b.links(route, &e.Value, path)
		b.warnUnknown(&e.Value, path)
		if len(links) == 0 {
			continue // reported
		}
		route.Chain = proxy.NewChain(links...)
		info := RouteInfo{Name: e.Name, Match: route.Pattern.String(), Policies: route.Chain.Names(), To: to}
		if route.Timeout > 0 {
			info.Timeout = route.Timeout.String()
		}
		if config.Size(route.BodyLimit) != config.Unlimited {
			info.BodyLimit = route.BodyLimit
		}
		b.plan.Routes = append(b.plan.Routes, info)
	}
}

func duration(d *config.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(*d)
}

// links returns a route's policies in their order: what answers browsers, what translates for clients, the list, then rewriting, then what answers.
func (b *builder) links(route *proxy.Route, r *config.Route, path string) ([]proxy.Link, string) {
	var links []proxy.Link
	if cors := corsOf(r, &route.Pattern); cors != nil {
		route.Pages = cors
		b.unasked(r, path)
		links = append(links, proxy.Link{Name: "cors", Policy: cors})
	}
	if r.GRPCWeb != nil {
		links = append(links, proxy.Link{Name: "grpc_web", Policy: transcode.GRPCWeb{}})
	}
	chain := b.config.Chain(r)
	policies := b.definitions(chain)
	b.warnOrder(policies, path+".use")
	b.crossed(r, policies, route.Pattern.Methods, path+".use")
	for i, u := range chain {
		b.at = step{route: route, path: path, before: policies[:i], after: policies[i+1:], own: slices.Contains(r.Use, u)}
		if link, ok := b.policy(u, &route.Pattern, path+".use"); ok {
			links = append(links, link)
		}
	}
	links = append(links, b.rewrites(r.Rewrite, &route.Pattern, path+".rewrite")...)
	last, to, ok := b.terminal(route, r, path)
	if !ok {
		return nil, ""
	}
	return append(links, last), to
}

// terminal builds what answers.
func (b *builder) terminal(route *proxy.Route, r *config.Route, path string) (proxy.Link, string, bool) {
	switch {
	case r.Respond != nil:
		p, err := b.respond(r.Respond, &route.Pattern)
		b.failErr(path+".respond", err)
		return proxy.Link{Name: "respond", Policy: p}, fmt.Sprintf("respond %d", r.Respond.Status), err == nil
	case r.Redirect != nil:
		p, err := b.redirect(r.Redirect, &route.Pattern)
		b.failErr(path+".redirect.to", err)
		return proxy.Link{Name: "redirect", Policy: p}, fmt.Sprintf("redirect %d %s", r.Redirect.Status, r.Redirect.To.Text), err == nil
	case len(r.To.Targets) == 1:
		name := r.To.Targets[0].Service
		return proxy.Link{Name: "service " + name, Policy: b.wait(route, name)}, name, true
	}
	var shares []upstream.Share
	var names []string
	for _, t := range r.To.Targets {
		names = append(names, t.Service)
		if t.Weight > 0 {
			shares = append(shares, upstream.Share{To: b.wait(route, t.Service), Weight: t.Weight})
		}
	}
	return proxy.Link{Name: "split " + strings.Join(names, ", "), Policy: upstream.NewSplit(shares, sticky(r.Sticky))}, strings.Join(names, ", "), true
}

// wait reserves a service's place in a chain.
func (b *builder) wait(route *proxy.Route, service string) proxy.Policy {
	p := new(placeholder)
	b.uses = append(b.uses, use{route: route, service: service, place: p})
	return p
}

func sticky(k *config.Key) upstream.Sticky {
	if k == nil {
		return upstream.Sticky{}
	}
	kinds := map[string]upstream.StickyKind{"client": upstream.StickyClient, "header": upstream.StickyHeader, "cookie": upstream.StickyCookie}
	return upstream.Sticky{Kind: kinds[k.By], Name: k.Name}
}

// observe gives every route its metrics and the access log.
func (b *builder) observe() {
	if b.runtime.options.Dry {
		return
	}
	m := b.runtime.options.Metrics
	asked := make(map[*proxy.Route]map[string]*observe.ServiceMetrics)
	for _, u := range b.uses {
		if asked[u.route] == nil {
			asked[u.route] = make(map[string]*observe.ServiceMetrics)
		}
		asked[u.route][u.service] = m.Service(u.service)
	}
	for _, route := range append(append(b.routes, b.extra...), b.fallback) {
		route.Observer = observe.NewObserver(m.Route(route.Name), asked[route], b.plan.log.writer())
	}
}
