package jwt

import (
	"errors"
	"strings"

	"sluice/proxy"
)

// What clients are refused with. Nothing says what was wrong with a token: who has made it up must not learn how far it went. The
// log has the cause.
var (
	ErrMissing = &proxy.Error{Status: 401, Code: "token_required", Side: proxy.ByClient, Challenge: challenge,
		Detail: "An access token is needed here, and none was sent."}
	ErrInvalid = &proxy.Error{Status: 401, Code: "token_invalid", Side: proxy.ByClient, Challenge: challenge + `, error="invalid_token"`,
		Detail: "The access token is not valid here, or no longer."}
	ErrAmbiguous = &proxy.Error{Status: 400, Code: "token_ambiguous", Side: proxy.ByClient, Challenge: challenge + `, error="invalid_request"`,
		Detail: "There is more than one access token in the request."}
	ErrNoKeys = &proxy.Error{Status: 503, Code: "keys_unavailable", Side: proxy.ByGateway, RetryAfter: 5,
		Detail: "Access tokens cannot be verified at the moment."}
	errInsufficient = &proxy.Error{Status: 403, Code: "insufficient_scope", Side: proxy.ByClient, Challenge: challenge + `, error="insufficient_scope"`,
		Detail: "The access token does not allow this."}
)

// challenge is what 401 begins with (RFC 6750 section 3). Without a token, nothing else is said.
const challenge = `Bearer realm="sluice"`

// answers are what one way to bring a token is refused with.
type answers struct{ missing, invalid, ambiguous, insufficient *proxy.Error }

// plain is for policies that know no other way than Bearer.
var plain = answers{ErrMissing, ErrInvalid, ErrAmbiguous, errInsufficient}

// challenged returns what plain says, as another challenge: what it begins with, and what follows at its end.
func challenged(begin, end string) answers {
	other := func(e *proxy.Error) *proxy.Error {
		c := *e
		c.Challenge = begin + strings.TrimPrefix(e.Challenge, challenge) + end
		return &c
	}
	return answers{other(ErrMissing), other(ErrInvalid), other(ErrAmbiguous), other(errInsufficient)}
}

// Causes of ErrInvalid, beside those of package jose.
var (
	errUnwanted  = errors.New("the token is signed with an algorithm that this policy does not accept")
	errType      = errors.New("the token is of a type that this policy does not accept")
	errKey       = errors.New("the token is signed with a key that is not known")
	errSignature = errors.New("the token's signature is wrong")
	errIssuer    = errors.New("the token is of another issuer")
	errAudience  = errors.New("the token is for another audience")
	errTime      = errors.New("a time in the token is no time, or it says not when it expires")
	errExpired   = errors.New("the token has expired")
	errEarly     = errors.New("the token is not valid yet")
	errSubject   = errors.New("the token's sub, iss or jti is no string")
	errRevoked   = errors.New("the token was revoked")
	errBound     = errors.New("the token is bound to a key or certificate that the client has not shown")
	errBearer    = errors.New("the token is bound to a key, and came as Bearer")
	errUnbound   = errors.New("the token came with DPoP, and is bound to no key")
	errPlain     = errors.New("the token came as Bearer, and this policy wants DPoP")
)
