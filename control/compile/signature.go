package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/signature"
	"sluice/router"
)

// defaultComponents are signed at least, where nothing else is said.
var defaultComponents = []string{"@method", "@target-uri"}

// nonces are those that a policy has seen, which a reload must not forget: what was shown once could be shown again.
type nonces struct {
	idle
	*signature.Nonces
}

// components looks at what has to be signed, of policies that no route uses as well: what is wrong is said where it stands.
func (b *builder) components() {
	b.config.Components(func(t config.Text, path string) {
		if err := signature.CheckComponent(t.Text); err != nil {
			b.problems = append(b.problems, config.Problem{Pos: t.Pos, Path: path, Message: err.Error(), Hint: "the name of a field in small letters, or " + signature.Derived})
		}
	})
}

func (b *builder) signaturePolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	s := p.Signature
	if s == nil {
		return nil, false, nil
	}
	keys, err := b.signingKeys(s.Consumers.Text)
	if err != nil {
		return nil, true, err
	}
	o := signature.Options{
		Keys: keys, Components: texts(s.Components), MaxAge: time.Duration(s.MaxAge), Leeway: time.Duration(s.Leeway), Label: s.Label.Text, Tag: s.Tag.Text,
		BodyMax: int(s.BodyUpTo), AnyBody: s.AnyBody, Require: requirement(s.Require),
	}
	if len(o.Components) == 0 {
		o.Components = defaultComponents
	}
	if s.Nonce == "required" {
		window := int64((o.MaxAge+2*o.Leeway)/time.Second) + 1
		definition := fmt.Sprintf("nonces of signatures %q %q %d %d", name, s.Consumers.Text, window, s.Nonces)
		seen, err := lastingOf(b, definition, func() (nonces, error) { return nonces{Nonces: signature.NewNonces(s.Nonces, window)}, nil })
		if err != nil {
			return nil, true, err
		}
		o.Nonces = seen.Nonces
	}
	if slices.ContainsFunc(o.Components, func(c string) bool { return signature.CheckComponent(c) != nil }) {
		return nil, true, nil // which was said
	}
	guard, err := signature.New(o)
	if err != nil {
		return nil, true, err
	}
	return b.identifying(name, guard, s.Mode), true, nil
}

// signingKeys makes the keys of a group.
func (b *builder) signingKeys(group string) (*signature.Keys, error) {
	consumers, _ := b.config.Consumers.Get(group)
	var list []signature.Key
	for i := range consumers.List {
		c := consumerOf(consumers.List[i].Name, &consumers.List[i].Value)
		for _, k := range consumers.List[i].Value.SigningKeys {
			made := signature.Key{ID: k.Name, Algorithm: k.Value.Algorithm, Consumer: &c, Scopes: texts(k.Value.Scopes), Expires: k.Value.Expires.Time}
			var suits string
			var err error
			if k.Value.PublicKey != nil {
				made.Public, suits, err = signature.ParsePublicKey(k.Value.PublicKey.Data)
			} else {
				suits = signature.HMAC
				made.Secret, err = k.Value.SecretBytes()
			}
			if err != nil {
				return nil, fmt.Errorf("the signing key %q of %s: %w", k.Name, c.Name, err)
			}
			if made.Algorithm == "" {
				made.Algorithm = suits
			}
			list = append(list, made)
		}
	}
	keys, err := signature.NewKeys(group, list)
	if err != nil && strings.HasPrefix(err.Error(), "two signing keys") {
		return nil, fmt.Errorf("%w: nobody could tell whose signature it is", err)
	}
	return keys, err
}
