package jwt

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/recall"
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

// memory remembers tokens that were verified. Only valid tokens are remembered: nobody else can push them out.
//
// The hash is keyed with a random seed, and only finds the place: the whole token is compared then, in constant time. Two tokens with
// one hash are two tokens, and how long an attempt takes says nothing about those that are there.
type memory struct {
	seed  maphash.Seed
	table *recall.Table[entry]
}

// tokenBytesUsual is what a token takes on average at most, with what is known of it: memory is bounded by that, too.
const tokenBytesUsual = 4 << 10

// newMemory returns a memory for n tokens, or up to twice as many.
func newMemory(n int) *memory {
	return &memory{maphash.MakeSeed(), recall.NewTable(n, tokenBytesUsual, (*entry).size)}
}

// size is about how many bytes are taken: by the token, what it says decoded, and what lies around that.
func (e *entry) size() int {
	const fixed = 512
	return fixed + 3*len(e.token)
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

// find returns what is known of a token, verified with these keys and compared with this list of revoked ones, or nil.
func (m *memory) find(token []byte, set *jose.Set, revoked *revocations, now int64) *entry {
	if m == nil {
		return nil
	}
	hash := m.hash(token)
	bucket := m.table.Bucket(hash)
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
		m.table.Drop(place, e)
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

// add remembers a token.
func (m *memory) add(e *entry) {
	if m == nil {
		return
	}
	e.hash = m.hash(e.token)
	now := wire.Now()
	m.table.Add(e.hash, e,
		func(old *entry) bool { return old.hash == e.hash },
		func(old *entry) bool { return old.until <= now || old.set != e.set })
}
