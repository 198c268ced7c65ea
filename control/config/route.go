package config

import (
	"fmt"
	"slices"
	"strings"
)

// Route says what happens to the requests that it matches: exactly one of To, Respond and Redirect is set. After Load,
// Timeout, BodyLimit and Errors are never nil: what the route does not say comes from the defaults.
type Route struct {
	Match     Match      `cfg:"match" required:"true" doc:"\"GET api.example.com/items/{id}\", with method and host optional; or a mapping"`
	Use       List[Use]  `cfg:"use" doc:"policies that run for this route, in this order"`
	Skip      List[Text] `cfg:"skip" doc:"policies of defaults.use that this route leaves out"`
	To        *Split     `cfg:"to" doc:"the service that answers, or { service: 90%, other: 10% }"`
	Respond   *Respond   `cfg:"respond" doc:"answers here and now"`
	Redirect  *Redirect  `cfg:"redirect" doc:"sends the client elsewhere"`
	Sticky    *Key       `cfg:"sticky" doc:"keeps a client on its side of a split: client, cookie NAME or header NAME"`
	GRPCWeb   *GRPCWeb   `cfg:"grpc_web" doc:"lets browsers call a service of gRPC: true, or { origins: [https://shop.example] }"`
	CORS      *CORS      `cfg:"cors" doc:"which pages of other origins may call; off undoes what the defaults say"`
	Rewrite   *Rewrite   `cfg:"rewrite" doc:"changes the request on its way to the service"`
	Timeout   *Duration  `cfg:"timeout" off:"true" doc:"from the request until the response head, retries included"`
	BodyLimit *Size      `cfg:"body_limit" off:"true" doc:"the largest request body"`
	Errors    *Errors    `cfg:"errors" doc:"the form of error answers"`
	Pos       Pos
	_         struct{} `later:"canary,mirror,api,combine,transcode,soap,function,grpc"`
}

// Split is the service of a route, or several with their shares.
type Split struct {
	Targets []Share
	Pos     Pos
}

// Share is one service of a split. The weights of all targets are in one unit: millionths of the whole when they
// were written as percentages, plain weights otherwise.
type Share struct {
	Service string
	Weight  int
	Pos     Pos
}

// weightMax bounds a plain weight.
const weightMax = 1_000_000

func (s *Split) decode(d *decoder, n *node, path string, _ field) {
	s.Pos = n.pos
	if n.kind != mapNode {
		if service, ok := d.scalar(n, path, "a service, or { service: 90%, other: 10% }"); ok {
			s.Targets = []Share{{service, 1, n.pos}}
		}
		return
	}
	first := map[string]Pos{}
	sum, percents, complete := 0, 0, true
	for _, e := range n.entries {
		where := joinPath(path, e.key)
		d.at[where] = e.pos
		if pos, twice := first[e.key]; twice {
			d.report.fail(e.pos, where, "the service stands here twice", fmt.Sprintf("first at %s", pos))
			continue
		}
		first[e.key] = e.pos
		weight, isPercent, ok := d.weight(e.value, where)
		complete = complete && ok
		if isPercent {
			percents++
		}
		sum += weight
		s.Targets = append(s.Targets, Share{e.key, weight, e.pos})
	}
	switch {
	case !complete:
	case len(s.Targets) == 0:
		d.report.fail(n.pos, path, "names no service", "")
	case percents != 0 && percents != len(s.Targets):
		d.report.fail(n.pos, path, "mixes percentages and plain weights", "write all of them one way")
	case percents != 0 && sum != 100*percentOne:
		d.report.fail(n.pos, path, fmt.Sprintf("the percentages add up to %s", percentText(sum)), "they must add up to 100%")
	case sum == 0:
		d.report.fail(n.pos, path, "every weight is 0", "")
	}
}

func (d *decoder) weight(n *node, path string) (weight int, isPercent, ok bool) {
	const wanted = "a percentage such as 90%, or a weight such as 9"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return 0, false, false
	}
	if share, ok := parsePercent(text); ok {
		return int(share), true, true
	}
	if isDigits(text) && len(text) <= 7 && (n.plain || n.parts != nil) && mustInt(text) <= weightMax {
		return mustInt(text), false, true
	}
	d.wants(n, path, wanted, "")
	return 0, false, false
}

func percentText(millionths int) string {
	s := fmt.Sprintf("%d.%04d", millionths/percentOne, millionths%percentOne)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".") + "%"
}

func (v *validator) routes(routes Named[Route]) {
	for i := range routes {
		v.route(&routes[i].Value, joinPath("routes", routes[i].Name))
	}
}

func (v *validator) route(r *Route, path string) {
	v.match(r.Match, path+".match")
	v.uses(r.Use, path+".use", false)
	v.skips(r.Skip, path+".skip")
	v.action(r, path)
	v.targets(r.To, path+".to")
	v.respond(r.Respond, path+".respond")
	v.redirect(r.Redirect, path+".redirect")
	v.sticky(r, path+".sticky")
	v.grpcWeb(r, path+".grpc_web")
	v.cors(r.CORS, path+".cors")
	v.rewrite(r.Rewrite, path+".rewrite")
	v.prefixes(r, path+".rewrite")
	v.errors(r.Errors, path+".errors")
	v.parameters(r, path)
}

