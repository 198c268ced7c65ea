package config

import "slices"

// DPoP says that clients prove with each request that they have the key which their token is bound to (RFC 9449). `dpop: required` is short for
// what it says with the defaults.
type DPoP struct {
	Tokens      string     `cfg:"tokens" default:"required" enum:"required,allowed" doc:"required: tokens that are bound to no key are refused; allowed: they are not"`
	Window      Duration   `cfg:"window" default:"1m" doc:"how long a proof is good after it was made"`
	Nonce       bool       `cfg:"nonce" default:"false" doc:"proofs have to hold a number that the gateway has given the client a few minutes ago at most"`
	NonceSecret Secret     `cfg:"nonce_secret" doc:"what these numbers are derived from, 32 bytes or more, the same on all hosts; random by default"`
	Algorithms  List[Text] `cfg:"algorithms" enum:"RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,Ed25519,Ed448,ML-DSA-44,ML-DSA-65,ML-DSA-87" doc:"the algorithms that proofs may be signed with; all by default"`
	Remember    int        `cfg:"remember" default:"1000000" min:"1000" max:"100000000" doc:"how many proofs are remembered, so that none is used twice; when there are more, they are refused; of all policies the largest counts"`
	Pos         Pos
}

func (p *DPoP) decodeShort(d *decoder, n *node, path string) bool {
	const wanted = "required, allowed, or a mapping"
	text, ok := d.scalar(n, path, wanted)
	if ok && !slices.Contains([]string{"required", "allowed"}, text) {
		d.wants(n, path, wanted, "dpop: required")
	}
	p.Tokens = text
	return true
}

func (*DPoP) shortSchema(*schemaWriter) object {
	return object{"enum": []string{"required", "allowed"}}
}

const (
	// proofWindowMax is more than a clock may be off, and than a request waits anywhere. A proof that is good for long is a token again.
	proofWindowMax = leewayMax
	nonceBytesMin  = 32
)

func (v *validator) dpop(p *DPoP, from *TokenFrom, path string) {
	if p == nil {
		return
	}
	path = joinPath(path, "dpop")
	if from != nil {
		v.fail(path, "does not go with from", "RFC 9449 wants the token in Authorization, after the word DPoP")
	}
	if p.Window > proofWindowMax {
		v.fail(joinPath(path, "window"), "is longer than 10m", "clients make a proof for each request, just before they send it")
	}
	switch secret := !p.NonceSecret.IsZero(); {
	case secret && !p.Nonce:
		v.fail(joinPath(path, "nonce_secret"), "is for nonces, and none are asked for", "nonce: true")
	case secret && len(p.NonceSecret.Reveal()) < nonceBytesMin:
		v.fail(joinPath(path, "nonce_secret"), "has fewer than 32 bytes", "it can be guessed from one nonce; openssl rand -base64 48 makes one")
	}
}
