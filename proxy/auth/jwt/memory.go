package jwt

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

// entry is what is known of a token that was verified. Immutable.
type entry struct {
	token   []byte // whole
	hash    uint64
	until   int64        // wire.Now at which it is forgotten
	set     *jose.Set    // what it was verified with
	revoked *revocations // what it was not found in

	identity *proxy.Identity
	refused  *proxy.Error // why it does not allow what the policy is for; nil: it does
	forward  [][]byte     // the values of Options.Forward; nil: the token has none

	binding Binding

	id, subject       [sha256.Size]byte // of jti and sub, as a list of revoked tokens has them
	hasID, hasSubject bool
}

// memory remembers tokens that were verified. A token belongs into one bucket of a few places, which are read without a lock. Only
// valid tokens are remembered: nobody else can push them out.
//
// The hash is keyed with a random seed, and only finds the place: the whole token is compared then, in constant time. Two tokens with
// one hash are two tokens, and how long an attempt takes says nothing about those that are there.
type memory struct {
	seed     maphash.Seed
	places   []atomic.Pointer[entry]
	mask     uint64 // of the number of a bucket
	hand     atomic.Uint64
	count    atomic.Int64
	bytes    atomic.Int64
	bytesMax int64
}

const (
	ways = 4 // places of a bucket
	// tokenBytesUsual is what a token takes on average at most, with what is known of it: memory is bounded by that, too.
	tokenBytesUsual = 4 << 10
	// sweepMax is how many places one token that is added looks at to make room.
	sweepMax = 64
)

// newMemory returns a memory for n tokens, or up to twice as many.
func newMemory(n int) *memory {
	buckets := uint64(1) << bits.Len64(uint64((n-1)/ways))
	return &memory{seed: maphash.MakeSeed(), places: make([]atomic.Pointer[entry], buckets*ways), mask: buckets - 1, bytesMax: int64(n) * tokenBytesUsual}
}

// hash is of two pieces, which lie in what is signed and in the signature, or both in that: between two valid tokens these bytes differ as
// good as always, and where they do not, the whole tokens do.
func (m *memory) hash(token []byte) uint64 {
	const piece = 64
	if len(token) <= 2*piece {
		return maphash.Bytes(m.seed, token)
	}
	middle := len(token)/2 - piece/2
	return maphash.Bytes(m.seed, token[len(token)-piece:]) + bits.RotateLeft64(maphash.Bytes(m.seed, token[middle:middle+piece]), 32)
}

func (m *memory) bucket(hash uint64) []atomic.Pointer[entry] {
	at := (hash & m.mask) * ways
	return m.places[at : at+ways]
}

// find returns what is known of a token, verified with these keys and compared with this list of revoked ones, or nil.
func (m *memory) find(token []byte, set *jose.Set, revoked *revocations, now int64) *entry {
	if m == nil {
		return nil
	}
	hash := m.hash(token)
	bucket := m.bucket(hash)
	for i := range bucket {
		e := bucket[i].Load()
		if e != nil && e.hash == hash && sameBytes(e.token, token) {
			if e.set != set || e.until <= now {
				return nil
			}
			if e.revoked != revoked {
				return m.compareAnew(&bucket[i], e, revoked)
			}
			return e
		}
	}
	return nil
}

// compareAnew looks a token up in a new list of revoked ones; nothing else about it has changed.
func (m *memory) compareAnew(place *atomic.Pointer[entry], e *entry, revoked *revocations) *entry {
	if revoked.has(e) {
		if place.CompareAndSwap(e, nil) {
			m.account(e, -1)
		}
		return nil
	}
	again := *e
	again.revoked = revoked
	place.CompareAndSwap(e, &again) // or somebody else has been faster
	return &again
}

// sameBytes compares in a time that depends on the lengths alone, eight bytes at a time: crypto/subtle compares one.
func sameBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	var differ uint64
	for len(a) >= 32 && len(b) >= 32 {
		x, y := (*[32]byte)(a), (*[32]byte)(b) // whose bounds are known
		differ |= binary.LittleEndian.Uint64(x[0:]) ^ binary.LittleEndian.Uint64(y[0:])
		differ |= binary.LittleEndian.Uint64(x[8:]) ^ binary.LittleEndian.Uint64(y[8:])
		differ |= binary.LittleEndian.Uint64(x[16:]) ^ binary.LittleEndian.Uint64(y[16:])
		differ |= binary.LittleEndian.Uint64(x[24:]) ^ binary.LittleEndian.Uint64(y[24:])
		a, b = a[32:], b[32:]
	}
	for i := range a {
		differ |= uint64(a[i] ^ b[i])
	}
	return differ == 0
}

// add remembers a token: in the place of one that is of no use any more, or else of any other of its bucket.
func (m *memory) add(e *entry) {
	if m == nil {
		return
	}
	e.hash = m.hash(e.token)
	now := wire.Now()
	bucket := m.bucket(e.hash)
	at := m.hand.Add(1) % ways
	for i := range bucket {
		if o := bucket[i].Load(); o == nil || o.until <= now || o.set != e.set || o.hash == e.hash {
			at = uint64(i)
			break
		}
	}
	m.put(&bucket[at], e)
	for n := 0; n < sweepMax && m.bytes.Load() > m.bytesMax; n++ {
		m.put(&m.places[m.hand.Add(1)%uint64(len(m.places))], nil)
	}
}

func (m *memory) put(place *atomic.Pointer[entry], e *entry) {
	if e != nil {
		m.account(e, 1)
	}
	if old := place.Swap(e); old != nil {
		m.account(old, -1)
	}
}

func (m *memory) account(e *entry, sign int64) {
	const fixed = 512
	m.count.Add(sign)
	m.bytes.Add(sign * int64(fixed+3*len(e.token))) // the token, what it says decoded, and what lies around that
}
