package limit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/limit/ledger"
	"sluice/proxy/wire"
)

// What a request is refused with: its key has used up its quota, and the response says when the next one begins; or nobody knows whether it
// has, because the file of quotas cannot be read or written.
var (
	ErrQuotaExceeded = &proxy.Error{Status: 429, Code: "quota_exceeded", Side: proxy.ByClient,
		Detail: "The quota is used up: it begins anew after what Retry-After says."}
	ErrQuotaUnavailable = &proxy.Error{Status: 503, Code: "quota_unavailable", Side: proxy.ByGateway, RetryAfter: 1,
		Detail: "It is not known at the moment what is left of the quota."}
)

// QuotaOptions of a policy of quotas.
type QuotaOptions struct {
	Name   string
	Ledger *ledger.Ledger
	Meters []QuotaMeter
	Keys   int // for how many each meter has room, from Begin on; 0: as it is
	// Plans are what keys may use, the first one of those without a plan that stands here. The plan is what PlanClaim of the identity says.
	Plans     []Plan
	PlanClaim string
	Fields    bool // responses tell how much is left
	Report    bool // nobody is refused: see proxy.Guarded, which asks
	Dry       bool // nothing is counted
	Cost      Cost
	// What is counted: requests that were let in, those that were not, and of these the ones about whose quota nothing was known.
	Allowed, Refused, Closed Counter
}

// QuotaMeter is what is counted by one calendar, and one key.
type QuotaMeter struct {
	Meter *ledger.Meter
	By    Key // of consumers and claims alone
}

// Plan is what a key may use.
type Plan struct {
	Name   string
	Limits []PlanLimit
}

// PlanLimit is what may be used by one meter.
type PlanLimit struct {
	ledger.Limit
	Meter int // which of the policy's
}

// Quotas is a policy of quotas, for all the routes that use it. What it counts is the ledger's.
type Quotas struct {
	options QuotaOptions
	keys    []keyer // of the meters
	plans   map[string]*Plan
	waiting atomic.Int64
}

// NewQuotas checks the options.
func NewQuotas(o QuotaOptions) (*Quotas, error) {
	q := &Quotas{options: o, plans: make(map[string]*Plan)}
	if len(o.Plans) == 0 {
		return nil, errors.New("a policy of quotas has a plan")
	}
	for _, m := range o.Meters {
		if slices.ContainsFunc(m.By, func(p Part) bool { return p.Source != "consumer" && p.Source != "claim" }) {
			return nil, errors.New("a quota counts by consumer or claim")
		}
		k, err := newKeyer(m.By, 0, nil)
		if err != nil {
			return nil, err
		}
		q.keys = append(q.keys, k)
	}
	for i := range o.Plans {
		p := &o.Plans[i]
		if len(p.Limits) == 0 || len(p.Limits) > WindowsMax {
			return nil, fmt.Errorf("a plan has between 1 and %d quotas", WindowsMax)
		}
		for _, l := range p.Limits {
			if l.Most < 1 || l.Most > ledger.AmountMax || l.Batch < 1 || l.Meter < 0 || l.Meter >= len(o.Meters) {
				return nil, fmt.Errorf("%q has a number that cannot be", l.Text)
			}
		}
		q.plans[p.Name] = p
	}
	return q, nil
}

// Begin says that the policy is the one that serves from now on: meters may have been another's before, with other room.
func (q *Quotas) Begin() {
	for _, m := range q.options.Meters {
		if q.options.Keys > 0 {
			m.Meter.SetRoom(q.options.Keys)
		}
	}
}

// Quota is the guard of a route that uses Quotas. It is immutable and safe for concurrent use. A check of a key that has an account of its own
// allocates nothing. One for which there was no room is looked for under a lock each time, which allocates.
type Quota struct {
	*Quotas
	cost   int64
	pieces map[*Plan][]quotaPieces
}

