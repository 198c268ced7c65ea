package consumer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

const (
	rememberFor   = 5 * time.Minute
	rememberedMax = 1 << 13 // passwords; each takes a hundred bytes
	ways          = 4       // places that one password may be remembered in
	// waitingMax is how many requests may wait until a password can be computed, and patience how long. Those beyond are refused: it
	// is a flood of wrong passwords that makes so many wait.
	waitingMax = 512
	patience   = 5 * time.Second
)

// Passwords computes what passwords hash to, a few at a time, and remembers for some minutes which were right. Those take a hash, and no
// lock, and go on while others are computed. There is one for the whole gateway, as what is bounded is memory and cores. Safe for concurrent
// use.
type Passwords struct {
	macs     sync.Pool // of *mac, with a key that nobody knows
	places   [rememberedMax]atomic.Pointer[remembered]
	slots    chan struct{}
	waiting  atomic.Int64
	computed atomic.Uint64
	refused  atomic.Uint64
}

// remembered is a password that was right. Immutable.
type remembered struct {
	key   [sha256.Size]byte // of name, password and what that hashes to: if any changes, it is another
	until int64             // wire.Now
}

// NewPasswords returns an empty one. It computes on half of the cores at most: the other half is for who has shown something better.
func NewPasswords() *Passwords {
	var secret [sha256.Size]byte
	rand.Read(secret[:]) // it never fails: see crypto/rand.Read
	p := &Passwords{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	p.macs.New = func() any { return &mac{hmac.New(sha256.New, secret[:]), make([]byte, 0, 2*sha256.Size)} }
	return p
}

// Counts are what was done since the start: computations, and requests that could not wait for one.
func (p *Passwords) Counts() (computed, refused uint64) { return p.computed.Load(), p.refused.Load() }

// find returns which of a user's passwords was shown, nil for none. An error says that it could not be found out. The user may be nil: then
// the padding is all that is computed, and takes as long.
func (p *Passwords) find(x *proxy.Exchange, u *user, pad padding, name, password []byte) (*credential, error) {
	sum := sha256.Sum256(password)
	var right *credential
	for _, c := range u.all() {
		if c.argon2 == nil && hmac.Equal(c.sum[:], sum[:]) && right == nil {
			right = c
		}
	}
	if right != nil {
		return right, nil
	}
	decoys := pad.most - u.computations()
	if c := p.recall(u, pad, decoys, name, password); c != nil || pad.most == 0 && u.computations() == 0 {
		return c, nil
	}
	if !p.enter(x) {
		p.refused.Add(1)
		return nil, ErrBusy
	}
	defer func() { <-p.slots }()
	// Of many requests with the same password, one computes.
	if c := p.recall(u, pad, decoys, name, password); c != nil {
		return c, nil
	}
	for _, c := range u.all() {
		if c.argon2 == nil {
			continue
		}
		p.computed.Add(1)
		if c.argon2.isOf(password) {
			p.remember(p.key(c.argon2, name, password))
			return c, nil
		}
	}
	for range decoys {
		p.computed.Add(1)
		pad.argon2.isOf(password) // whatever comes of it
	}
	return nil, nil
}

func (u *user) all() []*credential {
	if u == nil {
		return nil
	}
	return u.passwords
}

// enter waits for a slot.
func (p *Passwords) enter(x *proxy.Exchange) bool {
	select {
	case p.slots <- struct{}{}:
		x.Waited = true // from here on it takes milliseconds
		return true
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > waitingMax {
		return false
	}
	x.Waited = true
	limit := patience
	if x.Deadline != 0 {
		limit = min(limit, time.Duration(x.Deadline-wire.Now()))
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case p.slots <- struct{}{}:
		return true
	case <-x.Done():
	case <-t.C:
	}
	return false
}

func (p *Passwords) recall(u *user, pad padding, decoys int, name, password []byte) *credential {
	for _, c := range u.all() {
		if c.argon2 != nil && p.remembers(p.key(c.argon2, name, password)) {
			return c
		}
	}
	for range decoys {
		p.remembers(p.key(pad.argon2, name, password)) // only takes time
	}
	return nil
}

// key is what a password is remembered by. The HMAC makes nothing of it, without its key: what is remembered is no second, cheap hash of
// the passwords for somebody who gets hold of the process's memory and not of all of it.
func (p *Passwords) key(a *Argon2, name, password []byte) [sha256.Size]byte {
	m := p.macs.Get().(*mac)
	m.hash.Reset()
	writeSized(m.hash, m.sum, name)
	writeSized(m.hash, m.sum, a.Salt)
	writeSized(m.hash, m.sum, a.Sum)
	writeSized(m.hash, m.sum, password)
	key := [sha256.Size]byte(m.hash.Sum(m.sum))
	p.macs.Put(m)
	return key
}

// writeSized writes b with its length: "ab" and "c" are not "a" and "bc". None of it fails: see hash.Hash.
func writeSized(h hash.Hash, buf, b []byte) {
	h.Write(binary.BigEndian.AppendUint32(buf[:0], uint32(len(b))))
	h.Write(b)
}

func (p *Passwords) bucket(key [sha256.Size]byte) []atomic.Pointer[remembered] {
	at := binary.BigEndian.Uint32(key[:]) % (rememberedMax / ways) * ways
	return p.places[at : at+ways]
}

func (p *Passwords) remembers(key [sha256.Size]byte) bool {
	for i, bucket := 0, p.bucket(key); i < len(bucket); i++ {
		if r := bucket[i].Load(); r != nil && hmac.Equal(r.key[:], key[:]) {
			return wire.Now() < r.until
		}
	}
	return false
}

// remember puts a key in the place of the one that would be forgotten first.
func (p *Passwords) remember(key [sha256.Size]byte) {
	bucket := p.bucket(key)
	oldest, until := 0, int64(0)
	for i := range bucket {
		r := bucket[i].Load()
		if r == nil || r.key == key {
			oldest = i
			break
		}
		if until == 0 || r.until < until {
			oldest, until = i, r.until
		}
	}
	bucket[oldest].Store(&remembered{key, wire.Now() + int64(rememberFor)})
}
