package introspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// Options say whom to ask, and what has to come back.
type Options struct {
	Name      string // that the log and /readyz call it by
	Client    *oauth.Client
	Issuer    string   // what iss has to be if the answer has one, and who vouches for it if not; empty: anybody, and whoever is asked
	Audiences []string // one of which aud has to hold; empty: anything
	Leeway    time.Duration
	Reader    *jwt.Reader
	For       time.Duration // how long an answer is good; 0: it is asked for every time
	Remember  int           // how many good answers, and how many bad ones
	Questions int           // that are under way at a time

	probeLeast time.Duration // of the probe, for tests
}

// What clients are refused with, beside the errors of package jwt.
var (
	ErrUnavailable = &proxy.Error{Status: 503, Code: "introspection_unavailable", Side: proxy.ByGateway, RetryAfter: 5,
		Detail: "What access tokens are worth cannot be found out at the moment."}
	errCooling = ErrUnavailable.With(oauth.ErrCooling)
	errBusy    = ErrUnavailable.With(oauth.ErrBusy)
	errTooLate = ErrUnavailable.With(oauth.ErrTooLate)

	errInactive = jwt.ErrInvalid.With(errors.New("the issuer says that the token is not active"))
	errForm     = jwt.ErrInvalid.With(errors.New("no token has this form"))
)

const (
	tokenBytesMax = 16 << 10
	// badFor is how long it is remembered at most that a token is bad: it may become good, as some issuers tell other hosts late.
	badFor = 10 * time.Second
	// answerBytesUsual is what an answer takes on average at most, with what is known from it.
	answerBytesUsual = 4 << 10
)

// verdict is what came of asking about a token. Immutable.
type verdict struct {
	claims  *jwt.Claims
	refused *proxy.Error // the token is bad; nil: it is good
	until   int64        // wire.Now at which the token ends; 0: nobody said

	binding jwt.Binding
}

// Guard admits the clients whose token its issuer vouches for. Immutable but for what it remembers; safe for concurrent use. For a token that
// it remembers a check allocates nothing.
type Guard struct {
	options Options
	vouches string // for what an answer says that has no iss
	sums    *recall.Sums
	good    *recall.Answers[*verdict]
	bad     *recall.Answers[*verdict]
	flights oauth.Flights[*verdict]
	probe   *oauth.Probe

	active, inactive, failed atomic.Uint64

	now func() time.Time // the wall clock; tests replace it
}

// New returns a guard, which asks once Start was called.
func New(o Options) *Guard {
	g := &Guard{options: o, vouches: cmp.Or(o.Issuer, o.Client.Status().Source), sums: recall.NewSums(), now: time.Now}
	g.flights.Max = o.Questions
	if o.For > 0 {
		g.good = recall.NewAnswers[*verdict](o.Remember, answerBytesUsual)
		g.bad = recall.NewAnswers[*verdict](o.Remember, answerBytesUsual)
	}
	g.probe = oauth.NewProbe(oauth.ProbeOptions{
		Provider: o.Client.Provider(), AtStart: true, Policy: o.Name, Least: o.probeLeast,
		Ask:  func(ctx context.Context, token string) error { _, err := g.ask(ctx, token); return err }, // the answer is that it is not active
		Down: "an introspection endpoint gives no answer: only tokens that are remembered are admitted", Up: "an introspection endpoint answers again",
	})
	return g
}

// Start begins to look whether the issuer is there, and Stop ends that.
func (g *Guard) Start() { g.probe.Start() }

// Stop ends what Start began.
func (g *Guard) Stop() { g.probe.Stop() }

// Unready says why only tokens are admitted that are remembered; else it is empty.
func (g *Guard) Unready() string {
	why := g.probe.Why()
	if why == "" {
		return ""
	}
	return fmt.Sprintf("no introspection at %s for %s: %s", g.options.Client.Status().Source, g.options.Name, why)
}

// Prepare implements proxy.Preparer.
func (g *Guard) Prepare(x *proxy.Exchange) { g.options.Reader.Prepare(x) }