// quotaPieces is what stands in the lines of RateLimit-Policy and RateLimit before the numbers of a quota.
type quotaPieces struct{ policy, limit []byte }

// Guard returns the guard for a route, on which a request costs so much.
func (q *Quotas) Guard(cost int) (*Quota, error) {
	g := &Quota{Quotas: q, cost: int64(cost), pieces: make(map[*Plan][]quotaPieces)}
	for i := range q.options.Plans {
		p := &q.options.Plans[i]
		for j, l := range p.Limits {
			if g.cost > l.Most {
				return nil, fmt.Errorf("a request costs %d, and %q is less", cost, l.Text)
			}
			name := `"` + q.options.Name
			if len(p.Limits) > 1 {
				name += "-" + strconv.Itoa(j+1)
			}
			name += `"`
			one := quotaPieces{[]byte(", " + name + ";q="), []byte(", " + name + ";r=")}
			if j == 0 {
				one = quotaPieces{[]byte(fieldPolicy + ": " + name + ";q="), []byte(fieldLimit + ": " + name + ";r=")}
			}
			g.pieces[p] = append(g.pieces[p], one)
		}
	}
	return g, nil
}

// Check uses what the request costs of each quota, or nothing at all and returns ErrQuotaExceeded or ErrQuotaUnavailable.
func (g *Quota) Check(x *proxy.Exchange) error {
	if g.options.Dry {
		return nil
	}
	v := usages.Get().(*usage)
	v.guard, v.plan, v.refused = g, g.planOf(x), nil
	err := g.use(v, x)
	switch err {
	case nil:
		g.options.Allowed.Add(1)
	case ErrQuotaUnavailable:
		g.options.Closed.Add(1)
		fallthrough
	default:
		g.options.Refused.Add(1)
	}
	v.follow(x, err)
	return err
}

// planOf is the plan of whoever is asking.
func (q *Quotas) planOf(x *proxy.Exchange) *Plan {
	if len(q.options.Plans) > 1 {
		if p := q.plans[string(x.Identity.Claim(q.options.PlanClaim))]; p != nil {
			return p
		}
	}
	return &q.options.Plans[0]
}

// use takes what a request costs. Where a client is faster than the file is written, it waits for that.
func (g *Quota) use(v *usage, x *proxy.Exchange) error {
	err := g.try(v, x)
	if err != ErrQuotaUnavailable {
		return err
	}
	for until := patience(x); ; {
		written := g.options.Ledger.Written()
		if err = g.try(v, x); err != ErrQuotaUnavailable || !g.wait(x, written, until) {
			return err
		}
	}
}

// try looks at all quotas before it takes from one, so that a request that is refused costs nothing. Where others were faster in between,
// what was taken is given back.
func (g *Quota) try(v *usage, x *proxy.Exchange) error {
	v.now = g.options.Ledger.Wall(clock(x))
	limits := v.plan.Limits
	for i := range limits {
		if v.accounts[i] = g.account(x, limits[i].Meter, v.now); v.accounts[i] == nil {
			return ErrQuotaUnavailable
		}
	}
	if x.Waited {
		v.now = g.options.Ledger.Wall(clock(x))
	}
	if len(limits) > 1 {
		for i := range limits {
			v.verdicts[i] = g.ask(v, x, i, false)
			v.refuse(i)
		}
		if v.refused != nil {
			return ErrQuotaExceeded
		}
	}
	for i := range limits {
		v.verdicts[i] = g.ask(v, x, i, true)
		if v.verdicts[i].OK {
			continue
		}
		for j := range i {
			v.accounts[j].Charge(-g.cost, v.verdicts[j].Period, v.now)
		}
		if v.verdicts[i].Closed {
			return ErrQuotaUnavailable
		}
		v.refuse(i)
		return ErrQuotaExceeded
	}
	return nil
}

