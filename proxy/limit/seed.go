package limit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// seed is the secret that values are hashed with. A table of this host has one that nobody else ever learns; hosts that share buckets
// have to find the same hash for the same value, and so have a key in common.
type seed struct {
	own    maphash.Seed
	shared *[2]uint64 // nil: own counts
}

func (s *seed) bytes(b []byte) uint64 {
	if s.shared != nil {
		return siphash(s.shared[0], s.shared[1], b)
	}
	return maphash.Bytes(s.own, b)
}

func (s *seed) string(text string) uint64 { return s.bytes([]byte(text)) }

// Seed makes what the values of a policy are hashed with, out of a text that is the same on all hosts, such as what the policy is, and of a
// secret that they have in common. Without a secret, who can read the store can try values against what stands there, and who sends
// requests can look for values whose buckets lie in the same place of the table, to shut others out of it.
func Seed(secret []byte, text string) [2]uint64 {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("sluice limit 1 " + text))
	sum := mac.Sum(nil)
	return [2]uint64{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])}
}

// siphash is SipHash-1-3 (Aumasson and Bernstein, 2012; one round for each word and three at the end, as Rust and Python have it): who does
// not know the key finds no two values with the same hash.
func siphash(k0, k1 uint64, b []byte) uint64 {
	h := sip{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		h.word(binary.LittleEndian.Uint64(b))
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	h.word(last)
	h.v2 ^= 0xff
	h.round()
	h.round()
	h.round()
	return h.v0 ^ h.v1 ^ h.v2 ^ h.v3
}

type sip struct{ v0, v1, v2, v3 uint64 }

func (h *sip) word(m uint64) {
	h.v3 ^= m
	h.round()
	h.v0 ^= m
}

func (h *sip) round() {
	h.v0 += h.v1
	h.v1 = bits.RotateLeft64(h.v1, 13) ^ h.v0
	h.v0 = bits.RotateLeft64(h.v0, 32)
	h.v2 += h.v3
	h.v3 = bits.RotateLeft64(h.v3, 16) ^ h.v2
	h.v0 += h.v3
	h.v3 = bits.RotateLeft64(h.v3, 21) ^ h.v0
	h.v2 += h.v1
	h.v1 = bits.RotateLeft64(h.v1, 17) ^ h.v2
	h.v2 = bits.RotateLeft64(h.v2, 32)
}
