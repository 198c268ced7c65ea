package servicetoken

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// Exchanged is a policy that shows the service a token which it gets in exchange for the client's (RFC 8693). What was got is remembered for
// each token of a client, until it ends. A policy before it has to have verified the client's. All methods are safe for concurrent use.
type Exchanged struct {
	options Options
	form    url.Values
	ask     func(context.Context, url.Values) (*oauth.Token, error)

	sums    *recall.Sums
	good    *recall.Answers[*held]
	bad     *recall.Answers[*proxy.Error]
	flights oauth.Flights[*held]
	probe   *oauth.Probe

	exchanged, denied, failed, rejected atomic.Uint64
}

const (
	// tokenBytesUsual is what a token takes on average at most: memory is bounded by that, too.
	tokenBytesUsual = 4 << 10
	// badFor is how long a refusal is remembered: a client that tries again and again does not reach the provider.
	badFor        = 10 * time.Second
	badBytesUsual = 512
)

// NewExchanged returns a policy that remembers so many tokens, and has so many questions under way at a time.
func NewExchanged(o Options, remember, questions int) *Exchanged {
	e := &Exchanged{
		options: o, form: o.form("urn:ietf:params:oauth:grant-type:token-exchange"), sums: recall.NewSums(),
		good: recall.NewAnswers[*held](remember, tokenBytesUsual), bad: recall.NewAnswers[*proxy.Error](remember, badBytesUsual),
		flights: oauth.Flights[*held]{Max: questions},
	}
	e.form.Set("subject_token_type", accessToken)
	e.form.Set("requested_token_type", accessToken)
	e.ask = func(ctx context.Context, form url.Values) (*oauth.Token, error) { return o.Client.Token(ctx, form) }
	e.probe = oauth.NewProbe(oauth.ProbeOptions{
		Provider: o.Client.Provider(), Policy: o.Name,
		Ask: func(ctx context.Context, subject string) error {
			_, err := e.exchange(ctx, subject)
			return unanswered(err)
		},
		Down: "tokens cannot be exchanged for services: only those that are remembered serve", Up: "tokens are exchanged again for services",
	})
	return e
}

const accessToken = "urn:ietf:params:oauth:token-type:access_token"

// Serve shows the service the token that it got for the client's.
func (e *Exchanged) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	if len(x.Token) == 0 {
		return ErrMissing
	}
	sum := e.sums.Of(x.Token)
	h, ok := e.good.Find(sum, wire.Now())
	if !ok {
		var err error
		if h, err = e.get(x, sum); err != nil {
			return err
		}
	}
	h.show(x)
	err := next.Serve(x)
	if err == nil && x.Response.Status == 401 {
		e.rejected.Add(1)
		if wire.Now()-h.asked >= int64(rejectedAfter) { // one that is new is as good as the next one would be
			e.good.Forget(sum)
		}
	}
	return err
}

// get exchanges a token that is not remembered.
func (e *Exchanged) get(x *proxy.Exchange, sum recall.Sum) (*held, error) {
	if refusal, ok := e.bad.Find(sum, wire.Now()); ok {
		return nil, refusal
	}
	if p := e.options.Client.Provider(); p.Await(x) == nil || p.Idle() {
		e.failed.Add(1)
		return nil, ErrUnavailable
	}
	subject := string(x.Token) // who waits may be gone before the answer is there
	h, err := e.flights.Do(x, sum, func(ctx context.Context) (*held, error) {
		// Somebody may have asked, and have had the answer, between our looking for that and our coming here.
		now := wire.Now()
		if h, ok := e.good.Find(sum, now); ok {
			return h, nil
		}
		if refusal, ok := e.bad.Find(sum, now); ok {
			return nil, refusal
		}
		h, err := e.exchange(ctx, subject)
		now = wire.Now()
		switch refusal := (*proxy.Error)(nil); {
		case err == nil:
			e.exchanged.Add(1)
			e.good.Add(sum, h, now, h.until, len(h.field))
		case errors.As(err, &refusal):
			e.denied.Add(1)
			e.bad.Add(sum, refusal, now, now+int64(badFor), badBytesUsual/2)
		}
		e.probe.Learn(unanswered(err))
		return h, err
	})
	var refusal *proxy.Error
	switch {
	case err == nil:
		return h, nil
	case errors.As(err, &refusal):
		return nil, refusal
	}
	e.failed.Add(1)
	return nil, ErrUnavailable.With(err)
}

// exchange asks the provider. Its error is a *proxy.Error if the provider does not give a token for this one.
func (e *Exchanged) exchange(ctx context.Context, subject string) (*held, error) {
	form := make(url.Values, len(e.form)+1)
	for name, values := range e.form {
		form[name] = values
	}
	form.Set("subject_token", subject)
	asked := wire.Now()
	token, err := e.ask(ctx, form)
	if err != nil {
		return nil, judge(err)
	}
	return hold(token, asked)
}

// judge tells what is wrong with the client's token from what is wrong with the provider, or with the gateway's name there (RFC 8693
// section 2.2.2, RFC 6749 section 5.2).
func judge(err error) error {
	var refusal *oauth.Refusal
	if !errors.As(err, &refusal) || refusal.Status < 400 || refusal.Status >= 500 || refusal.Status == http.StatusTooManyRequests {
		return err
	}
	switch refusal.Code {
	case "invalid_grant", "invalid_request", "invalid_token":
		return ErrNotExchanged.With(err)
	case "invalid_target", "invalid_scope", "access_denied", "insufficient_scope":
		return ErrDenied.With(err)
	}
	return err // invalid_client, unsupported_grant_type: nobody's token would do
}

// unanswered is the error of a provider that does not work; that it does not like a token is an answer.
func unanswered(err error) error {
	if refusal := (*proxy.Error)(nil); errors.As(err, &refusal) {
		return nil
	}
	return err
}

// Start begins to find out whether the provider answers, whenever it does not. Only the first call counts.
func (e *Exchanged) Start() { e.probe.Start() }

// Stop ends that.
func (e *Exchanged) Stop() { e.probe.Stop() }

// Unready says what is missing while no token can be exchanged; else it is empty.
func (e *Exchanged) Unready() string {
	why := e.probe.Why()
	if why == "" {
		return ""
	}
	return fmt.Sprintf("no exchange of tokens at %s for %s: %s", e.options.Client.Status().Source, e.options.Name, why)
}

// ExchangedStatus says how it goes.
type ExchangedStatus struct {
	Exchanged, Denied, Failed uint64 // tokens, tokens, requests
	Rejected                  uint64 // answers 401 of services
	Remembered                int
}

// Status says how it goes.
func (e *Exchanged) Status() ExchangedStatus {
	return ExchangedStatus{e.exchanged.Load(), e.denied.Load(), e.failed.Load(), e.rejected.Load(), e.good.Len()}
}
