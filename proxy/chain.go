package proxy

// Policy is one step of a route. It answers, refuses by returning an error, or hands on to next; after next.Serve
// returned nil it may change the response head and wrap or replace the response body. Policies are immutable and
// shared by all exchanges.
type Policy interface {
	Serve(x *Exchange, next *Chain) error
}

// Guard is a policy that says yes (nil), or no with an *Error: limits, identity, address lists.
type Guard interface {
	Check(x *Exchange) error
}

// Answer is a guard's no that the client is told in words of its own, such as a redirect to where people log in: it is the response, and not an
// Error that is rendered.
type Answer interface {
	error
	// Answer makes the response of x. An error is what the client gets instead.
	Answer(x *Exchange) error
}

// Preparer is a guard that does something to every request before it judges, whatever its mode: a field that says who the client is
// must not come from the client, also where nobody is refused.
type Preparer interface {
	Prepare(x *Exchange)
}

// Chain is a policy and what follows it. It is linked when the route is compiled, in the order of the
// configuration.
type Chain struct {
	name   string
	policy Policy
	next   *Chain
}

// Link is a named policy on its way into a chain.
type Link struct {
	Name   string
	Policy Policy
}

// NewChain links policies in order. The last one must answer without calling next.
func NewChain(links ...Link) *Chain {
	if len(links) == 0 {
		panic("BUG: a chain needs a policy that answers")
	}
	chain := make([]Chain, len(links))
	for i, l := range links {
		chain[i].name, chain[i].policy = l.Name, l.Policy
		if i+1 < len(links) {
			chain[i].next = &chain[i+1]
		}
	}
	return &chain[0]
}

// Serve runs the chain from here on. When it returns nil the response head is ready and the body may still flow.
func (c *Chain) Serve(x *Exchange) error {
	err := c.policy.Serve(x, c.next)
	if err != nil && x.FailedAt == "" {
		x.FailedAt = c.name
	}
	return err
}

// Names lists the policies from here on, for people: a guard that does not refuse says so.
func (c *Chain) Names() []string {
	var names []string
	for ; c != nil; c = c.next {
		name := c.name
		if g, ok := c.policy.(interface{ judges() Mode }); ok && g.judges() != Enforce {
			name += " (" + g.judges().String() + ")"
		}
		names = append(names, name)
	}
	return names
}

// Mode is what a guard's no means.
type Mode uint8

// The modes of a guard.
const (
	Enforce Mode = iota // refuse
	Report              // let pass and say so in the log and the metrics
	Off                 // do not ask
)

// String is the word for a mode, as the configuration has it.
func (m Mode) String() string { return [...]string{"enforce", "report", "off"}[m] }

// Guarded turns a guard into a policy. refusals, which may be nil, is called with the name for every no.
func Guarded(name string, g Guard, m Mode, refusals func(x *Exchange, reported bool)) Policy {
	judge := guarded{name: name, guard: g, mode: m, refusals: refusals}
	if p, ok := g.(Preparer); ok {
		return &prepared{judge, p}
	}
	return &judge
}

type guarded struct {
	name     string
	guard    Guard
	mode     Mode
	refusals func(x *Exchange, reported bool)
}

// prepared is guarded for those who have something to do before.
type prepared struct {
	guarded
	prepare Preparer
}

func (g *prepared) Serve(x *Exchange, next *Chain) error {
	g.prepare.Prepare(x)
	return g.guarded.Serve(x, next)
}

func (g *guarded) judges() Mode { return g.mode }

func (g *guarded) Serve(x *Exchange, next *Chain) error {
	if g.mode != Off {
		if err := g.guard.Check(x); err != nil {
			if g.refusals != nil {
				g.refusals(x, g.mode == Report)
			}
			if g.mode == Enforce {
				return g.refuse(x, err)
			}
			x.WouldRefuse = g.name
		}
	}
	return next.Serve(x)
}

func (g *guarded) refuse(x *Exchange, err error) error {
	answer, ok := err.(Answer)
	if !ok {
		return err
	}
	x.FailedAt = g.name // for the log; it is no error that the chain would say so of
	return answer.Answer(x)
}
