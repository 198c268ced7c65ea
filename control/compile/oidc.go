package compile

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/oidc"
	"sluice/router"
)

// login is a policy under the name that reports call it by.
type login struct {
	idle
	*oidc.Policy
	name string
}

// loginUse is a place where a policy lets people sign in.
type loginUse struct {
	route    *proxy.Route
	path     string // of the policy in the configuration
	policy   *config.OIDC
	sessions *oidc.Sessions
}

func (b *builder) oidcPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	o := p.OIDC
	if o == nil {
		return nil, false, nil
	}
	sessions, definition, err := b.sessions(o)
	if err != nil {
		return nil, true, err
	}
	options := oidc.Options{Sessions: sessions, Callback: o.Callback.Text, Logout: o.Logout.Text, Remember: o.Remember}
	if o.AfterLogout != nil {
		options.Goodbye = o.AfterLogout.Text
	}
	if o.URL != nil {
		options.Place = o.URL.Text
	}
	read := jwt.Options{Require: requirements(o.Require), Forward: forwards(o.Forward)}
	if options.Reader, err = jwt.NewReader(read); err != nil {
		return nil, true, err
	}
	definition = fmt.Sprintf("login %q %s %q %q %q %q %d %+v %+v", name, definition, options.Callback, options.Logout, options.Goodbye, options.Place, options.Remember, read.Require, read.Forward)
	policy, err := lastingOf(b, definition, func() (*login, error) { return &login{Policy: oidc.New(options), name: name}, nil })
	if err != nil {
		return nil, true, err
	}
	path := b.at.path + ".use"
	if name != p.Kind() {
		path = config.JoinPath("policies", name, "oidc")
	}
	b.logins = append(b.logins, loginUse{b.at.route, path, o, sessions})
	return policy.Policy, true, nil
}

// sessions returns those of a policy, and a text that is the same exactly if they are. Policies with the same provider and cookie share them,
// and what has become of sessions also if something else of them differs.
func (b *builder) sessions(o *config.OIDC) (*oidc.Sessions, string, error) {
	client, definition, err := b.oauthClient(oauth.ProviderOptions{Issuer: o.Issuer.Text}, &o.OAuthClient)
	if err != nil {
		return nil, "", err
	}
	so := oidc.SessionsOptions{
		Client: client, Issuer: o.Issuer.Text, Scopes: texts(o.Scopes), Cookie: o.Session.Cookie.Text,
		Lifetime: time.Duration(o.Session.Lifetime), Idle: time.Duration(o.Session.Idle),
	}
	refresher, err := lastingOf(b, "refreshing "+definition, func() (*oauthClient, error) { return &oauthClient{Client: client.Apart()}, nil })
	if err != nil {
		return nil, "", err
	}
	so.Refresher = refresher.Client
	if so.Keys, _, err = b.fetchedKeys(jwt.KeysOptions{Issuer: o.Issuer.Text}, o.CA); err != nil { // as a jwt policy of the same issuer has them
		return nil, "", err
	}
	// What has ended stays so, whatever else of this is changed: when a secret is put in front, above all.
	history := fmt.Sprintf("logins %q %q %q", so.Issuer, client.ID(), so.Cookie)
	if so.History, err = lastingOf(b, history, func() (*oidc.History, error) { return oidc.NewHistory(), nil }); err != nil {
		return nil, "", err
	}
	sums := ""
	for _, s := range o.Session.Secrets {
		so.Secrets = append(so.Secrets, []byte(s.Reveal()))
		sums += fmt.Sprintf(" %x", sha256.Sum256([]byte(s.Reveal())))
	}
	definition = fmt.Sprintf("sessions %s %q %q %s %s%s", definition, so.Scopes, so.Cookie, so.Lifetime, so.Idle, sums)
	sessions, err := lastingOf(b, definition, func() (*oidc.Sessions, error) { return oidc.NewSessions(so) })
	return sessions, definition, err
}

// loginsReachable wants that whoever is led to the provider from a route comes back to one that knows him, and can sign out there.
func (b *builder) loginsReachable() {
	said := map[string]bool{}
	for _, u := range b.logins {
		shown := u.route.Pattern.Host
		if u.policy.URL != nil {
			if at, err := url.Parse(u.policy.URL.Text); err == nil {
				shown = strings.ToLower(at.Hostname())
			}
		}
		host := strings.Replace(shown, "*", "any", 1)
		for _, p := range []struct{ key, path, what string }{{"callback", u.policy.Callback.Text, "nobody comes back from the provider"}, {"logout", u.policy.Logout.Text, "nobody can sign out"}} {
			var m router.Match
			route, outcome := b.plan.table.Lookup(&router.Request{Method: []byte("GET"), Host: []byte(host), Path: []byte(p.path)}, &m)
			if outcome == router.Found && slices.ContainsFunc(b.logins, func(o loginUse) bool {
				at := o.policy.Callback.Text
				if p.key == "logout" {
					at = o.policy.Logout.Text
				}
				return o.route == route && o.sessions == u.sessions && at == p.path
			}) {
				continue
			}
			where := shown + p.path
			if message := fmt.Sprintf("no route with this policy takes GET %s, so that %s", where, p.what); !said[u.path+message] {
				said[u.path+message] = true
				problem := b.config.Problem(u.path+"."+p.key, message, "")
				problem.Hint = fmt.Sprintf("a route with match: \"%s\" and the policy in use, or another %s", where, p.key)
				b.problems = append(b.problems, problem)
			}
		}
	}
}

// LoginPolicy is what the policies of one name do for browsers.
type LoginPolicy struct {
	Name string
	oidc.Status
	Remembered int
}

// LoginPolicies lists the policies that let people sign in, in the order of names. Those that share sessions share what has happened to these;
// under one name it counts once.
func (r *Runtime) LoginPolicies() []LoginPolicy {
	type counted struct {
		name     string
		sessions *oidc.Sessions
	}
	seen := map[counted]bool{}
	return byName(r, func(l *login) string { return l.name }, func(p *LoginPolicy, l *login) {
		p.Name = l.name
		p.Remembered += l.Remembered()
		if of := (counted{l.name, l.Sessions()}); !seen[of] {
			seen[of] = true
			p.Add(of.sessions.Status())
		}
	})
}
