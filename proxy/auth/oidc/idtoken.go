package oidc

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// leeway is how far the clock of a provider may be off.
const leeway = time.Minute

// verify verifies an ID token and judges it (OpenID Connect Core 1.0 section 3.1.3.7). nonce is that of the attempt; of one that comes with a
// refresh it is empty.
func (s *Sessions) verify(x *proxy.Exchange, t *oauth.Token, nonce string) (jose.Values, string, error) {
	if t.ID == "" {
		return nil, "", errNoIDToken
	}
	claims, token, err := s.options.Keys.Verify(x, []byte(t.ID))
	switch {
	case err != nil:
		return nil, "", err
	case token.Type != "" && !wire.EqualFold([]byte(token.Type), "JWT"):
		return nil, "", errType
	}
	subject, err := s.judge(claims, nonce, s.now())
	if err != nil {
		return nil, "", err
	}
	if hash := claims.Get("at_hash"); hash != nil && !belongs(hash, t.Access, token.Algorithm) {
		return nil, "", errAccess
	}
	return claims, subject, nil
}

// judge looks at the claims of an ID token whose signature is right, and returns whom it is about.
func (s *Sessions) judge(claims jose.Values, nonce string, now time.Time) (string, error) {
	text := func(name string) (string, bool) {
		c := claims.Get(name)
		if c == nil || c.Kind != jose.String {
			return "", false
		}
		return string(c.Text), true
	}
	issuer, ok := text("iss")
	if !ok || issuer != s.options.Issuer {
		return "", errIssuer
	}
	if !s.isFor(claims) {
		return "", errAudience
	}
	subject, ok := text("sub")
	if !ok || subject == "" {
		return "", errSubject
	}
	expires, ok := claims.Get("exp").Moment()
	issued, issuedOK := claims.Get("iat").Moment()
	if !ok || !issuedOK || !now.Before(expires.Add(leeway)) || issued.After(now.Add(leeway)) {
		return "", errTime
	}
	if nonce != "" {
		if got, ok := text("nonce"); !ok || subtle.ConstantTimeCompare([]byte(got), []byte(nonce)) != 1 {
			return "", errNonce
		}
	}
	return subject, nil
}

// isFor wants the client in aud, and, where there are others in it or there is an azp, as that, too.
func (s *Sessions) isFor(claims jose.Values) bool {
	client := s.options.Client.ID()
	list := claims.Get("aud").List()
	found := list.HasString(client)
	party := claims.Get("azp")
	if party == nil {
		return found && len(list) == 1
	}
	return found && party.Kind == jose.String && string(party.Text) == client
}

// belongs compares at_hash with what it is of: the left half of the hash that goes with the algorithm (section 3.1.3.6). It is optional, and with
// an algorithm that says not which hash it has nobody can compare.
func belongs(hash *jose.Value, access string, a jose.Algorithm) bool {
	var sum []byte
	switch name := string(a); {
	case strings.HasSuffix(name, "256"):
		h := sha256.Sum256([]byte(access))
		sum = h[:]
	case strings.HasSuffix(name, "384"):
		h := sha512.Sum384([]byte(access))
		sum = h[:]
	case strings.HasSuffix(name, "512"), name == "EdDSA", name == "Ed25519":
		h := sha512.Sum512([]byte(access))
		sum = h[:]
	default:
		return true
	}
	want := base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	return hash.Kind == jose.String && subtle.ConstantTimeCompare(hash.Text, []byte(want)) == 1
}
