package dpop

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"sync/atomic"
	"time"

	"sluice/proxy"
)

// Nonces are numbers that proofs have to hold (RFC 9449 section 9): nobody can make proofs in advance, for when the key is out of reach. They
// are derived from the time and a secret, so that nothing is kept of them, and hosts with one secret take each other's. All of one
// period are the same: they say when a proof was made, and not for whom. Safe for concurrent use.
type Nonces struct {
	secret []byte
	known  atomic.Pointer[nonces]
}

// nonces are those that are good in a period.
type nonces struct {
	period          int64
	last, now, next string
}

// noncePeriod is how long one is given out. It is good in the period after that, too, and, because the clocks of hosts differ, in the one
// before.
const noncePeriod = 2 * time.Minute

// NewNonces returns those of a secret; nil: of a random one.
func NewNonces(secret []byte) *Nonces {
	n := &Nonces{secret: secret}
	if secret == nil {
		n.secret = make([]byte, sha256.Size)
		_, _ = rand.Read(n.secret) // it never fails
	}
	return n
}

func (n *Nonces) at(now time.Time) *nonces {
	period := now.Unix() / int64(noncePeriod/time.Second)
	known := n.known.Load()
	if known == nil || known.period != period {
		known = &nonces{period, n.of(period - 1), n.of(period), n.of(period + 1)}
		n.known.Store(known)
	}
	return known
}

func (n *Nonces) of(period int64) string {
	mac := hmac.New(sha256.New, n.secret)
	mac.Write([]byte("sluice DPoP-Nonce "))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(period)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// accepts reports whether a proof may hold this nonce, and whether the client should get a newer one. Where none are asked for, any will do.
func (n *Nonces) accepts(nonce string, now time.Time) (good, aging bool) {
	if n == nil {
		return true, false
	}
	known := n.at(now)
	is := func(want string) bool { return subtle.ConstantTimeCompare([]byte(nonce), []byte(want)) == 1 }
	aging = is(known.last)
	return aging || is(known.now) || is(known.next), aging
}

// Prompt tells the client the nonce that its next proof has to hold, if any.
func (j *Judge) Prompt(x *proxy.Exchange) {
	if j.options.Nonces != nil {
		x.OnHead(j)
	}
}

// EditHead adds the nonce to the response. Who keeps the response must not give it to others later, with a nonce that is old by then (RFC 9449
// section 8.2).
func (j *Judge) EditHead(x *proxy.Exchange) {
	h := &x.Response.Head
	h.SetString("DPoP-Nonce", j.options.Nonces.at(j.now()).now)
	h.SetString("Cache-Control", "no-store")
}

// Start and Stop are for whoever keeps it over a reload: nothing happens in the background.
func (n *Nonces) Start() {}

// Stop does nothing, see Start.
func (n *Nonces) Stop() {}
