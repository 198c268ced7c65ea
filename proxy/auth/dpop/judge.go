package dpop

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
)

// Algorithms lists those that proofs may be signed with: all that are not of HMAC, whose keys two have.
var Algorithms = jose.Algorithms[:slices.Index(jose.Algorithms, "HS256")]

// Options say which proofs are accepted.
type Options struct {
	Algorithms []jose.Algorithm // empty: all of Algorithms
	Window     time.Duration    // how long a proof is good after it was made
	Leeway     time.Duration    // how far the clock of a client may be off
	Seen       *Memory          // which has to remember for Life at least
	Nonces     *Nonces          // nil: proofs need none
}

// Life is how long a proof may be good by the clock of the gateway: from iat, which may be ahead, to the end of the window, which may be late.
func (o Options) Life() time.Duration { return o.Window + 2*o.Leeway }

// Judge judges proofs. Immutable but for its counts; safe for concurrent use.
type Judge struct {
	options Options

	accepted, replayed, excess atomic.Uint64

	now func() time.Time // the wall clock; tests replace it
}

// New returns a judge.
func New(o Options) *Judge {
	if len(o.Algorithms) == 0 {
		o.Algorithms = Algorithms
	}
	return &Judge{options: o, now: time.Now}
}

// Algorithms returns those that a proof may be signed with, for telling clients.
func (j *Judge) Algorithms() []jose.Algorithm { return j.options.Algorithms }

// What a proof is refused for that needs another answer than that it is not good.
var (
	// ErrNonce is of a proof without a number of the gateway's, or with one that is too old. Prompt tells the client a new one.
	ErrNonce = errors.New("the proof has no nonce of ours, or an old one")
	// ErrFull says that no more proofs can be remembered: none can be accepted, because any could be sent again.
	ErrFull = errors.New("there are more proofs than can be remembered")
	// ErrShare says that no more proofs of this key can be remembered: others need the room.
	ErrShare = errors.New("there are more proofs of this key than can be remembered of one")
)

// Why a proof is not good.
var (
	errMissing   = errors.New("the request has no DPoP proof")
	errTwo       = errors.New("the request has more than one DPoP proof")
	errAlgorithm = errors.New("the proof is signed with an algorithm that this policy does not accept")
	errKey       = errors.New("the proof is of another key than the one that the token is bound to")
	errMethod    = errors.New("the proof is of another method")
	errTarget    = errors.New("the proof is of another URL")
	errOld       = errors.New("the proof is too old")
	errEarly     = errors.New("the proof was made in the future")
	errToken     = errors.New("the proof is of another token")
	errSignature = errors.New("the proof's signature is wrong")
	errReplayed  = errors.New("the proof was used before")
)

// Check returns nil if the request proves the key with this thumbprint, for this token (RFC 9449 section 4.3). What costs little comes
// first. A number is used up by a proof that is good in everything else, so that nobody can use up those of others.
func (j *Judge) Check(x *proxy.Exchange, token []byte, key *[sha256.Size]byte) error {
	compact, err := find(x)
	if err != nil {
		return err
	}
	p, err := read(compact)
	if err != nil {
		return err
	}
	now := j.now()
	switch {
	case !slices.Contains(j.options.Algorithms, p.token.Algorithm):
		return errAlgorithm
	case p.key.Thumbprint() != *key:
		return errKey
	case p.method != x.Request.Method:
		return errMethod
	case !isTarget(p.target, x):
		return errTarget
	case p.of != sha256.Sum256(token):
		return errToken
	case p.at.Before(now.Add(-j.options.Window - j.options.Leeway)):
		return errOld
	case p.at.After(now.Add(j.options.Leeway)):
		return errEarly
	}
	good, aging := j.options.Nonces.accepts(p.nonce, now)
	switch {
	case !good:
		j.Prompt(x)
		return ErrNonce
	case !p.token.Verify(p.key):
		return errSignature
	}
	if err := j.options.Seen.use(x, key, p.id, p.at); err != nil {
		switch err {
		case errReplayed:
			j.replayed.Add(1)
		case ErrShare:
			j.excess.Add(1)
		}
		return err
	}
	if aging {
		j.Prompt(x)
	}
	j.accepted.Add(1)
	return nil
}

// find returns the proof. There must be one and no more (RFC 9449 section 4.3).
func find(x *proxy.Exchange) (value []byte, err error) {
	n := 0
	for v := range x.Request.Head.Values(Field) {
		value = v
		n++
	}
	switch {
	case n == 0:
		return nil, errMissing
	case n > 1:
		return nil, errTwo
	}
	return bytes.Trim(value, " \t"), nil
}

// Field is where the proof is.
const Field = "DPoP"

// Counts are of what a judge has done.
type Counts struct {
	Accepted, Replayed uint64
	Excess             uint64 // of keys that have had their share
}

// Counts returns what the judge has done.
func (j *Judge) Counts() Counts { return Counts{j.accepted.Load(), j.replayed.Load(), j.excess.Load()} }

// Add adds the counts of another judge.
func (c *Counts) Add(o Counts) {
	c.Accepted += o.Accepted
	c.Replayed += o.Replayed
	c.Excess += o.Excess
}
