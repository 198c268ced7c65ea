package jwt

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

// verify reads and judges a token that is not remembered, and remembers it. What costs little comes first, and the claims come after
// the signature: until then they are anybody's.
func (g *Guard) verify(x *proxy.Exchange, sent []byte, set *jose.Set, revoked *revocations) (*entry, error) {
	compact := bytes.Clone(sent)
	token, err := jose.Parse(compact)
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(g.options.Algorithms, token.Algorithm):
		return nil, errUnwanted
	case !g.accepts(token.Type):
		return nil, errType
	}
	signer, named := signerOf(token, set)
	if signer == nil && !named {
		// The issuer may have begun to sign with a key that is newer than what was fetched.
		newer := g.options.Keys.await(x, set, func(s *jose.Set) bool {
			signer, named = signerOf(token, s)
			return signer != nil || named
		})
		if newer == set || signer == nil && !named {
			return nil, errKey
		}
		set = newer
	}
	if signer == nil {
		return nil, errSignature
	}
	g.verified.Add(1)
	claims, err := token.Claims()
	if err != nil {
		return nil, err
	}
	e := &entry{token: compact, set: set, revoked: revoked}
	if err := g.judge(e, claims); err != nil {
		return nil, err
	}
	g.memory.add(e)
	return e, nil
}

// signerOf returns the key that has signed a token, or nil; named says that there is one of the name that the token gives, so that no
// other can be meant.
func signerOf(t *jose.Token, s *jose.Set) (signer *jose.Key, named bool) {
	for _, k := range s.Find(t) {
		named = named || t.HasKeyID && k.HasID
		if t.Verify(k) {
			return k, named
		}
	}
	return nil, named
}

// rememberMax is how long a token is remembered without being verified again: a clock that was wrong then may be right now.
const rememberMax = time.Hour

// judge looks at the claims of a token whose signature is right, and fills in what is to be remembered.
func (g *Guard) judge(e *entry, claims jose.Values) error {
	now := g.now()
	left, err := g.judgeTimes(claims, now)
	if err != nil {
		return err
	}
	e.until = wire.Now() + int64(min(left, rememberMax))
	issuer, issuerOK := text(claims, "iss")
	subject, subjectOK := text(claims, "sub")
	id, idOK := text(claims, "jti")
	switch {
	case !issuerOK || !subjectOK || !idOK:
		return errSubject
	case g.options.Issuer != "" && issuer != g.options.Issuer:
		return errIssuer
	case len(g.options.Audiences) > 0 && !claims.Get("aud").List().HasString(g.options.Audiences...):
		return errAudience
	}
	if e.binding, err = readBinding(claims, g.options.DPoP != nil); err != nil {
		return err
	}
	if id != "" {
		e.id, e.hasID = sha256.Sum256([]byte(id)), true
	}
	if subject != "" {
		e.subject, e.hasSubject = sha256.Sum256([]byte(subject)), true
	}
	if e.revoked.has(e) {
		return errRevoked
	}
	for _, r := range g.rules {
		if !r.allows(claims) {
			if e.refused = r.refused; e.binding.keyed {
				e.refused = r.refusedBound
			}
			break
		}
	}
	e.identity = identity("jwt", issuer, subject, claims, e.token)
	for _, f := range g.options.Forward {
		e.forward = append(e.forward, e.identity.Claim(f.Claim))
	}
	return nil
}

// text returns a claim that has to be a string if it is there.
func text(claims jose.Values, name string) (string, bool) {
	c := claims.Get(name)
	if c == nil {
		return "", true
	}
	return string(c.Text), c.Kind == jose.String
}

// judgeTimes returns for how long the token is valid. It has to say when it expires: one that never does could not be got rid of.
func (g *Guard) judgeTimes(claims jose.Values, now time.Time) (time.Duration, error) {
	expires, ok := claims.Get("exp").Moment()
	if !ok {
		return 0, errTime
	}
	expires = expires.Add(g.options.Leeway)
	for _, name := range []string{"nbf", "iat"} {
		c := claims.Get(name)
		if c == nil {
			continue
		}
		begins, ok := c.Moment()
		if !ok {
			return 0, errTime
		}
		if begins.After(now.Add(g.options.Leeway)) {
			return 0, errEarly
		}
	}
	if !now.Before(expires) {
		return 0, errExpired
	}
	return expires.Sub(now), nil
}

// changing are the claims that differ between two tokens of the same client for no other reason than that they are two tokens.
var changing = []string{"exp", "nbf", "iat", "jti", "auth_time", "nonce", "at_hash", "c_hash", "uti", "aio", "rh"}

// identity is who the token is of. Whatever else it says distinguishes clients, too: an origin may answer differently to one that has
// fewer scopes. A token that names nobody is a client of its own.
func identity(kind, issuer, subject string, claims jose.Values, compact []byte) *proxy.Identity {
	var list []proxy.Claim
	var distinct [][]byte
	for _, c := range slices.SortedFunc(slices.Values(claims), func(a, b jose.Value) int { return strings.Compare(a.Path, b.Path) }) {
		list = append(list, proxy.Claim{Path: c.Path, Value: c.Text, JSON: c.Kind != jose.String})
		if !slices.Contains(changing, c.Path) {
			distinct = append(distinct, []byte(c.Path), []byte{byte(c.Kind)}, c.Text)
		}
	}
	if subject == "" {
		distinct = append(distinct, compact)
	}
	return proxy.NewIdentity(kind, issuer, subject, list, distinct...)
}
