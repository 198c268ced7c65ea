package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// SigningKey is what a client of PrivateKey signs with.
type SigningKey struct {
	signer    crypto.Signer
	algorithm string
	id        string
}

// ParseSigningKey reads a private key in PEM: RSA of 2,048 bits or more, P-256 or Ed25519. id is how the provider calls it; it may be empty.
// No error repeats anything of the text.
func ParseSigningKey(text []byte, id string) (*SigningKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the private key is not in PEM")
	}
	key, err := parsePrivate(block)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return &SigningKey{k, "RS256", id}, nil
		}
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return &SigningKey{k, "ES256", id}, nil
		}
	case ed25519.PrivateKey:
		return &SigningKey{k, "EdDSA", id}, nil
	}
	return nil, errors.New("the private key is none of RSA with 2048 bits or more, P-256 or Ed25519")
}

func parsePrivate(block *pem.Block) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("the private key cannot be read; one with a password cannot be used")
}

// assertionLife is how long an assertion is good: it is sent at once.
const assertionLife = time.Minute

// assertion says who the client is, to one endpoint, once (RFC 7523 section 3).
func (k *SigningKey) assertion(client, endpoint string, now time.Time) (string, error) {
	header := map[string]string{"alg": k.algorithm, "typ": "JWT"}
	if k.id != "" {
		header["kid"] = k.id
	}
	claims := map[string]any{
		"iss": client, "sub": client, "aud": endpoint, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	var parts [2]string
	for i, v := range []any{header, claims} {
		text, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("cannot write a client assertion: %w", err)
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(text)
	}
	signed := parts[0] + "." + parts[1]
	signature, err := k.sign([]byte(signed))
	if err != nil {
		return "", fmt.Errorf("cannot sign a client assertion: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func (k *SigningKey) sign(text []byte) ([]byte, error) {
	if k.algorithm == "EdDSA" {
		return k.signer.Sign(rand.Reader, text, crypto.Hash(0))
	}
	sum := sha256.Sum256(text)
	signature, err := k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil || k.algorithm == "RS256" {
		return signature, err
	}
	var both struct{ R, S *big.Int } // RFC 7518 section 3.4 wants the two numbers as they are
	if _, err := asn1.Unmarshal(signature, &both); err != nil {
		return nil, err
	}
	return append(both.R.FillBytes(make([]byte, 32)), both.S.FillBytes(make([]byte, 32))...), nil
}
