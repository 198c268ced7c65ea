package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"

	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// ErrNoKey is of a proof without the key that it proves.
var ErrNoKey = errors.New("the proof does not hold its public key")

// ParseProof reads a token that brings its key (jwk in the header, RFC 7515 section 4.1.3). Such a token says nothing about who made it: it
// proves that whoever sends it has the private key, and somebody else has to say whose that is. What Parse refuses is refused here, too, and
// so is every key that a Set would leave out: a private, a secret or a weak one.
func ParseProof(compact []byte) (*Token, *Key, error) {
	t, jwk, err := parse(compact, true)
	if err != nil {
		return nil, nil, err
	}
	key, err := parseKey(jwk)
	if err != nil {
		return nil, nil, err
	}
	return t, key, nil
}

// Thumbprint is what a key is known by (RFC 7638): the SHA-256 of the members that make it up, in the one form that they have. It does not
// depend on what else a JWK said.
func (k *Key) Thumbprint() [sha256.Size]byte {
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return thumbprint(`{"e":"`, b64(big.NewInt(int64(key.E)).Bytes()), `","kty":"RSA","n":"`, b64(key.N.Bytes()), `"}`)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic("BUG: a key that was read has no point: " + err.Error())
		}
		half := len(point) / 2
		return thumbprint(`{"crv":"`, key.Curve.Params().Name, `","kty":"EC","x":"`, b64(point[1:1+half]), `","y":"`, b64(point[1+half:]), `"}`)
	case ed25519.PublicKey:
		return thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"`, b64(key), `"}`)
	case ed448.PublicKey:
		return thumbprint(`{"crv":"Ed448","kty":"OKP","x":"`, b64(key), `"}`)
	case *mldsa44.PublicKey:
		return thumbprint(`{"alg":"ML-DSA-44","kty":"AKP","pub":"`, b64(key.Bytes()), `"}`)
	case *mldsa65.PublicKey:
		return thumbprint(`{"alg":"ML-DSA-65","kty":"AKP","pub":"`, b64(key.Bytes()), `"}`)
	case *mldsa87.PublicKey:
		return thumbprint(`{"alg":"ML-DSA-87","kty":"AKP","pub":"`, b64(key.Bytes()), `"}`)
	case secret:
		return thumbprint(`{"k":"`, b64(key), `","kty":"oct"}`)
	}
	panic("BUG: a key of no kind")
}

func thumbprint(parts ...string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	h.Sum(sum[:0])
	return sum
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
