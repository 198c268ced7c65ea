package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"math/big"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/consumer"
	"sluice/proxy/auth/jose"
)

// The algorithms (RFC 9421 section 3.3).
const (
	HMAC    = "hmac-sha256"
	Ed25519 = "ed25519"
	ECDSA   = "ecdsa-p256-sha256"
	RSAPSS  = "rsa-pss-sha512"
	RSA15   = "rsa-v1_5-sha256"
)

// Kind is that of the identities.
const Kind = "signature"

// secretBytesMin is the length of the hash: a shorter key of HMAC is weaker than it (RFC 2104 section 3).
const secretBytesMin = sha256.Size

// Key is one that a consumer signs with.
type Key struct {
	ID        string
	Algorithm string
	Secret    []byte // of HMAC
	Public    any    // of the others: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Consumer  *consumer.Consumer
	Scopes    []string  // in the place of the consumer's, if there are any
	Expires   time.Time // zero: never
}

// Keys are those of a group of consumers. Immutable and safe for concurrent use.
type Keys struct {
	known     map[string]*key
	consumers int // who have one
	// decoys are what is computed with for an id that nobody has: the keys of an algorithm, and under "" all of them.
	decoys map[string][]*key
	seed   maphash.Seed
}

type key struct {
	algorithm string
	public    any
	macs      *sync.Pool // of hash.Hash
	identity  *proxy.Identity
	plan      string
	scopes    []string
	expires   int64 // Unix time; 0: never
}

// NewKeys returns the keys of a group.
func NewKeys(group string, list []Key) (*Keys, error) {
	keys := &Keys{known: make(map[string]*key, len(list)), decoys: make(map[string][]*key), seed: maphash.MakeSeed()}
	names := make(map[string]bool)
	for i := range list {
		k, made := &list[i], &key{}
		if keys.known[k.ID] != nil {
			return nil, fmt.Errorf("two signing keys of the group %s have the id %q", group, k.ID)
		}
		if err := made.take(k); err != nil {
			return nil, fmt.Errorf("the signing key %q of %s cannot be used: %w", k.ID, k.Consumer.Name, err)
		}
		made.plan, made.scopes = k.Consumer.Plan, k.Scopes
		if len(made.scopes) == 0 {
			made.scopes = k.Consumer.Scopes
		}
		made.identity = k.Consumer.Identity(Kind, group, made.scopes)
		if !k.Expires.IsZero() {
			made.expires = k.Expires.Unix()
		}
		keys.known[k.ID] = made
		names[k.Consumer.Name] = true
		for _, algorithm := range []string{made.algorithm, ""} {
			keys.decoys[algorithm] = append(keys.decoys[algorithm], made)
		}
	}
	if len(list) == 0 {
		secret := make([]byte, secretBytesMin)
		rand.Read(secret) // it never fails: see crypto/rand.Read
		keys.decoys[""] = []*key{{algorithm: HMAC, macs: macs(secret)}}
	}
	keys.consumers = len(names)
	return keys, nil
}

// take reads what a key is made of, and wants it to be that of its algorithm: one key is never used with two.
func (k *key) take(from *Key) error {
	k.algorithm, k.public = from.Algorithm, from.Public
	fits := false
	switch public := from.Public.(type) {
	case nil:
		if len(from.Secret) < secretBytesMin {
			return fmt.Errorf("its secret has %d bytes, fewer than %d", len(from.Secret), secretBytesMin)
		}
		fits, k.macs = from.Algorithm == HMAC, macs(from.Secret)
	case ed25519.PublicKey:
		fits = from.Algorithm == Ed25519
	case *ecdsa.PublicKey:
		fits = from.Algorithm == ECDSA && public.Curve == elliptic.P256()
	case *rsa.PublicKey:
		if err := jose.CheckRSA(public); err != nil {
			return err
		}
		fits = from.Algorithm == RSAPSS || from.Algorithm == RSA15
	}
	if !fits {
		return fmt.Errorf("it is no key of %s", from.Algorithm)
	}
	return nil
}

func macs(secret []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}
}

// ParsePublicKey reads a public key in PEM (SubjectPublicKeyInfo), and returns the algorithm that is meant if none is named.
func ParsePublicKey(text []byte) (public any, algorithm string, err error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, "", errors.New("it holds no PUBLIC KEY in PEM")
	}
	public, err = x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, "", errors.New("it holds no public key of RSA, ECDSA or Ed25519")
	}
	switch k := public.(type) {
	case ed25519.PublicKey:
		return k, Ed25519, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, "", errors.New("its curve is not P-256")
		}
		return k, ECDSA, nil
	case *rsa.PublicKey:
		return k, RSAPSS, nil
	}
	return nil, "", errors.New("it holds no public key of RSA, ECDSA or Ed25519")
}

// find returns the key that is named, or a decoy and what is wrong. Nobody is to learn from the time whether an id is known: one that somebody has,
// but not for the algorithm, takes what one that nobody has does; and that takes, where no algorithm is named, what some key of the group
// does, for each id always the same one.
func (k *Keys) find(in *input) (*key, error) {
	id, algorithm := in.keyID, in.alg
	found := k.known[string(id)]
	if found != nil && (!in.hasAlg || string(algorithm) == found.algorithm) {
		return found, nil
	}
	problem := errUnknown
	if found != nil {
		problem = errAlgorithm
	}
	decoys := k.decoys[string(algorithm)]
	if decoys == nil {
		decoys = k.decoys[""]
	}
	return decoys[maphash.Bytes(k.seed, id)%uint64(len(decoys))], problem
}

// verify reports whether a signature is the key's. sum is memory for a hash.
func (k *key) verify(base, signature, sum []byte) bool {
	switch public := k.public.(type) {
	case nil:
		mac := k.macs.Get().(hash.Hash)
		mac.Reset()
		mac.Write(base) // it never fails: see hash.Hash
		sum = mac.Sum(sum[:0])
		k.macs.Put(mac)
		return hmac.Equal(sum, signature)
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(public, base, signature)
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256(base)
		return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case *rsa.PublicKey:
		if k.algorithm == RSAPSS {
			digest := sha512.Sum512(base)
			return rsa.VerifyPSS(public, crypto.SHA512, digest[:], signature, &rsa.PSSOptions{SaltLength: sha512.Size}) == nil
		}
		digest := sha256.Sum256(base)
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	}
	panic("BUG: a key of no kind")
}
