package jwttest

import (
	"crypto/rand"
	"crypto/sha256"
	"time"
)

// Holder is a client whose tokens are bound to its key (RFC 9449).
type Holder struct{ key *Key }

// NewHolder returns one with a key of its own.
func NewHolder() *Holder { return &Holder{NewES256()} }

// Confirmation is the value of cnf in tokens of the holder.
func (h *Holder) Confirmation() map[string]any {
	print := h.key.Thumbprint()
	return map[string]any{"jkt": text(print[:])}
}

// Proof makes a proof for a request with a token, with claims changed by pairs of a name and a value.
func (h *Holder) Proof(method, url, token string, changes ...any) string {
	of := sha256.Sum256([]byte(token))
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": text(of[:])}
	for n := 0; n+1 < len(changes); n += 2 {
		claims[changes[n].(string)] = changes[n+1]
	}
	return h.key.Sign(marshal(map[string]any{"alg": h.key.Alg, "typ": "dpop+jwt", "jwk": h.key.JWK()}), marshal(claims))
}