// ask asks an account, or the one that has come into its place.
func (g *Quota) ask(v *usage, x *proxy.Exchange, i int, take bool) ledger.Verdict {
	limit := &v.plan.Limits[i]
	for {
		a := v.accounts[i]
		if a == nil {
			return ledger.Verdict{Closed: true}
		}
		var verdict ledger.Verdict
		if take {
			verdict = a.Take(g.cost, &limit.Limit, v.now)
		} else {
			verdict = a.Look(g.cost, &limit.Limit, v.now)
		}
		if !verdict.Gone {
			return verdict
		}
		// It would be found until all that are given up with it have gone: to enter is to wait for that.
		v.accounts[i] = g.enter(x, limit.Meter, v.now)
	}
}

// account returns the account of a request, nil if there can be none now.
func (g *Quota) account(x *proxy.Exchange, meter int, now int64) *ledger.Account {
	m, k := g.options.Meters[meter].Meter, &g.keys[meter]
	hot := k.hash(x, &seed{own: m.Seed()})
	if a := m.Find(hot); a != nil {
		return a
	}
	g.await(x, m)
	return g.enter(x, meter, now)
}

func (g *Quota) enter(x *proxy.Exchange, meter int, now int64) *ledger.Account {
	m, k := g.options.Meters[meter].Meter, &g.keys[meter]
	return m.Enter(k.hash(x, &seed{own: m.Seed()}), k.lastingKey(x), string(k.appendText(nil, x)), now)
}

const (
	// patienceMax is how long a request waits for the file, which takes milliseconds: when the gateway has just started, when a quota is new,
	// and when a client has used up what is reserved for it.
	patienceMax = 2 * time.Second
	// patientMax is how many do so at a time.
	patientMax = 1000
)

// patience is until when a request waits.
func patience(x *proxy.Exchange) int64 {
	until := wire.Now() + int64(patienceMax)
	if x.Deadline > 0 {
		until = min(until, x.Deadline)
	}
	return until
}

func (g *Quota) await(x *proxy.Exchange, m *ledger.Meter) {
	select {
	case <-m.Ready():
	default:
		g.wait(x, m.Ready(), patience(x))
	}
}

// wait waits until a channel is closed, and reports whether it was. Nobody waits for a file that is known to fail.
func (g *Quota) wait(x *proxy.Exchange, c <-chan struct{}, until int64) bool {
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > patientMax || !g.options.Ledger.Hopeful() {
		return false
	}
	x.Waited = true
	t := time.NewTimer(time.Duration(until - wire.Now()))
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
	case <-x.Done():
	}
	return false
}

// lastingKey is the key of a request in every run of the gateway.
func (k *keyer) lastingKey(x *proxy.Exchange) ledger.Key {
	var values []string
	absent := 0
	for i := range k.parts {
		value, ok := k.parts[i].read(&k.parts[i], x)
		values = append(values, string(value))
		if !ok {
			absent |= 1 << i
		}
	}
	return hashValues(values, absent)
}

// lastingKey is the key with these values, all of which are there.
func lastingKey(values []string) ledger.Key { return hashValues(values, 0) }

// hashValues has a bit in absent for each value that is not there, which is not the same as an empty one.
func hashValues(values []string, absent int) (key ledger.Key) {
	h := sha256.New()
	for i, value := range values {
		var head [9]byte // with its length: "ab" and "c" are not "a" and "bc"
		if absent&(1<<i) == 0 {
			head[0] = 1
		}
		binary.BigEndian.PutUint64(head[1:], uint64(len(value)))
		h.Write(head[:])
		h.Write([]byte(value))
	}
	copy(key[:], h.Sum(nil))
	return key
}

// usage is a request at a policy of quotas: what the head of its response says, and what it costs.
type usage struct {
	guard    *Quota
	plan     *Plan
	now      int64
	refused  *ledger.Verdict // of the quota that is used up and begins anew last, if one is
	accounts [WindowsMax]*ledger.Account
	verdicts [WindowsMax]ledger.Verdict
	sized    bool // its body costs something, too: Finish frees it
}

