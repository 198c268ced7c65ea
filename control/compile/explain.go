package compile

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/consumer"
	"sluice/proxy/auth/expression"
	"sluice/proxy/auth/introspect"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oidc"
	"sluice/proxy/auth/servicetoken"
	"sluice/proxy/limit"
	"sluice/proxy/observe"
	"sluice/proxy/wire"
	"sluice/router"
)

// Explanation is what would become of a request, and why.
type Explanation struct {
	Outcome    string             `json:"outcome"` // a sentence
	Route      string             `json:"route,omitempty"`
	Match      string             `json:"match,omitempty"`
	Params     map[string]string  `json:"params,omitempty"`
	Policies   []string           `json:"policies,omitempty"`        // in order, the one that answers last
	Limits     []string           `json:"limits,omitempty"`          // that the request meets, and what it is counted by
	Doors      []string           `json:"listener_limits,omitempty"` // that its connection meets before, on each listener
	Caches     []string           `json:"caches,omitempty"`          // what each cache tells requests apart by, and whose its answers are
	Asks       []string           `json:"asks,omitempty"`            // which services decide, and what they are told; here they admit everything
	Conditions []string           `json:"conditions,omitempty"`      // the expressions that have to be true
	Candidates []router.Candidate `json:"candidates,omitempty"`
	// Coding is what a policy of the route would compress the answer with, if that is of its types and not too small; identity if the
	// client accepts none.
	Coding string `json:"coding,omitempty"`
	Allow  string `json:"allow,omitempty"`

	// What comes of running the policies.
	Status    int         `json:"status,omitempty"` // if the gateway answers by itself
	Code      string      `json:"code,omitempty"`
	RefusedBy string      `json:"refused_by,omitempty"`
	Reported  string      `json:"would_be_refused_by,omitempty"`
	Service   string      `json:"service,omitempty"`
	Client    string      `json:"client,omitempty"`   // who it was proven to be
	Upstream  string      `json:"upstream,omitempty"` // method, path and query as sent
	Host      string      `json:"host,omitempty"`
	Headers   [][2]string `json:"headers,omitempty"`          // as sent, without those of the gateway itself
	Response  [][2]string `json:"response_headers,omitempty"` // of an answer of the gateway itself

	// Passed says which listeners do not see such a request, because they pass the connection on.
	Passed []string `json:"passed,omitempty"`
}

// dryService stands for a service that is not asked.
type dryService struct {
	name string
	base string // of its addresses, "" if they differ
	host string // as upstream.Options.Host
}

func (d dryService) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Service = d.name
	x.Request.Path = append([]byte(d.base), x.Request.Path...)
	switch d.host {
	case "":
	case "origin":
		x.Request.Host = nil
	default:
		x.Request.Host = []byte(d.host)
	}
	return nil
}

// Explain runs a request through the routing table and the chain of a plan that was compiled Dry: guards judge, rewriting
// is done, and no service is asked. An error says that the request itself makes no sense.
func (p *Plan) Explain(method, target string, header [][2]string, body []byte, client netip.Addr) (*Explanation, error) {
	x := proxy.Acquire()
	defer x.Release()
	if err := fillExplained(x, method, target, header, client); err != nil {
		return nil, err
	}
	x.Request.Body.SetWhole(body)
	x.Snapshot = p.Snapshot
	e := new(Explanation)
	path, err := router.NormalizePath(x.Scratch(), x.Request.Path)
	if err != nil {
		e.Outcome = fmt.Sprintf("The request is refused: %v.", err)
		e.Status, e.Code = proxy.ErrBadPath.Status, proxy.ErrBadPath.Code
		return e, nil
	}
	x.Request.Path = append([]byte(nil), path...)
	x.MatchedPath = x.Request.Path
	if x.Request.Scheme == "https" {
		e.Passed = p.explainPassed(string(proxy.HostName(x.Request.Host)))
	}
	route, err := p.Snapshot.Find(x)
	e.Candidates = p.table.Explain(&x.Lookup)
	e.Doors = p.explainDoors(client)
	switch {
	case err != nil:
		p.explainNoRoute(e, x, proxy.AsError(err))
	case route == nil:
		e.Allow = string(p.table.AppendAllow(nil, &x.Lookup))
		e.Outcome = fmt.Sprintf("No route takes OPTIONS: the gateway answers 204 with Allow: %s.", e.Allow)
		e.Status = 204
	default:
		p.explainRoute(e, x, route)
	}
	switch {
	case len(e.Passed) > 0:
		e.Outcome = "The connection is passed on " + e.Passed[0] + ". On listeners that do not: " + e.Outcome
	case strings.HasPrefix(target, "http://") && p.onlyRedirects():
		*e = Explanation{Status: 308, Outcome: "Every listener without TLS redirects: the gateway answers 308."}
	}
	return e, nil
}

// explainDoors tells what the connection of a client meets on each listener.
func (p *Plan) explainDoors(client netip.Addr) []string {
	var lines []string
	for _, l := range p.Listeners {
		if door, ok := l.Door.(*limit.Door); ok {
			for _, line := range door.Explain(client) {
				lines = append(lines, l.Name+": "+line)
			}
		}
	}
	return lines
}

