package jwt

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt/jwttest"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// signer is an issuer's key.
type signer struct {
	kid string
	*jwttest.Key
}

func newSigner(kid string) *signer { return &signer{kid, jwttest.NewEdDSA()} }
func newES256(kid string) *signer  { return &signer{kid, jwttest.NewES256()} }
func newRS256(kid string) *signer  { return &signer{kid, jwttest.NewRS256()} }

func (s *signer) jwk() map[string]any {
	m := s.JWK()
	m["kid"], m["use"], m["alg"] = s.kid, "sig", s.Alg
	return m
}

func setText(signers ...*signer) []byte {
	var keys []any
	for _, s := range signers {
		keys = append(keys, s.jwk())
	}
	return must(json.Marshal(map[string]any{"keys": keys}))
}

func setOf(signers ...*signer) *jose.Set { return must(jose.ParseSet(setText(signers...))) }

// token signs claims, with members of the header beside alg and kid.
func (s *signer) token(claims map[string]any, header ...any) string {
	h := map[string]any{"alg": s.Alg, "kid": s.kid, "typ": "JWT"}
	for i := 0; i < len(header); i += 2 {
		if h[header[i].(string)] = header[i+1]; header[i+1] == nil {
			delete(h, header[i].(string))
		}
	}
	return s.Sign(must(json.Marshal(h)), must(json.Marshal(claims)))
}

// claims are those of an ordinary token, with others added or changed; nil removes one.
func claims(more ...any) map[string]any {
	now := time.Now().Unix()
	m := map[string]any{
		"iss": "https://id.example", "aud": []string{"account", "shop-api"}, "sub": "user-7", "exp": now + 300, "iat": now, "nbf": now, "jti": "token-1",
		"scope": "openid orders.read orders.write", "email_verified": true, "level": 3, "realm_access": map[string]any{"roles": []string{"buyer", "clerk"}},
	}
	for i := 0; i < len(more); i += 2 {
		if m[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(m, more[i].(string))
		}
	}
	return m
}

func guard(t testing.TB, o Options) *Guard {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// with makes an exchange with a token.
func bearing(token string) *proxy.Exchange {
	x := proxy.Acquire()
	x.Request.Head.AddString("Authorization", "Bearer "+token)
	return x
}

// outcome is what a guard says to a token: "200", or the status and the cause.
func outcome(g *Guard, token string) string {
	x := bearing(token)
	defer x.Release()
	return said(g.Check(x))
}

func said(err error) string {
	if err == nil {
		return "200"
	}
	e := proxy.AsError(err)
	if e.Cause != nil {
		return fmt.Sprintf("%d %v", e.Status, e.Cause)
	}
	return fmt.Sprint(e.Status)
}
