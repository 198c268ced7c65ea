package compile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/limit"
	"sluice/proxy/observe"
	"sluice/router"
)

// limiter is the state of a policy that limits, or of a listener that does, with the definition it was made from. It is shared by the routes that use the policy,
// and lives on in the next configuration if the definition is the same: a reload gives nobody new tokens.
type limiter struct {
	definition, mode string
	rates            *limit.Rates  // or
	slots            *limit.Slots  // or
	quotas           *limit.Quotas // or
	door             *limit.Door   // of a listener
	allowed, refused *observe.Counter
	fallbacks, held  *observe.Counter // nil: hosts share nothing
	closed           *observe.Counter // of refused, because nothing was known about a quota
}

// LimitStatus is a policy that limits, or a listener that does (listen.NAME), for people.
type LimitStatus struct {
	limit.Status
	Mode    string `json:"mode"`
	Allowed uint64 `json:"allowed"`
	Refused uint64 `json:"refused"` // or would have been, in report mode
}

func (l *limiter) status() limit.Status {
	switch {
	case l.rates != nil:
		return l.rates.Status()
	case l.quotas != nil:
		return l.quotas.Status()
	case l.door != nil:
		return l.door.Status()
	}
	return l.slots.Status()
}

func (l *limiter) counts() limit.Counts {
	switch {
	case l.rates != nil:
		return l.rates.Counts()
	case l.quotas != nil:
		return l.quotas.Counts()
	case l.door != nil:
		return l.door.Counts()
	}
	return l.slots.Counts()
}

// explainer is a guard that says by what a request would be counted.
type explainer interface {
	Explain(x *proxy.Exchange) []string
}

// limitOnRoute is a policy that limits on one of its routes.
type limitOnRoute struct {
	policy string
	limits explainer
	named  bool // by who is asking
}

// identified reports whether a policy before the one that is built finds out who is asking.
func (b *builder) identified() bool {
	return slices.ContainsFunc(b.at.before, func(p *config.Policy) bool { return p.Identifies() })
}

// nameless reports whether limits by who is asking cannot hold where the policy stands, because nobody has found that out. A policy that
// the route itself wants must not stand there; one that comes from defaults.use stands on all routes, those that are open to everybody
// included, and its other limits hold.
func (b *builder) nameless(p *config.Policy, name string) bool {
	word := p.NeedsIdentity()
	if word == "" || b.identified() {
		return false
	}
	if b.at.own {
		b.fail(b.at.path+".use", fmt.Sprintf("the policy %s counts per %s, and no policy before it finds out who that is: put jwt, client_cert or another one that does before it", name, word))
		return false
	}
	hint := "let a policy before it find that out"
	if _, named := b.config.Policies.Get(name); named {
		hint = "skip: [" + name + "]"
	}
	b.warn(b.at.path, fmt.Sprintf("the policy %s of defaults.use counts per %s, and no policy before it finds out who that is: what it counts so is not limited here", name, word), hint)
	return true
}

// named reports limits that are by who is asking. They stand behind the others of a policy, so that routes where nobody is known can do
// without them.
func named(by []config.KeyPart) int {
	if config.IdentityWord(by) != "" {
		return 1
	}
	return 0
}