// onlyRedirects reports whether there are listeners without TLS, and all of them redirect.
func (p *Plan) onlyRedirects() bool {
	found := false
	for _, l := range p.Listeners {
		if l.TLS == nil && l.Pass == nil && l.Through == nil {
			if l.Instead == nil {
				return false
			}
			found = true
		}
	}
	return found
}

// explainNoRoute tells why a request gets to no route.
func (p *Plan) explainNoRoute(e *Explanation, x *proxy.Exchange, refusal *proxy.Error) {
	e.Status, e.Code = refusal.Status, refusal.Code
	switch refusal {
	case proxy.ErrNoRoute:
		e.Outcome = "No route matches: the gateway answers 404."
	case proxy.ErrMethodNotAllowed:
		e.Allow = string(p.table.AppendAllow(nil, &x.Lookup))
		e.Outcome = fmt.Sprintf("The path exists, but no route takes %s: the gateway answers 405 with Allow: %s.", x.Request.Method, e.Allow)
	case proxy.ErrOriginDenied:
		e.Outcome = fmt.Sprintf("A browser asks about route %s, which has no cors: the gateway answers %d %s.", p.Snapshot.Asked(x).Name, refusal.Status, refusal.Code)
	default: // the body, which a route asks for
		e.Outcome = fmt.Sprintf("The gateway answers %d %s: %v.", refusal.Status, refusal.Code, cmp.Or(refusal.Cause, errors.New(refusal.Detail)))
	}
}

// explainRoute lets a request run through a route.
func (p *Plan) explainRoute(e *Explanation, x *proxy.Exchange, route *proxy.Route) {
	x.Route = route
	p.explainMatch(e, x, route)
	if route.Pages != nil {
		route.Pages.Meet(x)
	}
	if route.Pages == nil || x.Preflight() == nil { // a browser that asks is answered before the policies
		p.explainPolicies(e, x, route)
	}
	e.Caches, e.Asks, e.Conditions = p.caching[route], p.asking[route], p.authorizing[route]
	err := x.LimitBody()
	if err == nil {
		err = route.Chain.Serve(x)
	}
	if x.Identity != nil && len(e.Limits) > 0 {
		e.Limits = p.explainLimits(x, route, e.Limits)
	}
	e.Reported = x.WouldRefuse
	if i := x.Identity; i != nil {
		e.Client = strings.TrimSpace(i.Kind() + " " + i.Subject())
		if i.Issuer() != "" {
			e.Client += " of " + i.Issuer()
		}
	}
	if err != nil {
		p.explainRefusal(e, x, proxy.AsError(err))
		return
	}
	p.explainAnswer(e, x)
	if len(e.Asks) > 0 {
		e.Outcome += " That is if the service admits it that is asked before: nobody is asked here."
	}
}

// explainMatch tells which route it is, and what its pattern has found in the path.
func (p *Plan) explainMatch(e *Explanation, x *proxy.Exchange, route *proxy.Route) {
	e.Route, e.Match, e.Policies = route.Name, route.Pattern.String(), route.Chain.Names()
	for _, name := range route.Pattern.Params() {
		if i, ok := route.Pattern.Param(name); ok {
			if e.Params == nil {
				e.Params = make(map[string]string)
			}
			e.Params[name] = string(x.Match.Value(x.MatchedPath, i))
		}
	}
}

// unasked are the refusals that come of asking nobody here, and what the policy would do.
var unasked = map[*proxy.Error]string{
	oidc.ErrUnavailable:         "would let the browser sign in, and nobody is asked here",
	servicetoken.ErrUnavailable: "would show the service a token, and none is fetched here",
	introspect.ErrUnavailable:   "would ask what the token is worth, and nobody is asked here",
	jwt.ErrNoKeys:               "needs keys to verify tokens with, and nothing is fetched here",
}

// explainRefusal tells which policy refuses a request, and why.
func (p *Plan) explainRefusal(e *Explanation, x *proxy.Exchange, refusal *proxy.Error) {
	e.Status, e.Code, e.RefusedBy = refusal.Status, refusal.Code, x.FailedAt
	if x.FailedAt == "" { // before the first policy
		e.Outcome = fmt.Sprintf("Route %s is taken; the gateway refuses with %d %s.", e.Route, refusal.Status, refusal.Code)
		return
	}
	does, isUnasked := unasked[refusal]
	switch {
	case isUnasked:
	case refusal.Code == expression.ErrRefused.Code && refusal.Cause != nil:
		does = fmt.Sprintf("refuses with %d %s: %v", refusal.Status, refusal.Code, refusal.Cause)
	default:
		does = fmt.Sprintf("refuses with %d %s", refusal.Status, refusal.Code)
	}
	e.Outcome = fmt.Sprintf("Route %s is taken; its policy %s %s.", e.Route, x.FailedAt, does)
	if (refusal == consumer.ErrKey || refusal == consumer.ErrPassword) && p.looksUpStored(e.Route, x.FailedAt) {
		e.Outcome += " That is unless it is of a stored consumer: they are not looked up here."
	}
	if len(e.Asks) > 0 {
		e.Outcome += " The service that decides is not asked here: what it would say of the client is missing."
	}
}

