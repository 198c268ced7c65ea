package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
	"sync"
	"sync/atomic"
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

// Answers remembers what is known of secrets, each until a time of its own. It is bounded in number and bytes: what is added takes the place of
// what has ended, or else of any other. A sum belongs into one bucket of a few places, which are read without a lock. A nil *Answers
// remembers nothing.
type Answers[T any] struct {
	places   []atomic.Pointer[answer[T]]
	mask     uint64 // of the number of a bucket
	hand     atomic.Uint64
	count    atomic.Int64
	bytes    atomic.Int64
	bytesMax int64
}

type answer[T any] struct {
	sum   Sum
	until int64
	bytes int64
	value T
}

const (
	ways = 4 // places of a bucket
	// sweepMax is how many places one answer that is added looks at to make room.
	sweepMax = 64
	// fixedBytes is what an answer takes beside what it holds.
	fixedBytes = 128
)

// NewAnswers returns a memory for n answers, or up to twice as many, of bytesUsual each on average at most; nil for n = 0.
func NewAnswers[T any](n int, bytesUsual int) *Answers[T] {
	if n == 0 {
		return nil
	}
	buckets := uint64(1) << bits.Len64(uint64((n-1)/ways))
	return &Answers[T]{places: make([]atomic.Pointer[answer[T]], buckets*ways), mask: buckets - 1, bytesMax: int64(n) * int64(bytesUsual)}
}

func (a *Answers[T]) bucket(sum Sum) []atomic.Pointer[answer[T]] {
	at := (binary.LittleEndian.Uint64(sum[:]) & a.mask) * ways
	return a.places[at : at+ways]
}

// Find returns what is known, at a time of wire.Now. It allocates nothing.
func (a *Answers[T]) Find(sum Sum, now int64) (value T, ok bool) {
	if a == nil {
		return value, false
	}
	bucket := a.bucket(sum)
	for i := range bucket {
		if found := bucket[i].Load(); found != nil && found.sum == sum {
			if found.until <= now {
				break
			}
			return found.value, true
		}
	}
	return value, false
}

// Add remembers an answer of about so many bytes, until a time of wire.Now. Another one of the same sum goes.
func (a *Answers[T]) Add(sum Sum, value T, now, until int64, bytes int) {
	if a == nil || until <= now {
		return
	}
	bucket := a.bucket(sum)
	at := a.hand.Add(1) % ways
	for i := range bucket {
		old := bucket[i].Load()
		if old == nil || old.until <= now {
			at = uint64(i)
		}
		if old != nil && old.sum == sum {
			at = uint64(i)
			break
		}
	}
	a.put(&bucket[at], &answer[T]{sum, until, int64(fixedBytes + bytes), value})
	for n := 0; n < sweepMax && a.bytes.Load() > a.bytesMax; n++ {
		a.put(&a.places[a.hand.Add(1)%uint64(len(a.places))], nil)
	}
}

// Forget forgets an answer.
func (a *Answers[T]) Forget(sum Sum) {
	if a == nil {
		return
	}
	bucket := a.bucket(sum)
	for i := range bucket {
		if old := bucket[i].Load(); old != nil && old.sum == sum && bucket[i].CompareAndSwap(old, nil) {
			a.account(old, -1)
		}
	}
}

// Len is how many there are.
func (a *Answers[T]) Len() int {
	if a == nil {
		return 0
	}
	return int(a.count.Load())
}

func (a *Answers[T]) put(place *atomic.Pointer[answer[T]], add *answer[T]) {
	if add != nil {
		a.account(add, 1)
	}
	if old := place.Swap(add); old != nil {
		a.account(old, -1)
	}
}

func (a *Answers[T]) account(e *answer[T], sign int64) {
	a.count.Add(sign)
	a.bytes.Add(sign * e.bytes)
}
