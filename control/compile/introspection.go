package compile

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/introspect"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
	"sluice/router"
)

// introspection is a guard under the name that reports call it by.
type introspection struct {
	*introspect.Guard
	name string
}

func (b *builder) introspectionPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	i := p.Introspection
	if i == nil {
		return nil, false, nil
	}
	at := oauth.ProviderOptions{Issuer: i.Issuer.Text}
	if i.URL != nil { // then there is nothing else to find out
		at.Issuer, at.Known.Introspection = "", i.URL.Text
	}
	client, definition, err := b.oauthClient(at, &i.OAuthClient)
	if err != nil {
		return nil, true, err
	}
	o := introspect.Options{
		Name: name, Client: client, Issuer: i.Issuer.Text, Audiences: texts(i.Audience), Leeway: time.Duration(i.Leeway), For: time.Duration(i.Remember),
		Remember: i.Tokens, Questions: i.Questions,
	}
	read := jwt.Options{Require: requirements(i.Require), Forward: forwards(i.Forward), Strip: i.Strip}
	read.Cookie, read.Header = tokenFrom(i.From)
	read.Leeway = o.Leeway
	proofs := b.dpop(&read, i.DPoP)
	if o.Reader, err = jwt.NewReader(read); err != nil {
		return nil, true, err
	}
	// What a guard remembers was judged by all of this.
	definition = fmt.Sprintf("introspection %q %s %s %q %q %s %s %d %d %+v %+v %q %q %t", name, definition, proofs, o.Issuer, o.Audiences, o.Leeway, o.For, o.Remember, o.Questions,
		read.Require, read.Forward, read.Cookie, read.Header, read.Strip)
	guard, err := lastingOf(b, definition, func() (*introspection, error) { return &introspection{introspect.New(o), name}, nil })
	if err != nil {
		return nil, true, err
	}
	return b.identifying(name, guard.Guard, i.Mode), true, nil
}

// oauthClient returns what the gateway asks a provider as, and a text that is the same exactly if that is. Policies that ask one provider share
// what is known about it.
func (b *builder) oauthClient(at oauth.ProviderOptions, c *config.OAuthClient) (*oauth.Client, string, error) {
	at.Idle = b.runtime.options.Dry
	definition := fmt.Sprintf("provider %q %q %q", at.Issuer, at.Known.Introspection, at.Known.Token)
	roots, trusted, err := rootsOf(c.CA)
	if err != nil {
		return nil, "", err
	}
	at.RootCAs = roots
	definition += trusted
	provider, err := lastingOf(b, definition, func() (*oauth.Provider, error) { return oauth.NewProvider(at), nil })
	if err != nil {
		return nil, "", err
	}
	credentials := oauth.Credentials{ID: c.ClientID.Text, Secret: c.ClientSecret.Reveal()}
	if c.ClientAuth != "auto" {
		credentials.Method = oauth.Method(c.ClientAuth)
	}
	if !c.ClientKey.IsZero() {
		if credentials.Key, err = oauth.ParseSigningKey([]byte(c.ClientKey.Reveal()), ""); err != nil {
			return nil, "", &keyError{"client_key", err}
		}
	}
	definition += fmt.Sprintf(" client %q %x %x %q", c.ClientID.Text, sha256.Sum256([]byte(c.ClientSecret.Reveal())), sha256.Sum256([]byte(c.ClientKey.Reveal())), c.ClientAuth)
	client, err := lastingOf(b, "oauth "+definition, func() (*oauthClient, error) { return &oauthClient{Client: oauth.NewClient(provider, credentials)}, nil })
	if err != nil {
		return nil, "", err
	}
	return client.Client, definition, nil
}

// oauthClient is a client that lasts; the provider that it asks does its work.
type oauthClient struct {
	idle
	*oauth.Client
}

// IntrospectionPolicy is what the policies of one name have asked and remember.
type IntrospectionPolicy struct {
	Name string
	introspect.Status
}

// IntrospectionPolicies lists the policies that ask about tokens, in the order of names.
func (r *Runtime) IntrospectionPolicies() []IntrospectionPolicy {
	return byName(r, func(i *introspection) string { return i.name }, func(p *IntrospectionPolicy, i *introspection) {
		s := i.Status()
		p.Name = i.name
		p.Active += s.Active
		p.Inactive += s.Inactive
		p.Failed += s.Failed
		p.Remembered += s.Remembered
		p.DPoP = p.DPoP || s.DPoP
		p.Proofs.Add(s.Proofs)
	})
}

// Providers says how asking providers goes, where their endpoints are and then these, in the order of names. Two clients of one are one here.
func (r *Runtime) Providers() []oauth.Status {
	seen := map[*oauth.Provider]bool{}
	return byName(r, func(c *oauthClient) string { return c.Status().Source }, func(p *oauth.Status, c *oauthClient) {
		add := func(s oauth.Status) {
			p.Asked += s.Asked
			p.Failed += s.Failed
			p.Problem = cmp.Or(p.Problem, s.Problem)
		}
		s := c.Status()
		p.Source = s.Source
		add(s)
		if of := c.Provider(); !seen[of] {
			seen[of] = true
			add(of.Status())
		}
	})
}
