package introspect

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/wire"
)

// What is wrong with an answer, so that it is none.
var (
	errObject = errors.New("the answer of the introspection endpoint is not an object of JSON")
	errActive = errors.New("the answer of the introspection endpoint does not say whether the token is active")
)

// Why a token is refused that its issuer calls active.
var (
	refusedTime     = jwt.ErrInvalid.With(errors.New("a time in what is said about the token is no time"))
	refusedExpired  = jwt.ErrInvalid.With(errors.New("the token is said to be active, and to have expired"))
	refusedEarly    = jwt.ErrInvalid.With(errors.New("the token is not valid yet"))
	refusedIssuer   = jwt.ErrInvalid.With(errors.New("the token is of another issuer"))
	refusedAudience = jwt.ErrInvalid.With(errors.New("the token is for another audience"))
	refusedSubject  = jwt.ErrInvalid.With(errors.New("sub, iss, username or client_id of the token is no text"))
	refusedKind     = jwt.ErrInvalid.With(errors.New("the token is no access token"))
	refusedBound    = jwt.ErrInvalid.With(errors.New("the token is bound to a key, or in a way that is not known"))
)

// read reads an answer (RFC 7662 section 2.2). An error says that it is none: nobody is refused for good by it.
func (g *Guard) read(text, token []byte) (*verdict, error) {
	claims, err := jose.ParseObject(text)
	if err != nil {
		return nil, errObject
	}
	active := claims.Get("active")
	switch {
	case active == nil || active.Kind != jose.Bool:
		return nil, errActive
	case string(active.Text) != "true":
		return &verdict{refused: errInactive}, nil
	}
	v := &verdict{}
	v.refused = g.judge(v, claims, token)
	return v, nil
}

// judge looks at what is said about a token that is active.
func (g *Guard) judge(v *verdict, claims jose.Values, token []byte) *proxy.Error {
	if refused := g.judgeTimes(v, claims); refused != nil {
		return refused
	}
	var texts [4]string
	for i, name := range [...]string{"iss", "sub", "username", "client_id"} {
		if c := claims.Get(name); c != nil {
			if c.Kind != jose.String {
				return refusedSubject
			}
			texts[i] = string(c.Text)
		}
	}
	issuer, subject, user, client := texts[0], texts[1], texts[2], texts[3]
	switch {
	case issuer != "" && g.options.Issuer != "" && issuer != g.options.Issuer:
		return refusedIssuer
	case len(g.options.Audiences) > 0 && !claims.Get("aud").List().HasString(g.options.Audiences...):
		return refusedAudience
	case !isAccess(claims):
		return refusedKind
	}
	if refused := g.bind(v, claims); refused != nil {
		return refused
	}
	v.claims = g.options.Reader.Judge("introspection", cmp.Or(issuer, g.vouches), name(subject, user, client), claims, token)
	return nil
}

// name is who a token is about, "" for nobody. What names the client if sub does not is told apart from a sub; as that may be any text, one that
// looks like it is told apart, too.
func name(subject, user, client string) string {
	word, _, two := strings.Cut(subject, " ")
	switch {
	case two && (word == "sub" || word == "username" || word == "client"):
		return "sub " + subject
	case subject != "":
		return subject
	case user != "":
		return "username " + user
	case client != "":
		return "client " + client
	}
	return ""
}

// judgeTimes notes when the token ends, which an issuer need not say: it will say that it is not active any more.
func (g *Guard) judgeTimes(v *verdict, claims jose.Values) *proxy.Error {
	now := g.now()
	if c := claims.Get("exp"); c != nil {
		expires, ok := c.Moment()
		if !ok {
			return refusedTime
		}
		left := expires.Add(g.options.Leeway).Sub(now)
		if left <= 0 {
			return refusedExpired
		}
		v.until = wire.Now() + int64(left)
	}
	for _, name := range []string{"nbf", "iat"} {
		if c := claims.Get(name); c != nil {
			begins, ok := c.Moment()
			switch {
			case !ok:
				return refusedTime
			case begins.After(now.Add(g.options.Leeway)):
				return refusedEarly
			}
		}
	}
	return nil
}

// isAccess wants that the token is for calling services: issuers call refresh tokens active, too, and say what they are in words of their own.
func isAccess(claims jose.Values) bool {
	for _, said := range []struct {
		name string
		good []string
	}{{"token_type", []string{"bearer", "access_token", "dpop"}}, {"token_use", []string{"access_token", "access"}}, {"typ", []string{"bearer", "jwt", "at+jwt", "access"}}} {
		c := claims.Get(said.name)
		if c != nil && (c.Kind != jose.String || !slices.Contains(said.good, strings.ToLower(string(c.Text)))) {
			return false
		}
	}
	return true
}

// bind reads what the token is bound to, which a token of the type DPoP has to be (RFC 9449 section 6.2).
func (g *Guard) bind(v *verdict, claims jose.Values) *proxy.Error {
	var err error
	kind := claims.Get("token_type")
	if v.binding, err = g.options.Reader.Binding(claims); err != nil || kind != nil && wire.EqualFold(kind.Text, "dpop") && !v.binding.Keyed() {
		return refusedBound
	}
	return nil
}
