package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes below
	_ "crypto/sha512"
	"math/big"
	"slices"

	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// Algorithm is the name of a way to sign (RFC 7518 section 3.1, RFC 8037, RFC 9864, and ML-DSA).
type Algorithm string

// Algorithms lists those that are understood. "none" is not among them.
var Algorithms = []Algorithm{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448",
	"ML-DSA-44", "ML-DSA-65", "ML-DSA-87", "HS256", "HS384", "HS512",
}

func (a Algorithm) known() bool { return slices.Contains(Algorithms, a) }

// hash is the one that the algorithm's name ends in.
func (a Algorithm) hash() crypto.Hash {
	switch a[len(a)-3:] {
	case "256":
		return crypto.SHA256
	case "384":
		return crypto.SHA384
	}
	return crypto.SHA512
}

// suits returns the algorithms that a key of this kind is for.
func suits(key any) []Algorithm {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return []Algorithm{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []Algorithm{"ES256"}
		case 384:
			return []Algorithm{"ES384"}
		}
		return []Algorithm{"ES512"}
	case ed25519.PublicKey:
		return []Algorithm{"EdDSA", "Ed25519"}
	case ed448.PublicKey:
		return []Algorithm{"EdDSA", "Ed448"}
	case *mldsa44.PublicKey:
		return []Algorithm{"ML-DSA-44"}
	case *mldsa65.PublicKey:
		return []Algorithm{"ML-DSA-65"}
	case *mldsa87.PublicKey:
		return []Algorithm{"ML-DSA-87"}
	case secret:
		// RFC 7518 section 3.2: a secret is as long as the hash at least.
		var list []Algorithm
		for _, a := range []Algorithm{"HS256", "HS384", "HS512"} {
			if len(k) >= a.hash().Size() {
				list = append(list, a)
			}
		}
		return list
	}
	panic("BUG: a key of no kind")
}

// secret is a key of HMAC. It is a type of its own, so that the bytes of a public key cannot become one.
type secret []byte

// Verify reports whether signature is the key's, over signed, by an algorithm that the key is for.
func (k *Key) Verify(a Algorithm, signed, signature []byte) bool {
	if !k.Admits(a) {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		digest := digest(a, signed)
		if a[0] == 'P' {
			// RFC 7518 section 3.5: the salt is as long as the hash.
			return rsa.VerifyPSS(key, a.hash(), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(key, a.hash(), digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, digest(a, signed), r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(key, signed, signature)
	case ed448.PublicKey:
		return len(signature) == ed448.SignatureSize && ed448.Verify(key, signed, signature, "")
	case *mldsa44.PublicKey:
		return mldsa44.Verify(key, signed, nil, signature)
	case *mldsa65.PublicKey:
		return mldsa65.Verify(key, signed, nil, signature)
	case *mldsa87.PublicKey:
		return mldsa87.Verify(key, signed, nil, signature)
	case secret:
		mac := hmac.New(a.hash().New, key)
		mac.Write(signed)
		return hmac.Equal(mac.Sum(nil), signature)
	}
	panic("BUG: a key of no kind")
}

func digest(a Algorithm, signed []byte) []byte {
	h := a.hash().New()
	h.Write(signed)
	return h.Sum(nil)
}
