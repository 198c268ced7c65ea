package jwttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// Key signs by the one algorithm that is usual for it.
type Key struct {
	Alg     string
	private crypto.Signer
}

// NewES256 returns a key on P-256.
func NewES256() *Key { return &Key{"ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))} }

// NewEdDSA returns a key of Ed25519.
func NewEdDSA() *Key {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return &Key{"EdDSA", must(private, err)}
}

// NewRS256 returns a key of RSA.
func NewRS256() *Key { return &Key{"RS256", must(rsa.GenerateKey(rand.Reader, 2048))} }

// JWK is the public part, without anything that is not needed: what a thumbprint is of (RFC 7638).
func (k *Key) JWK() map[string]any {
	switch p := k.private.Public().(type) {
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": text(p)}
	case *ecdsa.PublicKey:
		point := must(p.Bytes())
		return map[string]any{"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:])}
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": text(p.N.Bytes()), "e": "AQAB"}
	}
	panic("no key")
}

// Thumbprint is that of RFC 7638: encoding/json sorts the members.
func (k *Key) Thumbprint() [sha256.Size]byte { return sha256.Sum256(marshal(k.JWK())) }

// Sign makes a token of a header and claims as they are.
func (k *Key) Sign(header, claims []byte) string {
	signed := text(header) + "." + text(claims)
	sum := sha256.Sum256([]byte(signed))
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		return signed + "." + text(ed25519.Sign(private, []byte(signed)))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
		r = must(r, err)
		return signed + "." + text(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	case *rsa.PrivateKey:
		return signed + "." + text(must(rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])))
	}
	panic("no key")
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshal(v any) []byte { return must(json.Marshal(v)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