// action checks that the route does one thing, and has nothing that this thing would ignore.
func (v *validator) action(r *Route, path string) {
	var actions []string
	for _, a := range []struct {
		key string
		set bool
	}{{"to", r.To != nil}, {"respond", r.Respond != nil}, {"redirect", r.Redirect != nil}} {
		if a.set {
			actions = append(actions, a.key)
		}
	}
	switch {
	case len(actions) == 0:
		v.fail(path, "the route does nothing", "it needs one of to, respond and redirect")
		return
	case len(actions) > 1:
		v.fail(joinPath(path, actions[1]), fmt.Sprintf("a route has exactly one of to, respond and redirect; this one has %s", strings.Join(actions, " and ")), "")
		return
	case r.To != nil:
		return
	}
	for _, key := range []string{"grpc_web", "rewrite", "timeout"} {
		if v.written(joinPath(path, key)) {
			v.fail(joinPath(path, key), fmt.Sprintf("has no effect beside %s", actions[0]), "it belongs to a route with to")
		}
	}
}

func (v *validator) skips(skip List[Text], path string) {
	var names []string
	for _, use := range v.config.Defaults.Use {
		if use.Inline == nil && use.Name != RouteWord {
			names = append(names, use.Name)
		}
	}
	if v.lost("defaults", names) {
		return
	}
	for i, name := range skip {
		known := false
		for _, n := range names {
			known = known || n == name.Text
		}
		if !known {
			v.unknown("policy of defaults.use", "policies of defaults.use", name, v.item(path, i), names)
		}
	}
}

func (v *validator) targets(to *Split, path string) {
	if to == nil {
		return
	}
	for _, t := range to.Targets {
		where := path
		if whole := joinPath(path, t.Service); v.written(whole) {
			where = whole
		}
		v.askedService(Text{t.Service, t.Pos}, where, "to")
	}
}

// askedService wants the name of a service that requests can be sent to. key is where it stands.
func (v *validator) askedService(name Text, path, key string) {
	if strings.Contains(name.Text, "://") || strings.HasPrefix(name.Text, "unix:") {
		v.failAt(name.Pos, path, "wants the name of a service, not an address", "services: { origin: http://... } gives it the name origin; then write "+key+": origin")
		return
	}
	if _, ok := v.serviceUsed[name.Text]; !ok {
		v.unknown("service", "services", name, path, v.config.Services.Names())
		return
	}
	v.serviceUsed[name.Text] = true
	if s, ok := v.config.Services.Get(name.Text); ok && s.TCP() {
		v.failAt(name.Pos, path, "requests cannot be sent to a service with addresses of tcp://", "write http://, or pass its connections on: listen.*.tcp, listen.*.passthrough")
	}
}

func (v *validator) sticky(r *Route, path string) {
	if r.Sticky == nil {
		return
	}
	switch r.Sticky.By {
	case "query", "path":
		v.fail(path, "wants client, cookie NAME or header NAME", "")
	}
	if r.To == nil || len(r.To.Targets) < 2 {
		v.fail(path, "only a split is sticky", "to: { one: 90%, other: 10% }; within a service, balance by hash")
	}
}

// parameters checks that the path parameters which the route's templates use are in its match.
func (v *validator) parameters(r *Route, path string) {
	known := r.Match.parameters()
	check := func(t *Template, where string, braces bool) {
		if t == nil {
			return
		}
		pieces, err := SplitTemplate(t.Text, braces)
		if err != nil {
			return // reported
		}
		for _, p := range pieces {
			name, ok := strings.CutPrefix(p.Variable, "path.")
			if ok && !slices.Contains(known, name) {
				if v.config.Substituted(t.Pos) {
					v.failAt(t.Pos, where, "the match has no such path parameter", didYouMean("", "parameters", known))
					continue
				}
				v.failAt(t.Pos, where, fmt.Sprintf("the match has no path parameter %s", name), didYouMean(name, "parameters", known))
			}
		}
	}
	checkOps := func(ops *HeaderOps, where string) {
		if ops == nil {
			return
		}
		for i, h := range ops.Set {
			check(&ops.Set[i].Value, joinPath(where+".set", h.Name), false)
		}
		for i, h := range ops.Add {
			check(&ops.Add[i].Value, joinPath(where+".add", h.Name), false)
		}
	}
	if r.Redirect != nil {
		check(&r.Redirect.To, v.redirectPath(path+".redirect"), false)
	}
	if r.Respond != nil {
		for i, h := range r.Respond.Headers {
			check(&r.Respond.Headers[i].Value, joinPath(path+".respond.headers", h.Name), false)
		}
	}
	if w := r.Rewrite; w != nil {
		check(w.Path, path+".rewrite.path", true)
		check(w.Host, path+".rewrite.host", false)
		if w.Regex != nil {
			check(&w.Regex.To, path+".rewrite.regex.to", false)
		}
		checkOps(w.Headers, path+".rewrite.headers")
		checkOps(w.Response, path+".rewrite.response")
	}
}