func (b *builder) rateLimitPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	r := p.RateLimit
	if r == nil {
		return nil, false, nil
	}
	allow := slices.Clone(r.Allow)
	slices.SortStableFunc(allow, func(a, b config.Allowance) int { return named(a.By) - named(b.By) })
	count := len(allow)
	if b.nameless(p, name) {
		if count = slices.IndexFunc(allow, func(a config.Allowance) bool { return named(a.By) == 1 }); count == 0 {
			return nil, true, nil
		}
	}
	o := limit.Options{
		Name: name, Keys: r.Keys, Fields: r.Fields == "on", Report: r.Mode == "report",
		Cost: costOf(&r.Cost),
	}
	for _, a := range allow {
		o.Windows = append(o.Windows, limit.Window{Text: a.Text, Count: a.Count, Per: a.Per, Burst: a.Burst, By: keyOf(a.By)})
	}
	full := b.limitName(p)
	across, shared, err := b.across(r, full)
	if err != nil {
		return nil, true, err
	}
	definition := fmt.Sprintf("%+v %s", o, shared)
	l, err := b.limiter(full, r.Mode, definition, func(l *limiter) (err error) {
		o.Allowed, o.Refused = l.allowed, l.refused
		if across != nil {
			l.fallbacks, l.held = observe.NewCounter(), observe.NewCounter()
			across.Fallbacks, across.Held = l.fallbacks, l.held
			o.Across = across
		}
		l.rates, err = limit.NewRates(o)
		return err
	})
	if err != nil {
		return nil, true, err
	}
	if across != nil {
		if _, err := lastingOf(b, fmt.Sprintf("shared %s %s %s", full, r.Mode, definition), func() (*sharer, error) {
			return &sharer{l.rates, across.Fleet, r.Across.Text, across.IfDown == limit.DownDeny}, nil
		}); err != nil {
			return nil, true, err
		}
	}
	cost := r.Cost.Request
	if c, ok := r.Cost.Routes.Get(b.at.route.Name); ok {
		cost = *c
	}
	g, err := l.rates.GuardFirst(b.at.route, cost, count)
	if err != nil {
		return nil, true, err
	}
	b.explain(name, r.Mode, g, p.NeedsIdentity() != "")
	return proxy.Guarded(name, g, modes[r.Mode], nil), true, nil
}

func (b *builder) concurrencyPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.Concurrent
	if c == nil {
		return nil, false, nil
	}
	most := slices.Clone(c.Max)
	slices.SortStableFunc(most, func(a, b config.Ceiling) int { return named(a.By) - named(b.By) })
	count := len(most)
	if b.nameless(p, name) {
		if count = slices.IndexFunc(most, func(m config.Ceiling) bool { return named(m.By) == 1 }); count == 0 {
			return nil, true, nil
		}
	}
	o := limit.SlotOptions{Name: name, Keys: c.Keys, Blame: c.Status == 429}
	for _, m := range most {
		o.Ceilings = append(o.Ceilings, limit.Ceiling{Text: m.Text, Max: m.Max, By: keyOf(m.By)})
	}
	l, err := b.limiter(b.limitName(p), c.Mode, fmt.Sprintf("%+v", o), func(l *limiter) (err error) {
		o.Allowed, o.Refused = l.allowed, l.refused
		l.slots, err = limit.NewSlots(o)
		return err
	})
	if err != nil {
		return nil, true, err
	}
	g, err := l.slots.GuardFirst(b.at.route, count)
	if err != nil {
		return nil, true, err
	}
	b.explain(name, c.Mode, g, p.NeedsIdentity() != "")
	return proxy.Guarded(name, g, modes[c.Mode], nil), true, nil
}

// explain remembers a limit for those who ask what a request would meet; one that is off it does not meet.
func (b *builder) explain(policy, mode string, e explainer, named bool) {
	if modes[mode] == proxy.Off {
		return
	}
	if b.plan.explained == nil {
		b.plan.explained = make(map[*proxy.Route][]limitOnRoute)
	}
	b.plan.explained[b.at.route] = append(b.plan.explained[b.at.route], limitOnRoute{policy, e, named})
}

// limiter returns the state of the policy called name: the running one if its definition is the same.
func (b *builder) limiter(name, mode, definition string, create func(*limiter) error) (*limiter, error) {
	definition = mode + " " + definition
	if l := b.plan.limiters[name]; l != nil {
		return l, nil // of another route
	}
	l := b.runningLimiters[name]
	if l == nil || l.definition != definition {
		l = &limiter{definition: definition, mode: mode, allowed: observe.NewCounter(), refused: observe.NewCounter(), closed: observe.NewCounter()}
		if err := create(l); err != nil {
			return nil, err
		}
	}
	if b.plan.limiters == nil {
		b.plan.limiters = map[string]*limiter{}
	}
	b.plan.limiters[name] = l
	return l, nil
}

// limitName is what a policy is called in metrics and by the admin API: by its name, or else by the place where it is written.
func (b *builder) limitName(p *config.Policy) string {
	for i := range b.config.Policies {
		if &b.config.Policies[i].Value == p {
			return b.config.Policies[i].Name
		}
	}
	if i := slices.IndexFunc(b.config.Defaults.Use, func(u config.Use) bool { return u.Inline == p }); i >= 0 {
		return "defaults.use[" + strconv.Itoa(i) + "]"
	}
	for i := range b.config.Routes {
		r := &b.config.Routes[i]
		if j := slices.IndexFunc(r.Value.Use, func(u config.Use) bool { return u.Inline == p }); j >= 0 {
			return config.JoinPath("routes", r.Name) + ".use[" + strconv.Itoa(j) + "]"
		}
	}
	panic("BUG: a policy stands nowhere")
}

