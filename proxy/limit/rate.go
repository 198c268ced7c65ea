package limit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// ErrRateLimited refuses a request that is one too many. The response says when to come back.
var ErrRateLimited = &proxy.Error{Status: 429, Code: "rate_limited", Side: proxy.ByClient,
	Detail: "Too many requests: try again later, see Retry-After."}

// Options of a policy that limits rates.
type Options struct {
	Name    string // as fields of responses and people call it
	Windows []Window
	Keys    int  // how many keys of each window there is room for
	Fields  bool // responses tell how much is left
	Report  bool // nobody is refused: see proxy.Guarded, which asks
	Cost    Cost
	Across  *Across // hosts share the buckets; nil: this host has its own
	// What is counted: requests that were let in, and those that were not. See observe.Counter.
	Allowed, Refused Counter
}

// Cost is how many tokens a request takes.
type Cost struct {
	Request int    // when it comes
	Header  string // a field of the response that says what it costs in all, if not empty
	// Status is what a request costs in all by the status of its response: a status, or a class such as 500 for all of 5xx.
	Status []StatusCost
	// Unit is for how many bytes of the response's body, or of a tunnel, that went to the client it costs 1 more, those that were begun included; 0: the
	// size does not matter. What a status or the field says is said of all.
	Unit int64
}

// StatusCost is what a response with a status in a range costs.
type StatusCost struct{ From, To, Cost int }

// after reports whether the head of the response has a say.
func (c *Cost) after() bool { return c.Header != "" || len(c.Status) > 0 }

// units is what the body of a response has cost. Of what was read for a client that has left, not all has reached it; what has been
// written to it bounds that. Of a connection that was handed over it is all that was written, with the head.
func (c *Cost) units(x *proxy.Exchange) int64 {
	sent := x.BytesOut
	if x.Response.Tunnel == nil {
		sent = min(sent, x.Response.Body.Taken())
	}
	return (sent + c.Unit - 1) / c.Unit
}

// Counter counts. Add is safe for concurrent use.
type Counter interface{ Add(n uint64) }

// Rates is the state of a policy that limits rates: its buckets, for all the routes that use it, and for as long as its
// definition stays the same.
type Rates struct {
	options Options
	table   *table
	tokens  []Tokens // of each window
	plain   []keyer  // of no route in particular
	heavy   heavy
}

// NewRates reserves the memory.
func NewRates(o Options) (*Rates, error) {
	switch {
	case len(o.Windows) == 0 || len(o.Windows) > WindowsMax:
		return nil, fmt.Errorf("a policy has between 1 and %d rates", WindowsMax)
	case o.Cost.Request < 1:
		return nil, errors.New("a request costs at least 1")
	}
	o.Windows = slices.Clone(o.Windows)
	var by []Key
	for i := range o.Windows {
		if err := o.Windows[i].measure(); err != nil {
			return nil, err
		}
		by = append(by, o.Windows[i].By)
	}
	t, err := newTable(tableKeys(o.Keys, by), timeMask)
	if err != nil {
		return nil, err
	}
	r := &Rates{options: o, table: t}
	var toTell []untold
	if o.Across != nil {
		t.seed.shared = &o.Across.Seed
		if toTell, err = newUntold(t); err != nil {
			return nil, err
		}
	}
	if r.plain, err = newKeyers(by, nil); err != nil {
		return nil, err
	}
	for i := range o.Windows {
		if o.Across != nil {
			r.tokens = append(r.tokens, newShared(t, toTell, &o.Windows[i], o.Across))
			continue
		}
		r.tokens = append(r.tokens, newLocal(t, &o.Windows[i]))
	}
	if o.Across != nil {
		r.keepFor(o.Across.Fleet.link.Load().timeout)
	}
	return r, nil
}

// tableKeys is how many keys there can be: so many for each limit that counts by something, and one for each that does not.
func tableKeys(keys int, by []Key) int {
	n := 0
	for _, k := range by {
		if len(k) > 0 {
			n += keys
		} else {
			n++
		}
	}
	return n
}

// Rate is the guard of a route that uses Rates. It is immutable and safe for concurrent use; a check allocates nothing.
type Rate struct {
	*Rates
	keys   []keyer
	tokens []Tokens // of the windows that count on the route, which are the first
	cost   int64
	policy []byte   // see policyLine
	pieces [][]byte // see limitPieces
}

// Guard returns the guard for a route, on which a request takes cost tokens.
func (r *Rates) Guard(route *proxy.Route, cost int) (*Rate, error) {
	return r.GuardFirst(route, cost, len(r.options.Windows))
}

// GuardFirst is Guard, for a route on which only the first n windows count.
func (r *Rates) GuardFirst(route *proxy.Route, cost, n int) (*Rate, error) {
	name, windows := r.options.Name, r.options.Windows[:n]
	g := &Rate{Rates: r, tokens: r.tokens[:n], cost: int64(cost), policy: policyLine(name, windows), pieces: limitPieces(name, windows)}
	var by []Key
	for _, w := range windows {
		if cost > w.Burst {
			return nil, fmt.Errorf("a request costs %d, and %q never has more than %d", cost, w.Text, w.Burst)
		}
		by = append(by, w.By)
	}
	var err error
	g.keys, err = newKeyers(by, route)
	return g, err
}

