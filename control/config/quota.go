package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Quota is the policy that limits how much a client uses in a day, a week or a month of the calendar, over restarts. Exactly one of
// Allow and Plans is there.
type Quota struct {
	Allow    List[QuotaAmount]        `cfg:"allow" doc:"amounts such as 10000/day, 200000/month per consumer; all of them hold"`
	Plans    Named[List[QuotaAmount]] `cfg:"plans" names:"any" doc:"the same by the plan of the client; default is for those whose plan is not there"`
	PlanFrom Text                     `cfg:"plan_from" default:"plan" doc:"the claim that says what the plan is; for consumers of the configuration it is plan"`
	Zone     Text                     `cfg:"time_zone" default:"UTC" doc:"where a day begins at midnight, such as Europe/Berlin"`
	Cost     Cost                     `cfg:"cost" doc:"how much of the quotas a request takes; 1 by default"`
	Reserve  int                      `cfg:"reserve" min:"1" max:"1000000000" doc:"how much is reserved at a time, which is what a crash costs a client at most; by default a fiftieth of the quota, at least 50 (of quotas up to 100 half) and at most 10000"`
	Keys     int                      `cfg:"keys" default:"100000" min:"1" max:"10000000" doc:"how many clients are told apart"`
	Fields   string                   `cfg:"headers" default:"on" enum:"on,off" doc:"tell clients what is left, in RateLimit and RateLimit-Policy"`
	Mode     string                   `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos      Pos
}

// DefaultPlan is that of clients whose plan is not among those of a quota.
const DefaultPlan = "default"

// QuotaAmount is how much may be used in a period, and what it is counted by: 10000/day per consumer.
type QuotaAmount struct {
	Text string
	Most int
	Unit string // day, week or month
	By   []KeyPart
	Pos  Pos
}

// Location is the time zone, which validation has found.
func (q *Quota) Location() *time.Location {
	zone, err := time.LoadLocation(q.Zone.Text)
	if err != nil {
		panic("BUG: a time zone that is not known passed validation: " + q.Zone.Text)
	}
	return zone
}

// Amounts are those of all plans.
func (q *Quota) Amounts() []QuotaAmount {
	all := slices.Clone(q.Allow)
	for _, p := range q.Plans {
		all = append(all, p.Value...)
	}
	return all
}

const quotaExamples = "an amount such as 10000/day or 200000/month per consumer"

func (a *QuotaAmount) decode(d *decoder, n *node, path string, _ field) {
	decodeLimit(d, n, path, quotaExamples, a, parseQuotaAmount)
	a.Pos = n.pos
}

// quotaMax is the most that a quota may be.
const quotaMax = 1_000_000_000_000

var quotaUnits = map[string]string{"d": "day", "day": "day", "w": "week", "week": "week", "month": "month"}

func parseQuotaAmount(text string) (QuotaAmount, *limitProblem) {
	if len(text) > limitBytesMax {
		return QuotaAmount{}, &limitProblem{fmt.Sprintf("is longer than %d bytes", limitBytesMax), ""}
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return QuotaAmount{}, &limitProblem{}
	}
	a := QuotaAmount{Text: strings.Join(words, " ")}
	number, unit, found := strings.Cut(words[0], "/")
	if !found {
		return QuotaAmount{}, &limitProblem{}
	}
	var wrong *limitProblem
	if a.Most, wrong = parseCount(number, "a quota", quotaMax); wrong != nil {
		return QuotaAmount{}, wrong
	}
	if a.Unit = quotaUnits[unit]; a.Unit == "" {
		hint := "day, week or month; for shorter times there is rate_limit"
		if near := nearest(unit, []string{"day", "week", "month"}); near != "" {
			hint = fmt.Sprintf("did you mean %s/%s?", number, near)
		}
		return QuotaAmount{}, &limitProblem{clip(strconv.Quote(unit)) + " is no time that a quota can have", hint}
	}
	if a.By, wrong = parseBy(words[1:]); wrong != nil {
		return QuotaAmount{}, wrong
	}
	if a.By == nil {
		a.By = []KeyPart{{Source: "consumer"}}
	}
	for _, p := range a.By {
		if p.Source != "consumer" && p.Source != "claim" {
			return QuotaAmount{}, &limitProblem{"a quota is kept for clients that are known, and cannot count by " + p.Source, "per consumer or claim.NAME; by other things counts rate_limit"}
		}
	}
	return a, nil
}

func (v *validator) quota(q *Quota, path string) {
	if q == nil {
		return
	}
	path = joinPath(path, "quota")
	switch {
	case q.Allow == nil && q.Plans == nil && !v.written(path+".allow") && !v.written(path+".plans"):
		v.fail(path, "allows nothing in particular", "allow: 10000/day, or plans: { gold: 1000000/month, default: 10000/month }")
	case q.Allow != nil && q.Plans != nil:
		v.fail(path+".allow", "does not go with plans", "what holds for all plans stands in a quota of its own")
	}
	if v.config.State == "" {
		v.fail(path, "needs a place where it outlives a restart", "state: /var/lib/sluice")
	}
	if q.Zone == (Text{}) {
		return // it is no mapping, which was said
	}
	if _, err := time.LoadLocation(q.Zone.Text); err != nil || q.Zone.Text == "" || q.Zone.Text == "Local" {
		v.failAt(q.Zone.Pos, path+".time_zone", v.show(q.Zone.Text, q.Zone.Pos)+" is no time zone that is known here", "UTC, or a name such as Europe/Berlin")
	}
	if q.PlanFrom.Text == "" {
		v.failAt(q.PlanFrom.Pos, path+".plan_from", "names no claim", "plan")
	}
	cost := q.Cost.most(v, path+".cost")
	if q.Allow != nil {
		v.quotaAmounts(q.Allow, path+".allow", cost)
	}
	for _, p := range q.Plans {
		v.quotaAmounts(p.Value, joinPath(path+".plans", p.Name), cost)
	}
	if _, ok := q.Plans.Get(DefaultPlan); q.Plans != nil && !ok {
		v.fail(path+".plans", "says nothing of clients that have another plan, or none", "default: 1000/month")
	}
	if q.Reserve > 0 && q.Reserve < cost {
		v.fail(path+".reserve", fmt.Sprintf("is less than the %d that a request may cost", cost), "")
	}
}

// plans warns of words that do not meet: whoever has a plan that is misspelt, in a quota or of a consumer, gets what is for default, which nobody
// would notice. Where consumers are stored, or come with tokens, nobody knows their plans.
func (v *validator) plans() {
	elsewhere := false
	var theirs, ours []string
	quotas := make(map[string]*Quota)
	v.config.eachPolicy(func(p *Policy, path string) {
		elsewhere = elsewhere || p.TellsApart() && p.APIKey == nil && p.BasicAuth == nil && p.Signature == nil
		if p.Quota != nil && p.Quota.Plans != nil {
			quotas[path] = p.Quota
			for _, plan := range p.Quota.Plans {
				ours = append(ours, plan.Name)
			}
		}
	})
	for _, g := range v.config.Consumers {
		elsewhere = elsewhere || g.Value.Stored
		for _, c := range g.Value.List {
			if plan := c.Value.Plan.Text; plan != "" {
				theirs = append(theirs, plan)
			}
		}
	}
	if elsewhere || len(theirs) == 0 {
		return
	}
	theirs = slices.Compact(sortedCopy(theirs))
	for path, q := range quotas {
		for _, p := range q.Plans {
			if p.Name != DefaultPlan && !slices.Contains(theirs, p.Name) {
				v.warn(joinPath(path+".quota.plans", p.Name), "no consumer has this plan", didYouMean(p.Name, "plans of consumers", theirs))
			}
		}
	}
	for _, g := range v.config.Consumers {
		for _, c := range g.Value.List {
			plan := c.Value.Plan.Text
			if near := nearest(plan, ours); near != "" && !slices.Contains(ours, plan) { // others are meant to have the default one
				v.warn(JoinPath("consumers", g.Name, c.Name, "plan"), "no quota knows this plan: it is taken for default", fmt.Sprintf("did you mean %s?", near))
			}
		}
	}
}

func (v *validator) quotaAmounts(list List[QuotaAmount], path string, cost int) {
	if len(list) == 0 {
		v.fail(path, "allows nothing in particular", quotaExamples)
	}
	if len(list) > allowancesMax {
		v.fail(path, fmt.Sprintf("has more than %d amounts", allowancesMax), "make several policies of it")
	}
	for i, a := range list {
		where := v.item(path, i)
		if a.Most > 0 && cost > a.Most {
			v.failAt(a.Pos, where, fmt.Sprintf("is less than the %d that a request may cost", cost), "")
		}
		for _, b := range list[:i] {
			if a.Most > 0 && a.Unit == b.Unit && slices.EqualFunc(a.By, b.By, func(p, q KeyPart) bool { return p == q }) {
				v.failAt(a.Pos, where, "stands here twice for a "+a.Unit, "the smaller one holds")
			}
		}
	}
}

// MostCost is the most that a request takes when it comes.
func (c *Cost) MostCost() int {
	most := c.Request
	for _, r := range c.Routes {
		most = max(most, r.Value)
	}
	return most
}

// ReserveFor is how much of an amount is reserved at a time. A crash costs as much, and so never more than half of a small one; who uses more
// than half of it while the file is written waits for that.
func (q *Quota) ReserveFor(a QuotaAmount) int {
	n := cmp.Or(q.Reserve, min(max(a.Most/50, min(50, a.Most/2), 1), 10_000))
	return min(max(n, q.Cost.MostCost()), a.Most)
}
