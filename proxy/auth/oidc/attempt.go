package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// attempt is one login that was begun: what the callback has to be of, and what it leads back to.
type attempt struct {
	expires  int64 // in Unix seconds
	state    [16]byte
	nonce    [16]byte
	verifier [32]byte
	place    string // scheme and host that it was begun at
	back     string // path and query that were asked for
}

const (
	attemptVersion = 1
	attemptPurpose = "attempt"
	attemptSeconds = 600
	// attemptsMax is how many may be under way in one browser: each is a cookie.
	attemptsMax = 5
	// backBytesMax is how much of what was asked for is come back to.
	backBytesMax = 2 << 10
	// stateInName is how much of the state tells the cookies of attempts apart.
	stateInName = 8
)

func newAttempt(place, back string, now int64) *attempt {
	a := &attempt{expires: now + attemptSeconds, place: place, back: back}
	rand.Read(a.state[:])
	rand.Read(a.nonce[:])
	rand.Read(a.verifier[:])
	return a
}

func written(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// challenge is what the provider is told of the verifier (RFC 7636 section 4.2).
func (a *attempt) challenge() string {
	sum := sha256.Sum256([]byte(written(a.verifier[:])))
	return written(sum[:])
}

func (a *attempt) pack() []byte {
	var p packer
	p.version(attemptVersion)
	p.number(a.expires)
	p.fixed(a.state[:])
	p.fixed(a.nonce[:])
	p.fixed(a.verifier[:])
	p.text(a.place)
	p.text(a.back)
	return p.out
}

func unpackAttempt(text []byte) (*attempt, error) {
	u := unpacker{in: text}
	a := &attempt{}
	u.version(attemptVersion)
	a.expires = u.number()
	u.fixed(a.state[:])
	u.fixed(a.nonce[:])
	u.fixed(a.verifier[:])
	a.place, a.back = u.text(), u.text()
	return a, u.end()
}