func keyOf(parts []config.KeyPart) limit.Key {
	var k limit.Key
	for _, p := range parts {
		k = append(k, limit.Part{Source: p.Source, Name: p.Name, V4: p.V4, V6: p.V6})
	}
	return k
}

func costOf(c *config.Cost) limit.Cost {
	return limit.Cost{Request: c.Request, Header: c.Header.Text, Status: statusCosts(c.Status), Unit: int64(c.Size)}
}

// statusCosts puts statuses before classes.
func statusCosts(list config.Named[int]) []limit.StatusCost {
	var costs []limit.StatusCost
	for _, s := range list {
		from := int(s.Name[0]-'0') * 100
		if s.Name[1:] == "xx" {
			costs = append(costs, limit.StatusCost{From: from, To: from + 99, Cost: s.Value})
			continue
		}
		status, err := strconv.Atoi(s.Name)
		if err != nil {
			panic("BUG: a status that is no number passed validation: " + s.Name)
		}
		costs = append(costs, limit.StatusCost{From: status, To: status, Cost: s.Value})
	}
	slices.SortStableFunc(costs, func(a, b limit.StatusCost) int { return cmp.Compare(a.To-a.From, b.To-b.From) })
	return costs
}

// Limits returns the state of every policy and every listener that limits, sorted by name.
func (r *Runtime) Limits() []LimitStatus {
	list := []LimitStatus{}
	r.eachLimiter(func(name string, l *limiter) {
		s := LimitStatus{Status: l.status(), Mode: l.mode, Allowed: l.allowed.Value(), Refused: l.refused.Value()}
		s.Name = name
		if l.door != nil {
			for _, n := range l.door.Refused() {
				s.Refused += n
			}
		}
		list = append(list, s)
	})
	return list
}

// LimitCounts calls f with what the metrics want to know about every policy that limits.
func (r *Runtime) LimitCounts(f func(name string, c limit.Counts, allowed, refused uint64)) {
	r.eachLimiter(func(name string, l *limiter) {
		if l.door == nil { // of doors, see Doors
			f(name, l.counts(), l.allowed.Value(), l.refused.Value())
		}
	})
}

func (r *Runtime) eachLimiter(f func(name string, l *limiter)) {
	r.mu.Lock()
	limiters := r.limiters // a map is not changed once it is there
	r.mu.Unlock()
	var names []string
	for name := range limiters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f(name, limiters[name])
	}
}

// ErrNoLimit says that nothing of a name limits anything.
var ErrNoLimit = errors.New("no policy of this name, and no listener (listen.NAME), limits anything")

// QuotaUsage returns what one key has used of the quotas of a policy: the one with these values.
func (r *Runtime) QuotaUsage(policy string, values []string) ([]limit.QuotaUsage, error) {
	r.mu.Lock()
	l := r.limiters[policy]
	r.mu.Unlock()
	if l == nil || l.quotas == nil {
		return nil, ErrNoQuota
	}
	return l.quotas.Usage(values...), nil
}

// ErrNoQuota says that no policy of a name has quotas.
var ErrNoQuota = errors.New("no policy of this name has quotas")

// ResetLimit fills the bucket of one key of a policy, or of a listener (listen.NAME): of the one with this id, as Limits has it, or with these values.
func (r *Runtime) ResetLimit(policy, id string, values []string) error {
	r.mu.Lock()
	l := r.limiters[policy]
	r.mu.Unlock()
	switch {
	case l == nil:
		return ErrNoLimit
	case l.slots != nil:
		return limit.ErrNoReset
	}
	var state interface {
		Reset(id string) error
		ResetValues(values ...string) error
	} = l.rates
	switch {
	case l.quotas != nil:
		state = l.quotas
	case l.door != nil:
		state = l.door
	}
	if id != "" {
		return state.Reset(id)
	}
	return state.ResetValues(values...)
}
