package jwt

import (
	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jose"
)

// Reader is the part of a Guard that has nothing to do with signatures, for policies that have proven in another way what is said about a
// client: it finds tokens, judges claims by rules, wants what tokens are bound to, and tells the service. Of its Options it uses Require, Cookie,
// Header, Strip, Forward and DPoP. Immutable.
type Reader struct{ guard *Guard }

// NewReader returns a reader.
func NewReader(o Options) (*Reader, error) {
	o.Remember = 0
	g, err := New(o)
	return &Reader{g}, err
}

// Prepare takes away the fields that say who the client is, for whoever has sent them.
func (r *Reader) Prepare(x *proxy.Exchange) { r.guard.Prepare(x) }

// Find returns the token of a request, and whether it came with DPoP, or ErrMissing or ErrAmbiguous, in the words of Refusal.
func (r *Reader) Find(x *proxy.Exchange) (token []byte, came bool, err error) { return r.guard.find(x) }

// Refusal returns ErrInvalid with a cause, as it is said to those who came in this way.
func (r *Reader) Refusal(e *proxy.Error, came bool) error {
	if r.guard.options.DPoP == nil {
		return e
	}
	return r.guard.saidTo(came).invalid.With(e.Cause)
}

// Binding reads what claims say that a token is bound to. An error says that a client cannot prove that here.
func (r *Reader) Binding(claims jose.Values) (Binding, error) {
	return readBinding(claims, r.guard.options.DPoP != nil)
}

// Prove wants that the client has what its token is bound to, which came in this way.
func (r *Reader) Prove(x *proxy.Exchange, b *Binding, token []byte, came bool) error {
	if !came && !b.bound() {
		return nil
	}
	return r.guard.prove(x, b, token, came)
}

// Proofs are what was proven; ok says that clients are asked to.
func (r *Reader) Proofs() (counts dpop.Counts, ok bool) {
	if j := r.guard.options.DPoP; j != nil {
		return j.Counts(), true
	}
	return counts, false
}

// Claims are what is said about a client, judged. Immutable.
type Claims struct {
	identity *proxy.Identity
	refused  *proxy.Error // why they do not allow what the policy is for; nil: they do
	forward  [][]byte     // the values of Options.Forward; nil: there is none
	bytes    int
}

// Judge judges claims. kind is the policy's, issuer who vouches for them, and subject whom they are about; if that is empty, whoever has
// shown proof is a client of its own.
func (r *Reader) Judge(kind, issuer, subject string, claims jose.Values, proof []byte) *Claims {
	c := &Claims{identity: identity(kind, issuer, subject, claims, proof)}
	for i := range claims {
		const fixed = 64
		c.bytes += fixed + 2*len(claims[i].Path) + len(claims[i].Text)
	}
	for _, rule := range r.guard.rules {
		if !rule.allows(claims) {
			if c.refused = rule.refused; claims.Get("cnf.jkt") != nil {
				c.refused = rule.refusedBound
			}
			break
		}
	}
	for _, f := range r.guard.options.Forward {
		c.forward = append(c.forward, c.identity.Claim(f.Claim))
	}
	return c
}

// Subject is whom the claims are about.
func (c *Claims) Subject() string { return c.identity.Subject() }

// Bytes is about what they take.
func (c *Claims) Bytes() int { return c.bytes }

// Tell lets the exchange and the service know who the client is, takes the token away that Find has found, if it is to, and returns the error of
// a client that the rules do not allow this.
func (r *Reader) Tell(x *proxy.Exchange, c *Claims) error {
	o := &r.guard.options
	x.Identify(c.identity, o.Header == "" && o.Cookie == "")
	for i := range o.Forward {
		if value := c.forward[i]; value != nil {
			x.Request.Head.Add(o.Forward[i].Header, value)
		}
	}
	if o.Strip {
		r.guard.strip(x)
	}
	if c.refused != nil { // whoever it is, it is proven: the log wants to know
		return c.refused
	}
	return nil
}

// Verify verifies a token that is no request's own, such as the ID token of a login, and returns its claims, which nobody has judged. A key
// that is not known makes keys be fetched, which the request waits for. Who has no keys at all gets ErrNoKeys.
func (k *Keys) Verify(x *proxy.Exchange, compact []byte) (jose.Values, *jose.Token, error) {
	set := k.current()
	if set == nil {
		if set = k.await(x, nil, isThere); set == nil {
			return nil, nil, ErrNoKeys
		}
	}
	token, err := jose.Parse(compact)
	if err != nil {
		return nil, nil, err
	}
	signer, named := signerOf(token, set)
	if signer == nil && !named {
		k.await(x, set, func(s *jose.Set) bool {
			signer, named = signerOf(token, s)
			return signer != nil || named
		})
	}
	switch {
	case signer == nil && named:
		return nil, nil, errSignature
	case signer == nil:
		return nil, nil, errKey
	}
	claims, err := token.Claims()
	return claims, token, err
}

// NowOf is the time at which a request is judged: that of its first byte, unless somebody has waited since.
var NowOf = nowOf
