package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// renewal is what came of asking the provider whether a session goes on. Immutable.
type renewal struct {
	session *session // nil: it does not
}

const (
	// renewedFor is how long the cookie from before a refresh is good: several requests of a page come with it.
	renewedFor = time.Minute
	// heldFor is how long a provider is not asked again about a session, when it has not answered. The session goes on meanwhile.
	heldFor = 10 * time.Second
	// graceFor is how long a session goes on at most after its access token has ended, while the provider does not say whether it does. Clients
	// can have a part in that, with requests that make the provider refuse to answer the gateway; and who was locked out there has a reason to.
	graceFor = time.Hour
)

// goOn returns what a session becomes whose access token has ended. Those who come with the same cookie ask once. A provider that says no ends
// the session; one that does not answer is waited for until graceFor has passed.
func (p *Policy) goOn(x *proxy.Exchange, sum recall.Sum, o *opened, f *found) *opened {
	r, ok := p.s.renewed.Find(sum, wire.Now())
	if !ok {
		if _, held := p.s.held.Find(sum, wire.Now()); held {
			return p.unanswered(o)
		}
		p.s.options.Client.Provider().Await(x)
		old := o.session
		var err error
		if r, err = p.s.renews.Do(x, sum, func(ctx context.Context) (*renewal, error) { return p.s.renew(ctx, sum, old) }); err != nil {
			return p.unanswered(o)
		}
	}
	if r.session == nil {
		set(x, p.s.names.endSession(f))
		return nil
	}
	fields, err := p.s.fields(r.session, f)
	if err != nil {
		return o
	}
	set(x, fields)
	return p.judge(r.session)
}

// unanswered returns what a session is that the provider says nothing about: itself, or, after too long, none. It is not over then: once there is
// an answer it goes on with the same cookie, unless its user has signed in anew.
func (p *Policy) unanswered(o *opened) *opened {
	if p.s.now().Unix() >= o.access+int64(graceFor/time.Second) {
		return nil
	}
	return o
}

// renew asks the provider whether a session goes on (RFC 6749 section 6, OpenID Connect Core 1.0 section 12).
func (s *Sessions) renew(ctx context.Context, sum recall.Sum, old *session) (*renewal, error) {
	// Somebody may have asked, and have had the answer, between looking for that and coming here.
	if r, ok := s.renewed.Find(sum, wire.Now()); ok {
		return r, nil
	}
	one, err := s.refresh(ctx, old)
	now := wire.Now()
	r := &renewal{one}
	switch {
	case err == nil:
		s.refreshed.Add(1)
	case isNo(err):
		s.refreshed.Add(1)
		s.ended.add(old.id, old.expires, s.now().Unix())
		r.session = nil
	default:
		s.unrefreshed.Add(1)
		s.tell("a session could not be refreshed, and goes on for now", err)
		s.held.Add(sum, struct{}{}, now, now+int64(heldFor), 0)
		return nil, err
	}
	bytes := 0
	if r.session != nil {
		bytes = 3*len(r.session.idToken) + len(r.session.refresh)
	}
	s.renewed.Add(sum, r, now, now+int64(renewedFor), bytes)
	return r, nil
}

// isNo reports whether an answer says that a session does not go on: it is a refusal of this session (RFC 6749 section 5.2, and the words that
// providers have beside it), or about somebody else (OpenID Connect Core 1.0 section 12.2). What the gateway is refused for itself, and what
// is no answer of a token endpoint, as that of a proxy in front of it, says nothing about anybody's session.
func isNo(err error) bool {
	if errors.Is(err, errOther) {
		return true
	}
	var refusal *oauth.Refusal
	if !errors.As(err, &refusal) || refusal.Status < 400 || refusal.Status >= 500 || refusal.Status == http.StatusTooManyRequests {
		return false
	}
	switch refusal.Code {
	case "", "invalid_client", "unauthorized_client", "unsupported_grant_type", "slow_down", "temporarily_unavailable", "server_error":
		return false
	}
	return true
}

func (s *Sessions) refresh(ctx context.Context, old *session) (*session, error) {
	t, err := s.options.Refresher.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.refresh}})
	if err != nil {
		return nil, err
	}
	one := *old
	now := s.now()
	one.seen, one.access = now.Unix(), accessEnds(t, now)
	if t.Refresh != "" {
		one.refresh = t.Refresh
	}
	if t.ID != "" { // it need not come with a refresh
		x := proxy.Acquire()
		defer x.Release()
		claims, subject, err := s.verify(x, t, "")
		switch {
		case err != nil:
			return nil, err
		case subject != old.subject:
			return nil, errOther
		}
		one.idToken, one.claims = t.ID, claims
	}
	if _, err := one.pack(); err != nil {
		return nil, err
	}
	return &one, nil
}