// Check returns nil, ErrUnavailable, or an error of package jwt: 401 without a token that is good, 403 if it does not allow this.
func (g *Guard) Check(x *proxy.Exchange) error {
	reader := g.options.Reader
	token, came, err := reader.Find(x)
	switch {
	case err != nil:
		return err
	case !isToken(token):
		return reader.Refusal(errForm, came)
	}
	sum, now := g.sums.Of(token), jwt.NowOf(x)
	v, ok := g.remembered(sum, now)
	if !ok {
		if v, err = g.find(x, sum, token); err != nil {
			return err
		}
	}
	if v.refused != nil {
		return reader.Refusal(v.refused, came)
	}
	if err := reader.Prove(x, &v.binding, token, came); err != nil {
		return err
	}
	x.Token = token
	return reader.Tell(x, v.claims)
}

// remembered is what was said about a token before, if that still holds.
func (g *Guard) remembered(sum recall.Sum, now int64) (*verdict, bool) {
	if v, ok := g.good.Find(sum, now); ok {
		return v, true
	}
	return g.bad.Find(sum, now)
}

// isToken wants what may follow Bearer (RFC 6750 section 2.1). Nobody is asked about anything else.
func isToken(token []byte) bool {
	if len(token) > tokenBytesMax {
		return false
	}
	for _, c := range token {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return true
}

// find asks, or waits for somebody who does.
func (g *Guard) find(x *proxy.Exchange, sum recall.Sum, token []byte) (*verdict, error) {
	if p := g.options.Client.Provider(); p.Await(x) == nil || p.Idle() {
		g.failed.Add(1)
		return nil, ErrUnavailable
	}
	text := string(token) // the question may outlive the request
	v, err := g.flights.Do(x, sum, func(ctx context.Context) (*verdict, error) {
		// Somebody may have asked, and have had the answer, between our looking for that and our coming here.
		if v, ok := g.remembered(sum, wire.Now()); ok {
			return v, nil
		}
		v, err := g.ask(ctx, text)
		g.probe.Learn(err)
		if err == nil {
			g.remember(sum, v)
		}
		return v, err
	})
	if err == nil {
		return v, nil
	}
	g.failed.Add(1)
	switch {
	case errors.Is(err, oauth.ErrCooling):
		return nil, errCooling
	case errors.Is(err, oauth.ErrBusy):
		return nil, errBusy
	case errors.Is(err, oauth.ErrTooLate):
		return nil, errTooLate
	}
	return nil, ErrUnavailable.With(err)
}

// ask asks the issuer about a token (RFC 7662 section 2.1).
func (g *Guard) ask(ctx context.Context, token string) (*verdict, error) {
	text, err := g.options.Client.Post(ctx, oauth.IntrospectionEndpoint, url.Values{"token": {token}, "token_type_hint": {"access_token"}})
	if err != nil {
		return nil, err
	}
	return g.read(text, []byte(token))
}

func (g *Guard) remember(sum recall.Sum, v *verdict) {
	now := wire.Now()
	if v.refused != nil {
		g.inactive.Add(1)
		g.bad.Add(sum, v, now, now+int64(min(badFor, g.options.For)), 0)
		return
	}
	g.active.Add(1)
	until := now + int64(g.options.For)
	if v.until != 0 {
		until = min(until, v.until)
	}
	g.good.Add(sum, v, now, until, v.claims.Bytes())
}

// Status is what a guard has done.
type Status struct {
	Active, Inactive uint64 // what came of asking
	Failed           uint64 // requests that were refused because nothing did
	Remembered       int    // good answers, now
	DPoP             bool   // proofs are asked for
	Proofs           dpop.Counts
}

// Status returns what the guard has done.
func (g *Guard) Status() Status {
	s := Status{Active: g.active.Load(), Inactive: g.inactive.Load(), Failed: g.failed.Load(), Remembered: g.good.Len()}
	s.Proofs, s.DPoP = g.options.Reader.Proofs()
	return s
}