// explainAnswer tells who answers, and with what.
func (p *Plan) explainAnswer(e *Explanation, x *proxy.Exchange) {
	if x.Service == "" {
		x.EditHead()
		e.Status = x.Response.Status
		e.Response = fields(&x.Response.Head, nil)
		e.Outcome = fmt.Sprintf("Route %s is taken; the gateway answers %d by itself.", e.Route, e.Status)
		return
	}
	secrets := observe.Secrets(p.Config.SecretNames())
	e.Service = x.Service
	e.Upstream = x.Request.Method + " " + secrets.RedactURI(x.AppendURI(nil))
	e.Host = string(x.Request.Host)
	e.Headers = fields(&x.Request.Head, secrets)
	e.Outcome = fmt.Sprintf("Route %s is taken and service %s answers.", e.Route, e.Service)
}

// looksUpStored reports whether a policy of a route admits consumers that are stored.
func (p *Plan) looksUpStored(route, policy string) bool {
	r, ok := p.Config.Routes.Get(route)
	return ok && slices.ContainsFunc(p.Config.Chain(r), func(u config.Use) bool {
		d := definition(p.Config, u)
		return (u.Name == policy || u.Name == "" && d.Kind() == policy) && p.asksStored(d)
	})
}

// explainPolicies tells what running the policies does not: what a response would be compressed with, and which limits count the request.
func (p *Plan) explainPolicies(e *Explanation, x *proxy.Exchange, route *proxy.Route) {
	for _, compresses := range p.compressing[route] {
		e.Coding = compresses.Offer(x)
		if e.Coding == "" {
			e.Coding = "identity"
		}
	}
	e.Limits = p.explainLimits(x, route, nil)
}

// explainLimits tells which limits count the request. What of them asks who the client is can only be told once the policies have run; the
// others are as they were before, because policies may have changed what is counted by.
func (p *Plan) explainLimits(x *proxy.Exchange, route *proxy.Route, before []string) []string {
	var all []string
	for _, l := range p.explained[route] {
		lines := l.limits.Explain(x)
		if !l.named && before != nil {
			lines = before[len(all) : len(all)+len(lines)]
		} else {
			for i := range lines {
				lines[i] = l.policy + ": " + lines[i]
			}
		}
		all = append(all, lines...)
	}
	return all
}

// explainPassed lists the listeners that pass connections on by the name of a host, with the services. What is asked of the
// routes holds for the other listeners.
func (p *Plan) explainPassed(host string) []string {
	var passed []string
	for _, l := range p.Listeners {
		if l.Through == nil {
			continue
		}
		if way := l.Through.Find(host); way != nil {
			passed = append(passed, fmt.Sprintf("by listener %s to service %s, TLS and all: no route sees what is in it", l.Name, way.Service))
		}
	}
	return passed
}

// fields lists a head's fields; secret ones are shown as present, without their value.
func fields(h *wire.Head, secrets observe.Secrets) [][2]string {
	var list [][2]string
	for name, value := range h.All() {
		shown := string(value)
		if observe.SecretHeader(string(name)) || secrets.Hold(string(name)) {
			shown = "***"
		}
		list = append(list, [2]string{string(name), shown})
	}
	return list
}

func fillExplained(x *proxy.Exchange, method, target string, header [][2]string, client netip.Addr) error {
	if !wire.IsToken(method) {
		return fmt.Errorf("%q is not a method", method)
	}
	r := &x.Request
	r.Method, r.Scheme = method, "http"
	rest := target
	if !strings.HasPrefix(target, "/") {
		if !strings.Contains(target, "://") {
			target = "http://" + target
		}
		u, err := url.Parse(target)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is neither a URL nor a path", target)
		}
		r.Scheme = u.Scheme
		r.Host = []byte(strings.ToLower(u.Host))
		rest = target[strings.Index(target, "://")+3+len(u.Host):]
		if u.User != nil {
			return fmt.Errorf("a URL with a user name is not sent by any client")
		}
	}
	rest, _, _ = strings.Cut(rest, "#")
	if rest == "" || rest[0] == '?' {
		rest = "/" + rest
	}
	path, query, has := strings.Cut(rest, "?")
	r.Path, r.Query, r.HasQuery = []byte(path), []byte(query), has
	for _, f := range header {
		if !wire.IsToken(f[0]) {
			return fmt.Errorf("%q is not a header name", f[0])
		}
		if strings.EqualFold(f[0], "Host") {
			r.Host = []byte(strings.ToLower(f[1]))
			continue
		}
		r.Head.AddString(f[0], f[1])
	}
	if len(r.Host) > 0 && !wire.ValidHost(r.Host) {
		return fmt.Errorf("%q is not a host", r.Host)
	}
	x.Received = proxy.Received{Method: []byte(method), Target: []byte(rest), Origin: []byte(rest), Minor: 1, Proto: "HTTP/1.1"}
	x.ID = []byte("explain")
	x.Client = proxy.Client{Addr: client, Peer: netip.AddrPortFrom(client, 0), Text: []byte(client.String())}
	return nil
}
