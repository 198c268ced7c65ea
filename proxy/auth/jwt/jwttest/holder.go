package jwttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"time"
)

// Holder is a client whose tokens are bound to its key (RFC 9449).
type Holder struct{ private *ecdsa.PrivateKey }

// NewHolder returns one with a key of its own.
func NewHolder() *Holder {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Holder{private}
}

func (h *Holder) jwk() map[string]any {
	point, err := h.private.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:])}
}

// Confirmation is the value of cnf in tokens of the holder.
func (h *Holder) Confirmation() map[string]any {
	sum := sha256.Sum256(marshal(h.jwk())) // RFC 7638: the members are in order
	return map[string]any{"jkt": text(sum[:])}
}

// Proof makes a proof for a request with a token, with claims changed by pairs of a name and a value.
func (h *Holder) Proof(method, url, token string, changes ...any) string {
	of := sha256.Sum256([]byte(token))
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": text(of[:])}
	for n := 0; n+1 < len(changes); n += 2 {
		claims[changes[n].(string)] = changes[n+1]
	}
	return sign(h.private, map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": h.jwk()}, claims)
}
