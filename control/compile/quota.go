package compile

import (
	"fmt"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/limit"
	"sluice/proxy/limit/ledger"
	"sluice/router"
)

// quotaFile is where in the folder of state what was used of quotas is kept.
const quotaFile = "quotas.db"

var quotaUnits = map[string]ledger.Unit{"day": ledger.Day, "week": ledger.Week, "month": ledger.Month}

func (b *builder) quotaPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	q := p.Quota
	if q == nil {
		return nil, false, nil
	}
	if b.nameless(p, name) {
		return nil, true, nil // it counts nothing but clients that are known
	}
	file := stateFile(b.config, quotaFile)
	book, err := lastingOf(b, "quotas "+file, func() (*ledger.Ledger, error) { return ledger.New(file), nil })
	if err != nil {
		return nil, true, err
	}
	// What is counted stays the ledger's when the policy changes, so that a reload gives nobody anything; the definition is about the rest.
	l, err := b.limiter(b.limitName(p), q.Mode, fmt.Sprintf("%s %+v", file, withoutPlaces(q)), func(l *limiter) (err error) {
		o := b.quotaOptions(name, p, book)
		o.Allowed, o.Refused, o.Closed = l.allowed, l.refused, l.closed
		l.quotas, err = limit.NewQuotas(o)
		return err
	})
	if err != nil {
		return nil, true, err
	}
	cost := q.Cost.Request
	if c, ok := q.Cost.Routes.Get(b.at.route.Name); ok {
		cost = *c
	}
	g, err := l.quotas.Guard(cost)
	if err != nil {
		return nil, true, err
	}
	b.explain(name, q.Mode, g, p.NeedsIdentity() != "")
	return proxy.Guarded(name, g, modes[q.Mode], nil), true, nil
}

// withoutPlaces is a definition that is the same wherever in the file it stands.
func withoutPlaces(q *config.Quota) any {
	type amount struct {
		text, unit string
		reserve    int
	}
	plans := map[string][]amount{}
	add := func(name string, list []config.QuotaAmount) {
		for _, a := range list {
			plans[name] = append(plans[name], amount{a.Text, a.Unit, q.ReserveFor(a)})
		}
	}
	add(config.DefaultPlan, q.Allow)
	for _, p := range q.Plans {
		add(p.Name, p.Value)
	}
	cost := costOf(&q.Cost)
	return []any{plans, q.PlanFrom.Text, q.Zone.Text, cost, q.Keys, q.Fields}
}

func (b *builder) quotaOptions(name string, p *config.Policy, book *ledger.Ledger) limit.QuotaOptions {
	q := p.Quota
	o := limit.QuotaOptions{
		Name: name, Ledger: book, PlanClaim: q.PlanFrom.Text, Fields: q.Fields == "on", Report: q.Mode == "report", Keys: q.Keys,
		Dry: b.runtime.options.Dry, Cost: costOf(&q.Cost),
	}
	meters := map[string]int{}
	limits := func(list []config.QuotaAmount) []limit.PlanLimit {
		var out []limit.PlanLimit
		for _, a := range list {
			by := keyOf(a.By)
			// By its name what was counted is found again in the next run: changing an amount changes nothing about it.
			counted := fmt.Sprintf("%s: %s in %s per %s", b.limitName(p), a.Unit, q.Zone.Text, by)
			at, known := meters[counted]
			if !known {
				at = len(o.Meters)
				meters[counted] = at
				m := book.Meter(counted, ledger.Calendar{Unit: quotaUnits[a.Unit], Zone: q.Location()}, q.Keys)
				o.Meters = append(o.Meters, limit.QuotaMeter{Meter: m, By: by})
			}
			out = append(out, limit.PlanLimit{
				Limit: ledger.Limit{Text: a.Text, Most: int64(a.Most), Batch: int64(q.ReserveFor(a))}, Meter: at,
			})
		}
		return out
	}
	add := func(plan string, list []config.QuotaAmount) {
		made := limit.Plan{Name: plan, Limits: limits(list)}
		if plan == config.DefaultPlan {
			o.Plans = append([]limit.Plan{made}, o.Plans...)
			return
		}
		o.Plans = append(o.Plans, made)
	}
	if q.Allow != nil {
		add(config.DefaultPlan, q.Allow)
	}
	for _, plan := range q.Plans {
		add(plan.Name, plan.Value)
	}
	return o
}

// QuotaStatus is how keeping quotas goes.
type QuotaStatus struct {
	ledger.Status
	// Closed counts requests by policy that were refused because nothing was known about their quota.
	Closed map[string]uint64
}

// Quotas returns how keeping quotas goes; false if there are none.
func (r *Runtime) Quotas() (QuotaStatus, bool) {
	books := lastingAll[*ledger.Ledger](r)
	if len(books) == 0 {
		return QuotaStatus{}, false
	}
	s := QuotaStatus{Status: books[0].Status(), Closed: map[string]uint64{}} // there is one folder of state
	r.eachLimiter(func(name string, l *limiter) {
		if l.quotas != nil {
			s.Closed[name] = l.closed.Value()
		}
	})
	return s, true
}
