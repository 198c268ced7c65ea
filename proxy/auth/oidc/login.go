package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// begin leads a browser to the provider. What it is to come back to lies in a cookie of this attempt, and nowhere else.
func (p *Policy) begin(x *proxy.Exchange) error {
	if !navigates(x) {
		return ErrNeeded
	}
	place, ok := p.place(x)
	if !ok {
		return ErrInsecure
	}
	provider := p.s.options.Client.Provider()
	m := provider.Await(x)
	if m == nil || provider.Idle() || m.Authorization == "" {
		return ErrUnavailable
	}
	a := newAttempt(place, back(x), p.s.now().Unix())
	fields := []string{
		p.s.names.try + written(a.state[:])[:stateInName] + "=" + string(p.s.seal.close(a.pack(), attemptPurpose)) + fmt.Sprintf("; Max-Age=%d", attemptSeconds) + attributes,
	}
	if under := p.s.names.attempts(x); len(under) >= attemptsMax {
		for _, name := range under[:len(under)-attemptsMax+1] {
			fields = append(fields, expired(name))
		}
	}
	set(x, fields)
	lead(x, withQuery(m.Authorization, url.Values{
		"response_type": {"code"}, "client_id": {p.s.options.Client.ID()}, "redirect_uri": {place + p.options.Callback},
		"scope": {strings.Join(append([]string{"openid"}, p.s.options.Scopes...), " ")}, "state": {written(a.state[:])}, "nonce": {written(a.nonce[:])},
		"code_challenge": {a.challenge()}, "code_challenge_method": {"S256"},
	}))
	return nil
}

// back is the path and query to come back to. It begins with a slash, and is never looked at without a scheme and a host in front: whatever
// follows the slash leads nowhere else.
func back(x *proxy.Exchange) string {
	switch uri := x.AppendURI(nil); {
	case len(uri) > 0 && uri[0] == '/' && len(uri) <= backBytesMax:
		return string(uri)
	case len(x.Request.Path) > 0 && x.Request.Path[0] == '/' && len(x.Request.Path) <= backBytesMax:
		return string(x.Request.Path)
	}
	return "/"
}

func withQuery(to string, query url.Values) string {
	mark := "?"
	if strings.Contains(to, "?") {
		mark = "&"
	}
	return to + mark + query.Encode()
}

// callback ends an attempt: the code that the provider has sent over the browser becomes a session.
func (p *Policy) callback(x *proxy.Exchange, f *found) error {
	if x.Request.Method != "GET" {
		return notAllowed(x, "GET")
	}
	c, err := parseCallback(x.Request.Query)
	if err != nil {
		return p.s.fail(ErrFailed.With(err))
	}
	if p.s.options.Client.Provider().Await(x) == nil {
		return ErrUnavailable // the attempt is not over: the browser may come again
	}
	a, err := p.attempt(x, &c)
	if err != nil {
		return p.s.fail(ErrFailed.With(err))
	}
	if c.refused != "" {
		return p.s.fail(ErrDenied.With(fmt.Errorf("the provider says %.64s", c.refused)))
	}
	// The rest does not depend on the browser: it may go away, and a code is good once.
	one, err := p.s.trades.Do(x, p.s.sums.Of([]byte(c.state)), func(ctx context.Context) (*session, error) {
		return p.s.trade(ctx, c.code, a, p.options.Callback)
	})
	if err != nil {
		return p.s.fail(refusalOf(err))
	}
	fields, err := p.s.fields(one, f)
	if err != nil {
		return p.s.fail(ErrProvider.With(err))
	}
	p.s.logins.Add(1)
	set(x, fields)
	lead(x, a.place+a.back)
	return nil
}

// attempt returns the attempt that a callback ends. The attempt is over, whatever comes of it.
func (p *Policy) attempt(x *proxy.Exchange, c *callback) (*attempt, error) {
	name := p.s.names.try + c.state[:stateInName]
	sealed, ok := x.Cookie(name)
	if !ok {
		return nil, errAttempt
	}
	set(x, []string{expired(name)})
	text, _, err := p.s.seal.open(sealed, attemptPurpose)
	if err != nil {
		return nil, err
	}
	a, err := unpackAttempt(text)
	if err != nil {
		return nil, err
	}
	now := p.s.now().Unix()
	place, _ := p.place(x)
	switch {
	case subtle.ConstantTimeCompare([]byte(c.state), []byte(written(a.state[:]))) != 1:
		return nil, errState
	case now >= a.expires:
		return nil, errOld
	case place != a.place:
		return nil, errPlace
	case !p.isOurs(c):
		return nil, errMixUp
	}
	sum := p.s.sums.Of([]byte(c.state))
	if _, used := p.s.used.Find(sum, wire.Now()); used {
		return nil, errUsed
	}
	p.s.used.Add(sum, struct{}{}, wire.Now(), wire.Now()+int64(attemptSeconds*time.Second), 0)
	return a, nil
}

// isOurs reports whether a callback is of the issuer that the attempt was for: another one that the client knows, too, must not get its code
// (RFC 9207).
func (p *Policy) isOurs(c *callback) bool {
	if c.hasIssuer {
		return c.issuer == p.s.options.Issuer
	}
	m := p.s.options.Client.Provider().Metadata()
	return m != nil && !m.NamesItself
}

// trade trades a code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5), and makes a session of them.
func (s *Sessions) trade(ctx context.Context, code string, a *attempt, path string) (*session, error) {
	t, err := s.options.Client.Token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.place + path}, "code_verifier": {written(a.verifier[:])},
	})
	if err != nil {
		return nil, err
	}
	x := proxy.Acquire() // whoever began may have gone
	defer x.Release()
	claims, subject, err := s.verify(x, t, written(a.nonce[:]))
	if err != nil {
		return nil, ErrProvider.With(err)
	}
	now := s.now()
	one := &session{
		created: now.Unix(), expires: now.Add(s.options.Lifetime).Unix(), seen: now.Unix(), idToken: t.ID, refresh: t.Refresh,
		claims: claims, subject: subject,
	}
	rand.Read(one.id[:])
	one.access = accessEnds(t, now)
	return one, nil
}

// accessEnds is when a session is to be refreshed.
func accessEnds(t *oauth.Token, now time.Time) int64 {
	const (
		unsaid = time.Hour
		least  = 30 * time.Second
	)
	if t.Expires == 0 {
		return now.Add(unsaid).Unix()
	}
	return now.Add(max(t.Expires, least)).Unix()
}

// refusalOf is what a browser is told when a code came to nothing.
func refusalOf(err error) *proxy.Error {
	var own *proxy.Error
	var refusal *oauth.Refusal
	switch {
	case errors.As(err, &own):
		if errors.Is(own, jwt.ErrNoKeys) {
			return ErrUnavailable.With(err)
		}
		return own
	case errors.As(err, &refusal) && refusal.Status == 400 && refusal.Code == "invalid_grant":
		return ErrFailed.With(errCode)
	case errors.As(err, &refusal) && refusal.Status < 500:
		return ErrProvider.With(err)
	}
	return ErrUnavailable.With(err)
}

// notAllowed refuses a method.
func notAllowed(x *proxy.Exchange, methods string) error {
	x.OnHead(allow(methods))
	return ErrMethod
}

// allow names the methods that are (RFC 9110 section 10.2.1).
type allow string

// EditHead implements proxy.HeadEditor.
func (a allow) EditHead(x *proxy.Exchange) { x.Response.Head.SetString("Allow", string(a)) }