var usages = sync.Pool{New: func() any { return new(usage) }}

func (v *usage) free() {
	v.guard, v.plan, v.refused = nil, nil, nil
	clear(v.accounts[:])
	usages.Put(v)
}

func (v *usage) refuse(i int) {
	if w := &v.verdicts[i]; !w.OK && !w.Closed && (v.refused == nil || w.Until > v.refused.Until) {
		v.refused = w
	}
}

// follow goes on with the response, where that has something to be told, or a say.
func (v *usage) follow(x *proxy.Exchange, err error) {
	o := &v.guard.options
	v.sized = o.Cost.Unit > 0 && err == nil
	if v.sized {
		x.OnFinish(v)
	}
	switch {
	case err == nil && (o.Fields && !o.Report || o.Cost.after()), err == ErrQuotaExceeded && !o.Report:
		x.OnHead(v)
	case !v.sized:
		v.free()
	}
}

// EditHead tells what is left, and uses what the response costs beyond what was used. The edge calls it once.
func (v *usage) EditHead(x *proxy.Exchange) {
	o := &v.guard.options
	if v.refused == nil && o.Cost.after() {
		cost, _ := o.Cost.of(x, v.guard.cost)
		v.charge(cost-v.guard.cost, max(v.now, o.Ledger.Wall(x.HeadAt)))
	}
	if !o.Report {
		if v.refused != nil {
			x.Response.Head.Set("Retry-After", wire.AppendUint(x.Scratch(), seconds(v.refused.Until)))
		}
		if o.Fields {
			v.tell(x)
		}
	}
	if !v.sized {
		v.free()
	}
}

// Finish uses what the body has cost, whoever has ended it.
func (v *usage) Finish(x *proxy.Exchange) {
	o := &v.guard.options
	if _, said := o.Cost.of(x, v.guard.cost); !said {
		v.charge(o.Cost.units(x), o.Ledger.Wall(x.EndedAt))
	}
	v.free()
}

func (v *usage) charge(n, now int64) {
	if n == 0 {
		return
	}
	for i := range v.plan.Limits {
		v.accounts[i].Charge(n, v.verdicts[i].Period, now)
		v.verdicts[i].Used = max(v.verdicts[i].Used+n, 0)
	}
}

func (v *usage) tell(x *proxy.Exchange) {
	pieces := v.guard.pieces[v.plan]
	b := x.Scratch() // the head copies it
	for i := range v.plan.Limits {
		b = wire.AppendUint(append(b, pieces[i].policy...), uint64(v.plan.Limits[i].Most))
		b = wire.AppendUint(append(b, ";w="...), seconds(v.verdicts[i].Length))
	}
	x.Response.Head.AddOwn(b, len(fieldPolicy))
	b = x.Scratch()
	for i := range v.plan.Limits {
		used := v.verdicts[i].Used
		if v.refused != nil && v.verdicts[i].OK {
			used -= v.guard.cost // another quota has refused: nothing was taken from this one
		}
		b = wire.AppendUint(append(b, pieces[i].limit...), uint64(max(v.plan.Limits[i].Most-used, 0)))
		b = wire.AppendUint(append(b, ";t="...), seconds(v.verdicts[i].Until))
	}
	x.Response.Head.AddOwn(b, len(fieldLimit))
}

