package recall

import (
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"sync"
)

// Sum stands for a secret: a token, the value of a cookie. It is keyed with what nobody knows, so that it says nothing about the secret, and
// two secrets do not have the same.
type Sum [sha256.Size]byte

// Sums makes sums. Two Sums make different ones of the same secret.
type Sums struct {
	key    [sha256.BlockSize]byte
	hashes sync.Pool
}

type summing struct {
	hash hash.Hash
	sum  []byte
}

// NewSums returns Sums with a key of their own.
func NewSums() *Sums {
	s := &Sums{}
	rand.Read(s.key[:])
	s.hashes.New = func() any { return &summing{sha256.New(), make([]byte, 0, sha256.Size)} }
	return s
}

// Of returns the sum of a secret that comes in parts. It allocates nothing.
//
// It is that of the parts put together, however they are cut: "ab" and "c" are "a" and "bc". So it has to be for cookies, as whoever has a session
// could make many of it otherwise, by cutting it elsewhere. Things of which each may be anything are not parts of a secret.
//
// The key is a whole block in front of what is hashed, so that SHA-256 begins in a state that nobody knows; the sum leaves this process
// nowhere, so that nobody could go on from it.
func (s *Sums) Of(parts ...[]byte) Sum {
	h := s.hashes.Get().(*summing)
	h.hash.Reset()
	h.hash.Write(s.key[:])
	for _, p := range parts {
		h.hash.Write(p)
	}
	sum := Sum(h.hash.Sum(h.sum))
	s.hashes.Put(h)
	return sum
}
