package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"testing"

	other "github.com/go-jose/go-jose/v4"
)

// TestInterop verifies what another implementation has signed, with the keys as that one writes them.
func TestInterop(t *testing.T) {
	for _, a := range Algorithms {
		var public any
		switch key := private()[kinds[a]].(type) {
		case *rsa.PrivateKey:
			public = &key.PublicKey
		case *ecdsa.PrivateKey:
			public = &key.PublicKey
		case ed25519.PrivateKey:
			public = key.Public()
		case []byte:
		default:
			continue // it does not know them
		}
		if a == "Ed25519" {
			continue // nor this name, of RFC 9864
		}
		signer, err := other.NewSigner(other.SigningKey{Algorithm: other.SignatureAlgorithm(a), Key: private()[kinds[a]]},
			(&other.SignerOptions{}).WithType("JWT").WithHeader("kid", "k"))
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		signed, err := signer.Sign([]byte(someClaims))
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		var s *Set
		if public == nil {
			s = NewSet(must(NewSecret(private()["secret"].([]byte))))
		} else {
			text, err := json.Marshal(other.JSONWebKeySet{Keys: []other.JSONWebKey{{Key: public, KeyID: "k", Algorithm: string(a), Use: "sig"}}})
			if err != nil {
				t.Fatalf("%s: %v", a, err)
			}
			if s, err = ParseSet(text); err != nil {
				t.Fatalf("%s: %v", a, err)
			}
		}
		if !accepted(s, []byte(compact)) {
			t.Errorf("%s: what another implementation has signed is refused", a)
		}
	}
}
