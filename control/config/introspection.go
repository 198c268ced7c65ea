package config

import "time"

// Introspection is the policy that admits clients by a token that says nothing by itself: whoever has issued it is asked (RFC 7662).
type Introspection struct {
	Issuer Text  `cfg:"issuer" doc:"who hands out the tokens, to the letter; where it is asked is found by discovery, unless url says it"`
	URL    *Text `cfg:"url" doc:"where it is asked: a URL of https"`
	OAuthClient
	Audience  List[Text]              `cfg:"audience" doc:"whom tokens are for: one of these; anybody by default"`
	Require   Named[List[ClaimValue]] `cfg:"require" names:"any" doc:"what claims of the answer have to be: a value, or a list of which one does; scope names every scope that is needed"`
	DPoP      *DPoP                   `cfg:"dpop" doc:"tokens that are bound to a key (RFC 9449): required, or allowed beside others; refused by default"`
	Leeway    Duration                `cfg:"leeway" default:"30s" off:"true" doc:"how far clocks may be apart"`
	From      *TokenFrom              `cfg:"from" doc:"where the token is; in Authorization, as Bearer, by default"`
	Strip     bool                    `cfg:"strip" default:"false" doc:"the token does not go on to the service"`
	Forward   Named[Text]             `cfg:"forward" names:"header" doc:"header fields that tell the service a claim: X-User: sub; what clients send under these names goes"`
	Remember  Duration                `cfg:"remember" default:"30s" off:"true" doc:"how long an answer is good, and with it a token that was revoked since; a bad one 10s at most"`
	Tokens    int                     `cfg:"tokens" default:"10000" min:"1" max:"10000000" doc:"how many good answers are remembered, and beside them how many bad ones"`
	Questions int                     `cfg:"questions" default:"100" min:"1" max:"10000" doc:"how many questions are under way at a time; tokens beyond that are answered with 503"`
	Mode      string                  `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos       Pos
}

// introspectionRememberMax is longer than anybody should wait for a token that was revoked to be refused.
const introspectionRememberMax = Duration(time.Hour)

func (v *validator) introspection(i *Introspection, path string) {
	if i == nil {
		return
	}
	path = joinPath(path, "introspection")
	v.unenforced(i.Mode, path)
	v.asked(i.Issuer, i.URL, "url", path)
	v.oauthClient(&i.OAuthClient, path)
	if v.unproven(&i.OAuthClient, path) {
		v.warn(path, "has no secret: few issuers answer those who do not prove who they are", "client_secret: ${ID_SECRET}")
	}
	if len(i.Audience) == 0 {
		v.warn(path, "names no audience: tokens that were made for another service are accepted, too", "audience: the name that the issuer knows this API by")
	}
	if i.Leeway > leewayMax {
		v.fail(path+".leeway", "is longer than 10m", "it is there for clocks that are a little off; who makes tokens decides how long they last")
	}
	if i.Remember > introspectionRememberMax {
		v.fail(path+".remember", "is longer than 1h", "for as long a token that was revoked is accepted")
	}
	v.dpop(i.DPoP, i.From, path)
	v.tokenFrom(i.From, path+".from")
	v.claims(i.Require, i.Forward, path)
}
