package forward

import (
	"errors"
	"slices"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// Options say whom to ask, what, and what to do with the answer.
type Options struct {
	Name    string       // of the policy, which vouches for whom the service names
	Service proxy.Policy // is asked
	Method  string       // empty: that of the request
	Target  string       // path and query

	Send    []string // request fields that the service gets, beside those about the request itself
	Cookies []string // the cookies that it gets; nil: none but what Send says
	Key     Facts    // what of the request makes a decision another one, beside Send and Cookies

	Forward  []string // fields of the answer that go on with the request; what clients send under these names never does
	Respond  []string // fields of an answer that admits which the client gets
	Identity string   // the field of the answer that says who the client is; empty: nobody does

	Timeout         time.Duration
	Remember        time.Duration // for how long a decision that admits holds; 0: for one request
	RememberRefused time.Duration // the same of one that does not
	Memory          *Memory

	// Idle asks nobody and admits everybody: it is for explaining what would be done.
	Idle bool
}

// ErrUnavailable closes a route whose service cannot be asked, or does not answer with a decision.
var ErrUnavailable = &proxy.Error{Status: 503, Code: "auth_unavailable", Side: proxy.ByGateway, RetryAfter: 1,
	Detail: "Whether this request is allowed cannot be found out at the moment."}

// Guard admits what its service admits. Immutable but for what is remembered; safe for concurrent use. For a decision that it remembers a
// check allocates nothing.
type Guard struct {
	options     Options
	path, query []byte
	hasQuery    bool
	// What the service speaks by is nobody else's to say: early goes before it is asked, late, which it is to see, after that.
	early, late []string
}

// New returns a guard.
func New(o Options) *Guard {
	g := &Guard{options: o}
	g.path, g.query, g.hasQuery = cutQuery(o.Target)
	for _, name := range g.spoken() {
		if slices.ContainsFunc(o.Send, func(sent string) bool { return strings.EqualFold(sent, name) }) {
			g.late = append(g.late, name)
		} else {
			g.early = append(g.early, name)
		}
	}
	return g
}

// spoken are the fields that the service speaks by.
func (g *Guard) spoken() []string {
	if g.options.Identity == "" {
		return g.options.Forward
	}
	return append(slices.Clone(g.options.Forward), g.options.Identity)
}

// Prepare takes away the fields that the service speaks by, for whoever has sent them.
func (g *Guard) Prepare(x *proxy.Exchange) { x.StripFields(g.early) }

// Check returns nil, the answer of a service that refuses, or ErrUnavailable.
func (g *Guard) Check(x *proxy.Exchange) error {
	if g.options.Idle {
		x.StripFields(g.late)
		return nil
	}
	key := g.key(x)
	d := g.options.Memory.find(key, nowOf(x))
	var err error
	if d == nil {
		d, err = g.decide(x, key)
	}
	x.StripFields(g.late)
	if err != nil {
		return err
	}
	if !d.admits {
		return d
	}
	d.apply(x, g.options.Identity != "")
	return nil
}

// nowOf is the time at which a request is judged: that of its first byte, unless somebody has waited since.
func nowOf(x *proxy.Exchange) int64 {
	if x.Started == 0 || x.Waited {
		return wire.Now()
	}
	return x.Started
}

// decide asks, alone or with those who want to know the same.
func (g *Guard) decide(x *proxy.Exchange, key recall.Sum) (*decision, error) {
	x.Waited = true
	if x.Request.Head.CountKnown(wire.Via) > hopsMax {
		return nil, ErrUnavailable.With(errLoop)
	}
	if g.options.Remember == 0 {
		return g.decideAlone(x, key)
	}
	f, leads := g.options.Memory.join(key)
	if leads {
		// It may have been decided between our look and our joining.
		if d := g.options.Memory.find(key, wire.Now()); d != nil {
			g.options.Memory.land(f, d, nil)
			return d, nil
		}
		go g.fly(g.question(x), f)
	}
	switch d, err := f.await(x); {
	case err != nil:
		return nil, err
	case d.shared || leads:
		return d, nil
	}
	return g.decideAlone(x, key) // what was said to another client is not for this one
}

// decideAlone asks for x and nobody else.
func (g *Guard) decideAlone(x *proxy.Exchange, key recall.Sum) (*decision, error) {
	c := g.question(x)
	if x.Deadline != 0 {
		c.Deadline = min(c.Deadline, x.Deadline)
	}
	x.CancelFork(c, nil)
	defer func() {
		x.CancelFork(nil, nil)
		c.End()
	}()
	d, err := g.ask(c, key)
	if why := x.Canceled(); why != nil {
		return nil, why
	}
	return d, err
}

// fly asks for all who wait for f, none of whom is asked to stay.
func (g *Guard) fly(c *proxy.Exchange, f *flight) {
	var d *decision
	err := error(ErrUnavailable) // of a panic
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
		g.options.Memory.land(f, d, err)
		c.End()
	}()
	if f.carry(c) {
		d, err = g.ask(c, f.key)
	}
}

var errLate = &proxy.Error{Status: 504, Code: "auth_late", Side: proxy.ByUpstream, Detail: "The service that decides did not answer in time."}

// ask sends the question in c and makes a decision of the answer. c is the caller's to end.
func (g *Guard) ask(c *proxy.Exchange, key recall.Sum) (d *decision, err error) {
	m := g.options.Memory
	ended := make(chan struct{})
	late := time.AfterFunc(time.Duration(c.Deadline-wire.Now()), func() {
		defer close(ended)
		c.Cancel(errLate)
	})
	defer func() {
		if !late.Stop() {
			<-ended // Cancel is at work, or was: it must not meet another exchange
		}
	}()
	ill := c.Deadline-c.Started >= int64(g.options.Timeout) // else it had less time than it may take, because a client has taken it
	if err = g.options.Service.Serve(c, nil); err == nil {
		ill = ill && c.Response.Status >= 500
		d, err = g.read(c, key)
	}
	if err != nil {
		if why := c.Canceled(); why != nil && why != errLate {
			return nil, why // nobody wants to know any more, which says nothing about the service
		}
		m.asked[askedFailed].Add(1)
		if ill { // else it is the client's doing, as far as anybody can tell
			m.health.failed(g)
		}
		return nil, ErrUnavailable.With(err)
	}
	m.decided(d)
	if d.shared = d.mayBeKept(g.options.Key); d.shared {
		g.keep(d)
	}
	return d, nil
}

// keep remembers a decision.
func (g *Guard) keep(d *decision) {
	hold := g.options.Remember
	if !d.admits {
		hold = g.options.RememberRefused
	}
	if hold > 0 {
		g.options.Memory.add(d, wire.Now()+int64(hold))
	}
}

// hopsMax is through how many proxies a request may have come that the service is asked about. A service that is reached through a route
// which asks it would be asked about its questions, until there are no connections left.
const hopsMax = 16

var errLoop = errors.New("the request has come through too many proxies: the service that decides seems to be asked about its own questions")

var errIdentity = errors.New("the answer does not say, in one field, who the client is")
