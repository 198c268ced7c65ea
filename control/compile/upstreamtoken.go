package compile

import (
	"fmt"
	"slices"
	"strings"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/servicetoken"
	"sluice/router"
)

// ownToken and exchangedTokens are policies under the name that reports call them by.
type (
	ownToken struct {
		*servicetoken.Own
		name string
	}
	exchangedTokens struct {
		*servicetoken.Exchanged
		name string
	}
)

func (b *builder) upstreamTokenPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	u := p.UpstreamToken
	if u == nil {
		return nil, false, nil
	}
	b.checkTokenOrder(u, name)
	at := oauth.ProviderOptions{Issuer: u.Issuer.Text}
	if u.TokenURL != nil { // then there is nothing else to find out
		at.Issuer, at.Known.Token = "", u.TokenURL.Text
	}
	client, definition, err := b.oauthClient(at, &u.OAuthClient)
	if err != nil {
		return nil, true, err
	}
	o := servicetoken.Options{Name: name, Client: client, Scope: strings.Join(texts(u.Scope), " "), Audience: texts(u.Audience), Resource: texts(u.Resource)}
	definition = fmt.Sprintf("upstream_token %q %s %s %q %q %q", name, u.Grant, definition, o.Scope, o.Audience, o.Resource)
	if !u.Exchanges() {
		own, err := lastingOf(b, definition, func() (*ownToken, error) { return &ownToken{servicetoken.NewOwn(o), name}, nil })
		return own, true, err
	}
	definition += fmt.Sprintf(" %d %d", u.Remember, u.Questions)
	exchanged, err := lastingOf(b, definition, func() (*exchangedTokens, error) {
		return &exchangedTokens{servicetoken.NewExchanged(o, u.Remember, u.Questions), name}, nil
	})
	return exchanged, true, err
}

// checkTokenOrder reports what does not work before or behind the policy that is being built.
func (b *builder) checkTokenOrder(u *config.UpstreamToken, name string) {
	path := b.at.path + ".use"
	if u.Exchanges() && !slices.ContainsFunc(b.at.before, func(p *config.Policy) bool { return p.VerifiesToken() }) {
		b.fail(path, "the policy "+name+" exchanges the client's token, and no policy before it has verified one: put jwt or introspection before it")
	}
	for _, p := range b.at.before {
		if p.Cache != nil && p.Cache.Share && u.Exchanges() {
			b.fail(path, "the policy "+name+" exchanges the client's token behind a cache that gives to all what it keeps: what is one client's would be given to others; without share: true each has its own")
		}
	}
	for _, p := range b.at.after {
		switch {
		case p.UpstreamToken != nil:
			b.fail(path, "has two policies of upstream_token, and Authorization holds one token")
		case p.ReadsCredentials():
			b.fail(path, "the policy "+p.Kind()+" stands behind upstream_token, which takes away what clients have sent in Authorization: put it before upstream_token")
		}
	}
}

// OwnToken is how the token of the policies of one name goes.
type OwnToken struct {
	Name string
	servicetoken.OwnStatus
}

// OwnTokens lists the policies that show services a token of the gateway's own, in the order of names. Of several that have one name, the token
// that ends first counts.
func (r *Runtime) OwnTokens() []OwnToken {
	return byName(r, func(o *ownToken) string { return o.name }, func(t *OwnToken, o *ownToken) {
		s := o.Status()
		if t.Name == "" || s.Ends.Before(t.Ends) {
			t.Ends = s.Ends
		}
		t.Name = o.name
		t.Fetched += s.Fetched
		t.Failed += s.Failed
		t.Rejected += s.Rejected
		t.Refused += s.Refused
	})
}

// ExchangedTokens is how exchanging goes for the policies of one name.
type ExchangedTokens struct {
	Name string
	servicetoken.ExchangedStatus
}

// ExchangedTokens lists the policies that exchange tokens of clients, in the order of names.
func (r *Runtime) ExchangedTokens() []ExchangedTokens {
	return byName(r, func(e *exchangedTokens) string { return e.name }, func(t *ExchangedTokens, e *exchangedTokens) {
		s := e.Status()
		t.Name = e.name
		t.Exchanged += s.Exchanged
		t.Denied += s.Denied
		t.Failed += s.Failed
		t.Rejected += s.Rejected
		t.Remembered += s.Remembered
	})
}
