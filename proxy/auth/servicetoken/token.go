package servicetoken

import (
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// Options say which tokens are asked for, and of whom.
type Options struct {
	Name               string // that the log and /readyz call it by
	Client             *oauth.Client
	Scope              string   // scopes with spaces between them; empty: what the provider gives
	Audience, Resource []string // whom the token is for (RFC 8693 section 2.1, RFC 8707)
}

func (o *Options) form(grant string) url.Values {
	form := url.Values{"grant_type": {grant}}
	if o.Scope != "" {
		form.Set("scope", o.Scope)
	}
	if len(o.Audience) > 0 {
		form["audience"] = o.Audience
	}
	if len(o.Resource) > 0 {
		form["resource"] = o.Resource
	}
	return form
}

// What requests are refused with for want of a token.
var (
	ErrUnavailable = &proxy.Error{Status: 503, Code: "upstream_token_unavailable", Side: proxy.ByGateway, RetryAfter: 5,
		Detail: "The access token that the service wants cannot be had at the moment."}
	ErrMissing = &proxy.Error{Status: 401, Code: "token_required", Side: proxy.ByClient, Challenge: `Bearer realm="sluice"`,
		Detail: "An access token is needed here, and none was sent."}
	ErrNotExchanged = &proxy.Error{Status: 401, Code: "token_invalid", Side: proxy.ByClient, Challenge: `Bearer realm="sluice", error="invalid_token"`,
		Detail: "The access token is not valid here, or no longer."}
	ErrDenied = &proxy.Error{Status: 403, Code: "token_exchange_denied", Side: proxy.ByClient,
		Detail: "The access token does not allow what this service is for."}
)

// held is a token that is shown to services. Immutable but for the doubt.
type held struct {
	field []byte // the value of Authorization
	asked int64  // wire.Now before it was asked for
	renew int64  // wire.Now at which a newer one is asked for
	until int64  // wire.Now at which it is not shown any more

	doubted atomic.Bool // a service has refused it, and a newer one is asked for
}

// How long tokens last.
const (
	lifeUnknown = time.Hour       // of a token whose end was not said
	renewEarly  = 5 * time.Minute // after which such a token is renewed
	marginMax   = 10 * time.Second
	tokenMax    = 16 << 10 // bytes
)

// What is wrong with an answer. None of it repeats anything of the token.
var (
	errKind = errors.New("the provider's token is none that is shown as Bearer")
	errText = errors.New("the provider's token is empty, longer than 16 KiB, or holds what no token does")
)

// hold makes of an answer what is shown, for as long as the service has a moment to look at it.
func hold(t *oauth.Token, asked int64) (*held, error) {
	switch {
	case !strings.EqualFold(t.Kind, "Bearer"):
		return nil, errKind // RFC 6749 section 7.1: a token of an unknown type must not be used
	case t.Access == "" || len(t.Access) > tokenMax || strings.ContainsFunc(t.Access, func(c rune) bool { return c <= ' ' || c > '~' }):
		return nil, errText
	}
	life, early := t.Expires, t.Expires*3/4
	if life <= 0 {
		life, early = lifeUnknown, renewEarly
	}
	return &held{
		field: []byte("Bearer " + t.Access), asked: asked,
		renew: asked + int64(early), until: asked + int64(life-min(life/10, marginMax)),
	}, nil
}

// show puts the token in the place of what the client has sent. What comes back is not the answer to the client's Authorization, whoever that
// was: a cache behind must not take it for that.
func (h *held) show(x *proxy.Exchange) {
	head := &x.Request.Head
	head.DelKnown(wire.Authorization.Bit())
	head.Del(dpop.Field) // it proves the client's token
	head.AddKnown(wire.Authorization, h.field)
	x.Request.Decided = append(x.Request.Decided, "Authorization", dpop.Field)
	x.ByAuthorization = false
}

// rejectedAfter is how old a token has to be that is fetched anew because a service has refused it: services that refuse every token must not
// make the gateway ask the provider all the time.
const rejectedAfter = 10 * time.Second
