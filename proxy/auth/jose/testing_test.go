package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// private are keys to sign with, of every kind, made once.
var private = sync.OnceValue(func() map[string]any {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	_, ed4, err := ed448.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	_, m44, err := mldsa44.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	_, m65, err := mldsa65.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	_, m87, err := mldsa87.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]any{
		"RSA": must(rsa.GenerateKey(rand.Reader, 2048)), "P-256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "P-521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"Ed25519": ed, "Ed448": ed4, "ML-DSA-44": m44, "ML-DSA-65": m65, "ML-DSA-87": m87,
		"secret": []byte("a secret of 64 bytes, which is as long as HS512 wants it to be!!"),
	}
})

// kinds are the keys that an algorithm is signed with.
var kinds = map[Algorithm]string{
	"RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521",
	"EdDSA": "Ed25519", "Ed25519": "Ed25519", "Ed448": "Ed448", "ML-DSA-44": "ML-DSA-44", "ML-DSA-65": "ML-DSA-65", "ML-DSA-87": "ML-DSA-87",
	"HS256": "secret", "HS384": "secret", "HS512": "secret",
}

// sign signs in a certain way with whatever key is given.
func sign(a Algorithm, key any, signed []byte) []byte {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if a[0] == 'P' {
			return must(rsa.SignPSS(rand.Reader, k, a.hash(), digest(a, signed), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, k, a.hash(), digest(a, signed)))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest(a, signed))
		if err != nil {
			panic(err)
		}
		return rawECDSA(k.Curve, r, s)
	case ed25519.PrivateKey:
		return must(k.Sign(nil, signed, crypto.Hash(0)))
	case ed448.PrivateKey:
		return ed448.Sign(k, signed, "")
	case *mldsa44.PrivateKey:
		return must(k.Sign(nil, signed, crypto.Hash(0)))
	case *mldsa65.PrivateKey:
		return must(k.Sign(nil, signed, crypto.Hash(0)))
	case *mldsa87.PrivateKey:
		return must(k.Sign(nil, signed, crypto.Hash(0)))
	case []byte:
		mac := hmac.New(a.hash().New, k)
		mac.Write(signed)
		return mac.Sum(nil)
	}
	panic("no key")
}

func rawECDSA(c elliptic.Curve, r, s *big.Int) []byte {
	size := (c.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

// token makes a compact token of a header and a payload as they are.
func token(header, payload string, a Algorithm, key any) []byte {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	return []byte(signed + "." + b64(sign(a, key, []byte(signed))))
}

// jwk returns the public part of a key as members of a JWK.
func jwk(key any) map[string]any {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return map[string]any{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PrivateKey:
		point := must(k.PublicKey.Bytes())[1:]
		return map[string]any{"kty": "EC", "crv": k.Curve.Params().Name, "x": b64(point[:len(point)/2]), "y": b64(point[len(point)/2:])}
	case ed25519.PrivateKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(k.Public().(ed25519.PublicKey))}
	case ed448.PrivateKey:
		return map[string]any{"kty": "OKP", "crv": "Ed448", "x": b64(k.Public().(ed448.PublicKey))}
	case *mldsa44.PrivateKey:
		return map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": b64(k.Public().(*mldsa44.PublicKey).Bytes())}
	case *mldsa65.PrivateKey:
		return map[string]any{"kty": "AKP", "alg": "ML-DSA-65", "pub": b64(k.Public().(*mldsa65.PublicKey).Bytes())}
	case *mldsa87.PrivateKey:
		return map[string]any{"kty": "AKP", "alg": "ML-DSA-87", "pub": b64(k.Public().(*mldsa87.PublicKey).Bytes())}
	}
	panic("no key")
}

// with returns the members with others added or changed; nil removes one.
func with(m map[string]any, more ...any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		if out[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(out, more[i].(string))
		}
	}
	return out
}

func set(keys ...map[string]any) []byte { return must(json.Marshal(map[string]any{"keys": keys})) }

// accepted reports whether a token is one that a key of the set has signed, as the policy asks it.
func accepted(s *Set, compact []byte) bool {
	t, err := Parse(compact)
	if err != nil {
		return false
	}
	for _, k := range s.Find(t) {
		if t.Verify(k) {
			_, err := t.Claims()
			return err == nil
		}
	}
	return false
}
