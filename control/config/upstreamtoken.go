package config

import (
	"net/url"
	"strings"
)

// UpstreamToken is the policy that shows the service an access token which the gateway gets from a provider, in the place of what the client has
// sent in Authorization.
type UpstreamToken struct {
	Grant    string `cfg:"grant" default:"client_credentials" enum:"client_credentials,token_exchange" doc:"client_credentials: a token of the gateway's own; token_exchange: one for the client, for the one that it has brought (RFC 8693)"`
	Issuer   Text   `cfg:"issuer" doc:"who hands out the tokens, to the letter; where it is asked is found by discovery, unless token_url says it"`
	TokenURL *Text  `cfg:"token_url" doc:"where it is asked: a URL of https"`
	OAuthClient
	Scope     List[Text] `cfg:"scope" doc:"the scopes that the token has to have; those that the issuer gives by default"`
	Audience  List[Text] `cfg:"audience" doc:"the names of the services that the token is for, as the issuer knows them"`
	Resource  List[Text] `cfg:"resource" doc:"the URLs of the services that the token is for (RFC 8707)"`
	Remember  int        `cfg:"remember" default:"10000" min:"1" max:"10000000" doc:"how many tokens that were exchanged are remembered, so that they need not be exchanged again"`
	Questions int        `cfg:"questions" default:"100" min:"1" max:"10000" doc:"how many tokens are being exchanged at a time; requests beyond that are answered with 503"`
	Pos       Pos
}

// Exchanges reports whether the token is got for one of the client's.
func (u *UpstreamToken) Exchanges() bool { return u.Grant == "token_exchange" }

func (v *validator) upstreamToken(u *UpstreamToken, path string) {
	if u == nil {
		return
	}
	path = joinPath(path, "upstream_token")
	v.asked(u.Issuer, u.TokenURL, "token_url", path)
	v.oauthClient(&u.OAuthClient, path)
	if !u.Exchanges() && v.unproven(&u.OAuthClient, path) {
		v.fail(path, "has no secret: tokens of the gateway's own are for those who prove who they are", "client_secret: ${ID_SECRET}") // RFC 6749 section 4.4
	}
	for i, s := range u.Scope {
		if s.Text == "" || strings.ContainsFunc(s.Text, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }) {
			v.failAt(s.Pos, v.item(path+".scope", i), v.show(s.Text, s.Pos)+" is no scope", "orders.read, for example")
		}
	}
	for i, r := range u.Resource {
		if at, err := url.Parse(r.Text); err != nil || !at.IsAbs() || strings.Contains(r.Text, "#") {
			v.failAt(r.Pos, v.item(path+".resource", i), v.show(r.Text, r.Pos)+" is no absolute URL without a fragment", "a name is for audience")
		}
	}
	for i, a := range u.Audience {
		if a.Text == "" {
			v.failAt(a.Pos, v.item(path+".audience", i), "is empty", "")
		}
	}
}