// Status returns what is known about the policy.
func (q *Quotas) Status() Status {
	s := Status{Name: q.options.Name, Kind: "quota", Counts: q.Counts(), Keys: []KeyStatus{}}
	for i := range q.options.Plans {
		for _, l := range q.options.Plans[i].Limits {
			s.Limits = append(s.Limits, q.limitText(&q.options.Plans[i], &l))
		}
	}
	now := q.options.Ledger.Wall(wire.Now())
	for i, m := range q.options.Meters {
		for _, u := range m.Meter.Most(heavyMax, now) {
			k := KeyStatus{
				ID: fmt.Sprintf("%d-%x", i, u.Key), Limit: unitText(m.Meter), Key: u.Text, Used: u.Used,
				Full: roundSeconds(u.Until),
			}
			if u.Limit != nil {
				k.Limit, k.Left = u.Limit.Text, int(max(u.Limit.Most-u.Used, 0))
			}
			s.Keys = append(s.Keys, k)
		}
	}
	return s
}

func (q *Quotas) limitText(p *Plan, l *PlanLimit) string {
	if len(q.options.Plans) > 1 {
		return p.Name + ": " + l.Text
	}
	return l.Text
}

// Counts returns those of the keys.
func (q *Quotas) Counts() (c Counts) {
	now := q.options.Ledger.Wall(wire.Now())
	for _, m := range q.options.Meters {
		live, evicted, overflow := m.Meter.Counts(now)
		c.Live += live
		c.Evicted += evicted
		c.Overflow += overflow
	}
	return c
}

// QuotaUsage is what one key has used of one quota, for people.
type QuotaUsage struct {
	Limit string  `json:"limit"` // that it was last asked with, or a day, a week, a month
	Used  int64   `json:"used"`
	Left  int64   `json:"left"` // of that limit; 0 if it was not asked since the start
	Full  float64 `json:"full_in_seconds"`
}

// Usage returns what the key with these values, one for each part, has used in this period; nothing of quotas of which it has used none.
func (q *Quotas) Usage(values ...string) []QuotaUsage {
	list := []QuotaUsage{}
	now := q.options.Ledger.Wall(wire.Now())
	for i, m := range q.options.Meters {
		if len(q.keys[i].parts) != len(values) {
			continue
		}
		if u, ok := m.Meter.Usage(lastingKey(values), now); ok {
			one := QuotaUsage{Limit: unitText(m.Meter), Used: u.Used, Full: roundSeconds(u.Until)}
			if u.Limit != nil {
				one.Limit, one.Left = u.Limit.Text, max(u.Limit.Most-u.Used, 0)
			}
			list = append(list, one)
		}
	}
	return list
}

func unitText(m *ledger.Meter) string { return "a " + m.Calendar().Unit.String() }

func roundSeconds(ns int64) float64 { return math.Round(float64(ns)/1e6) / 1e3 }

// Reset gives the key that Status calls id all of its quota back.
func (q *Quotas) Reset(id string) error {
	var meter int
	var key []byte
	if n, err := fmt.Sscanf(id, "%d-%x", &meter, &key); n != 2 || err != nil || meter < 0 || meter >= len(q.options.Meters) || len(key) != len(ledger.Key{}) {
		return fmt.Errorf("%q is no id of a key", id)
	}
	if !q.options.Meters[meter].Meter.Reset(ledger.Key(key), q.options.Ledger.Wall(wire.Now())) {
		return ErrUnknownKey
	}
	return nil
}

// ResetValues gives the key with these values, one for each part, all of its quotas back.
func (q *Quotas) ResetValues(values ...string) error {
	wrong := fmt.Errorf("no quota of the policy has a key of %d values", len(values))
	for i, m := range q.options.Meters {
		switch {
		case len(q.keys[i].parts) != len(values):
		case m.Meter.Reset(lastingKey(values), q.options.Ledger.Wall(wire.Now())):
			wrong = nil
		case wrong != nil:
			wrong = ErrUnknownKey
		}
	}
	return wrong
}

// Explain says by what a request would be counted, one line for each quota.
func (g *Quota) Explain(x *proxy.Exchange) []string {
	p := g.planOf(x)
	var lines []string
	for i := range p.Limits {
		l := &p.Limits[i]
		lines = append(lines, explain(g.limitText(p, l), g.cost, &g.keys[l.Meter], x))
	}
	return lines
}
