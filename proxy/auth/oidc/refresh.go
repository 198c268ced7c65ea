package oidc

import (
	"context"
	"errors"
	"net/url"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/oauth"
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
)

// goOn returns what a session becomes whose access token has ended. Those who come with the same cookie ask once. A provider that does not
// answer ends no session; one that says no does.
func (p *Policy) goOn(x *proxy.Exchange, sum oauth.Sum, o *opened, f *found) *opened {
	r, ok := p.s.renewed.Find(sum, wire.Now())
	if !ok {
		if _, held := p.s.held.Find(sum, wire.Now()); held {
			return o
		}
		p.s.options.Client.Provider().Await(x)
		old := o.session
		var err error
		if r, err = p.s.renews.Do(x, sum, func(ctx context.Context) (*renewal, error) { return p.s.renew(ctx, sum, old) }); err != nil {
			return o
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

// renew asks the provider whether a session goes on (RFC 6749 section 6, OpenID Connect Core 1.0 section 12).
func (s *Sessions) renew(ctx context.Context, sum oauth.Sum, old *session) (*renewal, error) {
	// Somebody may have asked, and have had the answer, between looking for that and coming here.
	if r, ok := s.renewed.Find(sum, wire.Now()); ok {
		return r, nil
	}
	one, err := s.refresh(ctx, old)
	now := wire.Now()
	r := &renewal{one}
	var refusal *oauth.Refusal
	switch {
	case err == nil:
		s.refreshed.Add(1)
	case errors.As(err, &refusal) && refusal.Code == "invalid_grant":
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

func (s *Sessions) refresh(ctx context.Context, old *session) (*session, error) {
	t, err := s.options.Client.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.refresh}})
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
