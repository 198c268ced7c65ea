package oidc

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// seal encrypts what is given to browsers to keep, so that they can neither read nor change it. XChaCha20-Poly1305 has nonces that are long
// enough to be random, however many hosts share a secret.
type seal struct{ keys []cipher.AEAD }

// SecretBytesMin is the least that a secret has.
const SecretBytesMin = 32

// newSeal derives a key from each secret. The first one seals, all of them open: a new one is put in front, and the old one goes when
// nothing is left that it has sealed. about tells apart what is sealed with the same secret for something else.
func newSeal(secrets [][]byte, about string) (*seal, error) {
	if len(secrets) == 0 {
		return nil, errors.New("there is no secret")
	}
	s := &seal{}
	for _, secret := range secrets {
		if len(secret) < SecretBytesMin {
			return nil, fmt.Errorf("a secret has fewer than %d bytes", SecretBytesMin)
		}
		key, err := hkdf.Key(sha256.New, secret, nil, about, chacha20poly1305.KeySize)
		if err != nil {
			return nil, err
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// close seals text for a purpose, and writes it as a cookie can hold it.
func (s *seal) close(text []byte, purpose string) []byte {
	k := s.keys[0]
	sealed := make([]byte, k.NonceSize(), k.NonceSize()+len(text)+k.Overhead())
	rand.Read(sealed)
	sealed = k.Seal(sealed, sealed, text, []byte(purpose))
	return base64.RawURLEncoding.AppendEncode(nil, sealed)
}

// sealedBytes is how long n bytes are when they are sealed and written.
func sealedBytes(n int) int {
	return base64.RawURLEncoding.EncodedLen(chacha20poly1305.NonceSizeX + n + chacha20poly1305.Overhead)
}

var errSealed = errors.New("what the browser has sent was not sealed here for that, or was changed")

// open is the reverse of close. old says that it was not sealed with the first key.
func (s *seal) open(written []byte, purpose string) (text []byte, old bool, err error) {
	sealed, err := base64.RawURLEncoding.Strict().AppendDecode(nil, written)
	if err != nil || len(sealed) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, false, errSealed
	}
	nonce, sealed := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	for i, k := range s.keys {
		if text, err = k.Open(nil, nonce, sealed, []byte(purpose)); err == nil {
			return text, i > 0, nil
		}
	}
	return nil, false, errSealed
}
