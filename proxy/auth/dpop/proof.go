package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"sluice/proxy/auth/jose"
)

// proof is one that was read. Nothing of it is proven before its signature is.
type proof struct {
	token *jose.Token
	key   *jose.Key

	id, method, target, nonce string
	at                        time.Time
	of                        [sha256.Size]byte // the token that it goes with
}

// idBytesMax bounds jti. UUIDs have 36.
const idBytesMax = 256

// What is wrong with a proof's form, beside the errors of package jose. None of them repeats anything of it.
var (
	errType   = errors.New("the proof is not of the type dpop+jwt")
	errClaims = errors.New("the proof lacks jti, htm, htu, iat or ath, or one of them is not what RFC 9449 wants")
)

// read reads a proof (RFC 9449 section 4.2).
func read(compact []byte) (*proof, error) {
	token, key, err := jose.ParseProof(compact)
	if err != nil {
		return nil, err
	}
	if token.Type != "dpop+jwt" {
		return nil, errType
	}
	claims, err := token.Claims()
	if err != nil {
		return nil, err
	}
	p := &proof{token: token, key: key}
	ok := true
	for _, c := range []struct {
		name string
		to   *string
	}{{"jti", &p.id}, {"htm", &p.method}, {"htu", &p.target}} {
		v := claims.Get(c.name)
		if v == nil || v.Kind != jose.String || len(v.Text) == 0 {
			return nil, errClaims
		}
		*c.to = string(v.Text)
	}
	if len(p.id) > idBytesMax {
		return nil, errClaims
	}
	if v := claims.Get("nonce"); v != nil {
		if v.Kind != jose.String {
			return nil, errClaims
		}
		p.nonce = string(v.Text)
	}
	if p.at, ok = claims.Get("iat").Moment(); !ok {
		return nil, errClaims
	}
	of := claims.Get("ath")
	if of == nil || of.Kind != jose.String {
		return nil, errClaims
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(string(of.Text))
	if err != nil || len(sum) != sha256.Size || len(of.Text) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return nil, errClaims
	}
	p.of = [sha256.Size]byte(sum)
	return p, nil
}
