package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// OIDC is the policy that lets people sign in with a browser at an OpenID provider.
type OIDC struct {
	Issuer Text `cfg:"issuer" required:"true" doc:"the provider, to the letter; its endpoints and keys are found by discovery"`
	OAuthClient
	Scopes      List[Text]              `cfg:"scopes" doc:"what is asked for beside openid: email, profile; with offline_access sessions are refreshed at the provider"`
	URL         *Text                   `cfg:"url" doc:"scheme and host that browsers know the gateway by, https://shop.example; by default as they say"`
	Callback    Text                    `cfg:"callback" default:"/oauth2/callback" doc:"the path that the provider leads back to, as it is registered there"`
	Logout      Text                    `cfg:"logout" default:"/oauth2/logout" doc:"the path that signs out"`
	AfterLogout *Text                   `cfg:"after_logout" doc:"the path to come to after signing out, as it is registered at the provider; by default the provider leads"`
	Session     LoginSession            `cfg:"session" doc:"what those who have signed in keep"`
	Require     Named[List[ClaimValue]] `cfg:"require" names:"any" doc:"what claims have to be: a value, or a list of which one does"`
	Forward     Named[Text]             `cfg:"forward" names:"header" doc:"header fields that tell the service a claim: X-User: sub; what clients send under these names goes"`
	Remember    int                     `cfg:"remember" default:"10000" off:"true" min:"1" max:"10000000" doc:"how many sessions are remembered, so that they need not be opened again"`
	Pos         Pos
}

// LoginSession is a session in a sealed cookie.
type LoginSession struct {
	Cookie   Text         `cfg:"cookie" default:"__Host-sluice" doc:"the name of the cookie"`
	Lifetime Duration     `cfg:"lifetime" default:"12h" doc:"when a session ends, whatever is done meanwhile"`
	Idle     Duration     `cfg:"idle" default:"1h" off:"true" doc:"when a session ends that is left alone"`
	Secrets  List[Secret] `cfg:"secrets" doc:"what sessions are sealed with, 32 bytes or more, the same on every host: the first one seals, all of them open"`
}

const (
	// sessionSecretsMax is one to come, one in use and some that go.
	sessionSecretsMax = 4
	sessionLifeMax    = Duration(90 * 24 * time.Hour)
)

func (v *validator) oidc(o *OIDC, path string) {
	if o == nil || o.Callback == (Text{}) {
		return // without what is there by default the block was not understood, which was said
	}
	path = joinPath(path, "oidc")
	if o.Issuer.Text != "" {
		v.issuerURL(o.Issuer.Text, o.Issuer.Pos, path+".issuer")
	}
	v.oauthClient(&o.OAuthClient, path)
	v.scopes(o.Scopes, path+".scopes")
	if o.URL != nil {
		u, err := url.Parse(o.URL.Text)
		if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isThisMachine(u.Hostname())) {
			v.failAt(o.URL.Pos, path+".url", v.show(o.URL.Text, o.URL.Pos)+" is no scheme and host that browsers could come to with secrets", "https://shop.example, without a path")
		}
	}
	v.loginPath(o.Callback, path+".callback")
	v.loginPath(o.Logout, path+".logout")
	if o.AfterLogout != nil {
		v.loginPath(*o.AfterLogout, path+".after_logout")
	}
	if o.Callback.Text == o.Logout.Text {
		v.fail(path+".logout", "is the path of callback", "two different paths")
	}
	v.loginSession(&o.Session, path+".session")
	v.claims(o.Require, o.Forward, path)
}

// loginPath wants a path without anything that a browser or a provider could read in two ways.
func (v *validator) loginPath(p Text, path string) {
	if !strings.HasPrefix(p.Text, "/") || strings.HasPrefix(p.Text, "//") || strings.ContainsFunc(p.Text, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`?#\%"<>{}`, c)
	}) || strings.Contains(p.Text, "/.") {
		v.failAt(p.Pos, path, v.show(p.Text, p.Pos)+" is no path", "/oauth2/callback, for example")
	}
}

func (v *validator) loginSession(s *LoginSession, path string) {
	if s.Cookie == (Text{}) {
		return // as above
	}
	if checkHeaderName(s.Cookie.Text) != "" {
		v.failAt(s.Cookie.Pos, path+".cookie", "wants the name of a cookie, got "+v.show(s.Cookie.Text, s.Cookie.Pos), "__Host-sluice, for example")
	} else if !strings.HasPrefix(s.Cookie.Text, "__Host-") {
		v.warn(path+".cookie", "does not begin with __Host-: pages of neighbouring hosts can put a cookie of their own in its place", "__Host-"+strings.TrimLeft(s.Cookie.Text, "_"))
	}
	switch {
	case s.Lifetime <= 0 || s.Lifetime > sessionLifeMax:
		v.fail(path+".lifetime", "is not between 1s and 90d", "")
	case s.Idle > s.Lifetime:
		v.fail(path+".idle", "is longer than lifetime", "off, or less")
	case s.Idle != 0 && s.Idle < Duration(time.Minute):
		v.fail(path+".idle", "is less than 1m", "people read longer than that")
	}
	const hint = "openssl rand -base64 48 makes one: secrets: [\"${SESSION_SECRET}\"], the same on every host"
	switch {
	case v.report.touched[path+".secrets"]:
	case len(s.Secrets) == 0:
		v.fail(path+".secrets", "there is none, and sessions are sealed with it", hint)
	case len(s.Secrets) > sessionSecretsMax:
		v.fail(path+".secrets", fmt.Sprintf("has more than %d secrets", sessionSecretsMax), "old ones are of no use once lifetime has passed")
	}
	for i, secret := range s.Secrets {
		if where := v.item(path+".secrets", i); len(secret.Reveal()) < 32 && !secret.IsZero() {
			v.fail(where, "has fewer than 32 bytes", hint)
		}
	}
}
