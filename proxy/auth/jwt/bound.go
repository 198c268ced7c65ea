package jwt

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jose"
)

// Binding is what a token is bound to (RFC 7800): a certificate (RFC 8705 section 3.1), a key (RFC 9449 section 6.1), both, or nothing.
type Binding struct {
	certified, keyed bool
	certificate, key [sha256.Size]byte
}

func (b *Binding) bound() bool { return b.certified || b.keyed }

// Keyed reports whether the token is bound to a key.
func (b *Binding) Keyed() bool { return b.keyed }

// readBinding reads what a token is bound to. Whoever stole it must not be able to use it: what this gateway cannot ask the client to prove,
// a client has not proven. keys says that it can ask for keys.
func readBinding(claims jose.Values, keys bool) (b Binding, err error) {
	if claims.Get("cnf") == nil {
		return b, nil
	}
	for i := range claims {
		c := &claims[i]
		if !strings.HasPrefix(c.Path, "cnf.") {
			continue
		}
		print, err := base64.RawURLEncoding.Strict().DecodeString(string(c.Text))
		if c.Kind != jose.String || err != nil || len(print) != sha256.Size || len(c.Text) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
			return b, errBound
		}
		switch {
		case c.Path == "cnf.x5t#S256":
			b.certified, b.certificate = true, [sha256.Size]byte(print)
		case c.Path == "cnf.jkt" && keys:
			b.keyed, b.key = true, [sha256.Size]byte(print)
		default:
			return b, errBound
		}
	}
	if !b.bound() {
		return b, errBound
	}
	return b, nil
}

// bound are the answers to those who come with DPoP.
type bound struct {
	answers
	proof, nonce, full, share *proxy.Error
}

// answersTo returns what is said to those who bring a token as Bearer, or none, and to those who bring one with DPoP (RFC 9449 section 7.1).
func answersTo(o *Options) (unbound answers, b bound) {
	if o.DPoP == nil {
		return plain, bound{answers: plain}
	}
	var names []string
	for _, a := range o.DPoP.Algorithms() {
		names = append(names, string(a))
	}
	const begin = `DPoP realm="sluice"`
	algorithms := `, algs="` + strings.Join(names, " ") + `"`
	b.answers = challenged(begin, algorithms)
	if unbound = b.answers; !o.DPoPRequired {
		unbound = challenged(challenge, ", "+begin+algorithms)
	}
	b.proof = &proxy.Error{Status: 401, Code: "dpop_proof_invalid", Side: proxy.ByClient, Challenge: begin + `, error="invalid_dpop_proof"` + algorithms,
		Detail: "The proof that the client has the key of its access token is not valid here, or no longer."}
	b.nonce = &proxy.Error{Status: 401, Code: "dpop_nonce_required", Side: proxy.ByClient, Challenge: begin + `, error="use_dpop_nonce"` + algorithms,
		Detail: "The proof that the client has the key of its access token has to hold the nonce in DPoP-Nonce."}
	b.full = &proxy.Error{Status: 503, Code: "proofs_unavailable", Side: proxy.ByGateway, RetryAfter: 30,
		Detail: "Proofs of the keys of access tokens cannot be accepted at the moment."}
	b.share = &proxy.Error{Status: 429, Code: "proofs_exceeded", Side: proxy.ByClient, RetryAfter: 30,
		Detail: "The key of the access token was proven so often that no more of its proofs can be accepted at the moment."}
	return unbound, b
}

func (g *Guard) saidTo(bound bool) *answers {
	if bound {
		return &g.bound.answers
	}
	return &g.unbound
}

// prove wants that the client has what its token is bound to. came says that it came with DPoP, which a token has to be made for: one that is
// bound to no key proves nothing that way, and one that is would be anybody's as Bearer (RFC 9449 section 7.1).
func (g *Guard) prove(x *proxy.Exchange, b *Binding, token []byte, came bool) error {
	said := g.saidTo(came)
	switch c := x.Client.Certificate; {
	case b.certified && (c == nil || b.certificate != c.Fingerprint):
		return said.invalid.With(errBound)
	case b.keyed && !came:
		return said.invalid.With(errBearer)
	case came && !b.keyed:
		return said.invalid.With(errUnbound)
	case !came:
		return nil
	}
	switch err := g.options.DPoP.Check(x, token, &b.key); err {
	case nil:
		return nil
	case dpop.ErrNonce:
		return g.bound.nonce
	case dpop.ErrFull:
		return g.bound.full
	case dpop.ErrShare:
		return g.bound.share
	default:
		return g.bound.proof.With(err)
	}
}
