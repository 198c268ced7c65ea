package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// SigningKey is what a consumer signs its requests with: a secret that it shares with the gateway, or the public half of a key.
type SigningKey struct {
	Secret    Secret     `cfg:"secret" doc:"the secret of hmac-sha256, 32 bytes or more"`
	Encoding  string     `cfg:"encoding" default:"text" enum:"text,base64" doc:"how the secret is written"`
	PublicKey *Content   `cfg:"public_key" doc:"file with a public key in PEM: Ed25519, ECDSA on P-256, or RSA of 2048 bits or more"`
	Algorithm string     `cfg:"algorithm" enum:"hmac-sha256,ed25519,ecdsa-p256-sha256,rsa-pss-sha512,rsa-v1_5-sha256" doc:"the one that it is for; the one that suits it by default, and of RSA rsa-pss-sha512"`
	Expires   Expiry     `cfg:"expires" doc:"when it ends, as for keys"`
	Scopes    List[Text] `cfg:"scopes" doc:"in the place of the consumer's"`
	Pos       Pos
}

// SecretBytes returns the secret.
func (k *SigningKey) SecretBytes() ([]byte, error) {
	text := k.Secret.Reveal()
	if k.Encoding != "base64" {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("is no base64") // the error of the decoder has a part of it
	}
	return b, nil
}

// Signature is the policy that admits consumers who sign their requests (RFC 9421).
type Signature struct {
	Consumers  Text                 `cfg:"consumers" required:"true" doc:"the group of consumers whose signing_keys are good"`
	Components List[Text]           `cfg:"components" doc:"what has to be signed; @method and @target-uri by default, and content-digest where there is a body"`
	MaxAge     Duration             `cfg:"max_age" default:"5m" min:"1s" max:"24h" doc:"how long a signature is good after it was made"`
	Leeway     Duration             `cfg:"leeway" default:"10s" off:"true" doc:"how far clocks may be apart"`
	Label      Text                 `cfg:"label" doc:"the label of the signature that counts; by default there has to be just one"`
	Tag        Text                 `cfg:"tag" doc:"the tag that it has to have"`
	Nonce      string               `cfg:"nonce" default:"off" enum:"off,required" doc:"required: every request has another one, and cannot come twice"`
	Nonces     int                  `cfg:"nonces" default:"1000000" min:"1000" max:"10000000" doc:"how many are remembered, half of them for one max_age, of which a consumer has a share; when there is no room, requests are refused"`
	BodyUpTo   Size                 `cfg:"body_up_to" default:"1MiB" min:"1KiB" max:"64MiB" doc:"how long a body may be whose digest is signed: it waits in memory until it is there"`
	AnyBody    bool                 `cfg:"unsigned_body" default:"false" doc:"the digest of a body need not be signed"`
	Require    *ConsumerRequirement `cfg:"require" doc:"what else it takes"`
	Mode       string               `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
}

// signingSecretMin is the length of SHA-256: a shorter secret is weaker than the hash.
const signingSecretMin = 32

// checkKeyID wants what can be a keyid: a String of structured fields in which nothing is escaped.
func checkKeyID(s string) string {
	if s == "" || len(s) > headerNameBytesMax || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return `it has between 1 and 256 characters of ASCII, without " and \`
	}
	return ""
}

func (v *validator) signingKeys(c *Consumer, path string) {
	if len(c.SigningKeys) > secretsMax {
		v.fail(path, fmt.Sprintf("has more than %d signing keys", secretsMax), "several are for the time in which one replaces another")
	}
	for i := range c.SigningKeys {
		k := &c.SigningKeys[i].Value
		where := joinPath(path+".signing_keys", c.SigningKeys[i].Name)
		v.expires(k.Expires, "signing key", where)
		v.scopes(k.Scopes, where+".scopes")
		isSecret := !k.Secret.IsZero() || v.written(where+".secret")
		switch isPublic := k.PublicKey != nil || v.written(where+".public_key"); {
		case isSecret == isPublic:
			v.fail(where, "wants either a secret or a public_key", "secret: ${file:/run/secrets/acme}, or public_key: acme.pem")
		case isSecret && k.Algorithm != "" && k.Algorithm != "hmac-sha256":
			v.fail(where+".algorithm", "a secret is for hmac-sha256 alone", "")
		case isPublic && k.Algorithm == "hmac-sha256":
			v.fail(where+".algorithm", "a public key is none of hmac-sha256: everybody has it", "")
		case k.Secret.IsZero():
		default:
			if b, err := k.SecretBytes(); err != nil {
				v.fail(where+".secret", err.Error(), "openssl rand -base64 32")
			} else if len(b) < signingSecretMin {
				v.fail(where+".secret", fmt.Sprintf("is shorter than %d bytes", signingSecretMin), "openssl rand -hex 32")
			}
		}
	}
}

// Components calls f with each component that a policy wants signed, and where it stands.
func (c *Config) Components(f func(t Text, path string)) {
	c.eachPolicy(func(p *Policy, path string) {
		if p.Signature != nil {
			for i, t := range p.Signature.Components {
				f(t, indexPath(path+".signature.components", i))
			}
		}
	})
}

func (v *validator) signature(s *Signature, path string) {
	if s == nil {
		return
	}
	path = joinPath(path, "signature")
	v.unenforced(s.Mode, path)
	v.requirement(s.Require, path)
	group := v.consumerGroup(s.Consumers, path)
	if group != nil && !slices.ContainsFunc(group.List, func(c Entry[Consumer]) bool { return len(c.Value.SigningKeys) > 0 }) {
		v.warn(path, "no consumer of the group has a signing key: everybody is refused", "signing_keys: { KEYID: { secret: ... } } of a consumer in the file")
	}
	if s.Leeway > leewayMax {
		v.fail(path+".leeway", "is more than clocks are apart: 10m at most", "")
	}
	for _, t := range []struct {
		key  string
		text Text
	}{{"label", s.Label}, {"tag", s.Tag}} {
		if t.text.Text != "" && (checkKeyID(t.text.Text) != "" || t.key == "label" && !isLabel(t.text.Text)) {
			v.failAt(t.text.Pos, joinPath(path, t.key), "wants a word, got "+v.show(t.text.Text, t.text.Pos), "small letters, digits, _ - . and *")
		}
	}
}

// isLabel wants a key of a dictionary (RFC 9651 section 3.2).
func isLabel(s string) bool {
	return (s[0] == '*' || s[0] >= 'a' && s[0] <= 'z') && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.ContainsRune("_-.*", c))
	})
}