// Check takes tokens from the request's bucket of each window, or none at all and returns ErrRateLimited. While the store of the buckets is
// down it does what is wanted then.
func (g *Rate) Check(x *proxy.Exchange) error {
	if a := g.options.Across; a != nil && a.Fleet.away() {
		a.Fallbacks.Add(1)
		switch a.IfDown {
		case DownAllow:
			g.options.Allowed.Add(1)
			return nil
		case DownDeny:
			g.options.Refused.Add(1)
			return ErrStoreDown
		}
	}
	v := visits.Get().(*visit)
	v.rate, v.now, v.wait = g, clock(x), 0
	for i := range g.keys {
		v.keys[i] = g.keys[i].hash(x, &g.table.seed)
	}
	refused := g.take(v)
	if refused >= 0 {
		g.options.Refused.Add(1)
		g.heavy.note(&g.keys[refused], x, v.keys[refused], refused, 0, 1)
	} else {
		g.options.Allowed.Add(1)
		if rand.Uint32()%sampleEvery == 0 {
			for i := range g.keys {
				g.heavy.note(&g.keys[i], x, v.keys[i], i, sampleEvery, 0)
			}
		}
	}
	v.sized = g.options.Cost.Unit > 0 && refused < 0
	if v.sized {
		x.OnFinish(v)
	}
	switch {
	case g.options.told(refused >= 0):
		x.OnHead(v)
	case !v.sized:
		v.free()
	}
	if refused >= 0 {
		return ErrRateLimited
	}
	return nil
}

// told reports whether the head of the response matters: to tell the client, or to know what it costs.
func (o *Options) told(refused bool) bool {
	if refused {
		return !o.Report
	}
	return o.Fields && !o.Report || o.Cost.after()
}

// sampleEvery is how many requests that were let in go by for each that is looked at, to find out which keys are used most.
const sampleEvery = 64

// clock is the time at which the request is judged. That its first byte came is about now, unless somebody has waited since.
func clock(x *proxy.Exchange) int64 {
	if x.Waited {
		return wire.Now()
	}
	return x.Started
}

// take returns the window that has not enough tokens, or -1. All windows are looked at before anything is taken from one, so that a
// request that is refused costs nothing. Where others were faster in between, what was taken is given back.
func (g *Rate) take(v *visit) int {
	n := len(g.tokens)
	if n > 1 {
		for i, tokens := range g.tokens {
			if v.verdicts[i] = tokens.Look(v.keys[i], g.cost, v.now); !v.verdicts[i].OK {
				v.refuse(i)
			}
		}
		if v.wait > 0 {
			return v.by
		}
	}
	for i, tokens := range g.tokens {
		if v.verdicts[i] = tokens.Take(v.keys[i], g.cost, v.now); v.verdicts[i].OK {
			continue
		}
		for j := range i {
			g.tokens[j].Return(v.keys[j], g.cost, v.now, v.verdicts[j])
		}
		v.refuse(i)
		return i
	}
	return -1
}

// visit is a request at a policy: what the head of its response says, and costs.
type visit struct {
	rate     *Rate
	now      int64
	wait     int64 // how long to wait, of a request that was refused; else 0
	by       int   // the window that has refused, the one to wait for longest
	keys     [WindowsMax]uint64
	verdicts [WindowsMax]Verdict
	sized    bool // its body costs something, too: Finish frees it
}

var visits = sync.Pool{New: func() any { return new(visit) }}

func (v *visit) free() {
	v.rate = nil
	visits.Put(v)
}

func (v *visit) refuse(window int) {
	if wait := v.verdicts[window].Wait; wait > v.wait {
		v.wait, v.by = wait, window
	}
}

// EditHead tells what is left, and takes what the response costs beyond what was taken. The edge calls it once.
func (v *visit) EditHead(x *proxy.Exchange) {
	o := &v.rate.options
	if v.wait == 0 && o.Cost.after() {
		v.charge(x)
	}
	if !o.Report {
		if v.wait > 0 {
			x.Response.Head.Set("Retry-After", wire.AppendUint(x.Scratch(), seconds(v.wait)))
		}
		if o.Fields {
			v.tell(x)
		}
	}
	if !v.sized {
		v.free()
	}
}

// Finish takes what the body has cost, whoever has ended it.
func (v *visit) Finish(x *proxy.Exchange) {
	g := v.rate
	if _, said := g.options.Cost.of(x, g.cost); !said {
		if n := g.options.Cost.units(x); n > 0 {
			for i, tokens := range g.tokens {
				tokens.Charge(v.keys[i], n, x.EndedAt)
			}
		}
	}
	v.free()
}

// charge takes the difference between what the request has cost and what its response costs, once that is known.
func (v *visit) charge(x *proxy.Exchange) {
	g := v.rate
	cost, _ := g.options.Cost.of(x, g.cost)
	extra := cost - g.cost
	if extra == 0 {
		return
	}
	now := max(v.now, x.HeadAt) // what a late answer costs has not been refilled while it was waited for
	for i, tokens := range g.tokens {
		tokens.Charge(v.keys[i], extra, now)
		v.verdicts[i].Full = tokens.Look(v.keys[i], 0, now).Full
	}
}

// of is what a request costs in all, and whether its response has said so. The field of the response has the last word, if it holds a
// number.
func (c *Cost) of(x *proxy.Exchange, taken int64) (cost int64, said bool) {
	status := x.Response.Status
	if x.Err != nil {
		status = x.Err.Status // a call of gRPC is told of an error with status 200
	}
	for _, s := range c.Status {
		if s.From <= status && status <= s.To {
			taken, said = int64(s.Cost), true
			break
		}
	}
	if c.Header != "" {
		if n, ok := parseCost(x.Response.Head.Get(c.Header)); ok {
			return n, true
		}
	}
	return taken, said
}

// costDigitsMax bounds what a field of a response can say.
const costDigitsMax = 9

func parseCost(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > costDigitsMax {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
