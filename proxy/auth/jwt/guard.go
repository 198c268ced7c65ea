package jwt

import (
	"slices"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

// Options say which tokens are accepted.
type Options struct {
	Keys       *Keys
	Issuer     string   // what iss has to be; empty: anything
	Audiences  []string // one of which aud has to hold; empty: anything
	Types      []string // one of which typ has to be; empty: JWT, at+jwt, or none at all
	Algorithms []jose.Algorithm
	Leeway     time.Duration // how far the clock of an issuer may be off
	Require    []Requirement

	Cookie, Header string // where the token is; both empty: Authorization
	Strip          bool   // the token does not go on to the service
	Forward        []Forward

	// DPoP judges whether a client has the key that its token is bound to; nil: such tokens are refused.
	DPoP         *dpop.Judge
	DPoPRequired bool // tokens that are bound to no key are refused

	Revoked  *Revoked // nil: nothing is
	Remember int      // how many tokens; 0: none
}

// Forward is a claim that goes on to the service as a header field. One of that name that a client has sent never does.
type Forward struct{ Header, Claim string }

// Guard admits the clients whose token it can verify, and says who they are. Immutable but for what it remembers; safe for concurrent
// use. For a token that it remembers a check allocates nothing.
type Guard struct {
	options  Options
	rules    []rule
	spoken   []string // the fields of options.Forward
	memory   *memory
	verified atomic.Uint64
	unbound  answers // what is said to those who bring a token as Bearer, or none
	bound    bound   // and to those who bring one with DPoP

	now func() time.Time // the wall clock; tests replace it
}

// New returns a guard. Its keys, and the list of what is revoked, are started and stopped by whoever has made them.
func New(o Options) (*Guard, error) {
	g := &Guard{options: o, now: time.Now}
	if len(o.Types) == 0 {
		g.options.Types = []string{"", "JWT", "at+jwt"}
	}
	if len(o.Algorithms) == 0 {
		g.options.Algorithms = jose.Algorithms
	}
	g.unbound, g.bound = answersTo(&g.options)
	for _, r := range o.Require {
		compiled, err := r.compile(g.unbound.insufficient, g.bound.insufficient)
		if err != nil {
			return nil, err
		}
		g.rules = append(g.rules, compiled)
	}
	for _, f := range o.Forward {
		g.spoken = append(g.spoken, f.Header)
	}
	if o.Remember > 0 {
		g.memory = newMemory(o.Remember)
	}
	return g, nil
}

// Prepare takes away the fields that say who the client is, for whoever has sent them.
func (g *Guard) Prepare(x *proxy.Exchange) { x.StripFields(g.spoken) }

// Check returns nil, or one of this package's errors: 503 without keys, 401 without a valid token, 403 if the token does not allow this.
func (g *Guard) Check(x *proxy.Exchange) error {
	set := g.options.Keys.current()
	if set == nil {
		if set = g.options.Keys.await(x, nil, isThere); set == nil {
			return ErrNoKeys
		}
	}
	token, bound, err := g.find(x)
	if err != nil {
		return err
	}
	revoked := g.options.Revoked.current()
	e := g.memory.find(token, set, revoked, nowOf(x))
	if e == nil {
		if e, err = g.verify(x, token, set, revoked); err != nil {
			return g.saidTo(bound).invalid.With(err)
		}
	}
	if bound || e.binding.bound() {
		if err := g.prove(x, &e.binding, token, bound); err != nil {
			return err
		}
	}
	x.Token = e.token
	x.Identify(e.identity, g.options.Header == "" && g.options.Cookie == "")
	for i := range g.options.Forward {
		if value := e.forward[i]; value != nil {
			x.Request.Head.Add(g.options.Forward[i].Header, value)
		}
	}
	if g.options.Strip {
		g.strip(x)
	}
	if e.refused != nil { // whoever it is, it is proven: the log and those who only report want to know
		return e.refused
	}
	return nil
}

func isThere(s *jose.Set) bool { return s != nil }

// nowOf is the time at which a request is judged: that of its first byte, unless somebody has waited since.
func nowOf(x *proxy.Exchange) int64 {
	if x.Started == 0 || x.Waited {
		return wire.Now()
	}
	return x.Started
}

// Status is what a guard has done.
type Status struct {
	Verified   uint64 // tokens whose signature was verified, and found to be right
	Remembered int    // tokens, now
	DPoP       bool   // proofs are asked for
	Proofs     dpop.Counts
}

// Status returns what the guard has done.
func (g *Guard) Status() Status {
	s := Status{Verified: g.verified.Load()}
	if j := g.options.DPoP; j != nil {
		s.DPoP, s.Proofs = true, j.Counts()
	}
	if g.memory != nil {
		s.Remembered = g.memory.table.Len()
	}
	return s
}

// accepts reports whether a type is one of those that are accepted. "application/" in front may be left out (RFC 7515 section 4.1.9).
func (g *Guard) accepts(typ string) bool {
	const application = "application/"
	if len(typ) > len(application) && wire.EqualFold([]byte(typ[:len(application)]), application) {
		typ = typ[len(application):]
	}
	return slices.ContainsFunc(g.options.Types, func(want string) bool { return wire.EqualFold([]byte(typ), want) })
}
