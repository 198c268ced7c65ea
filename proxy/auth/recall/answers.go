package recall

import "encoding/binary"

// Answers remembers what is known of secrets, each until a time of its own, in a Table. A nil *Answers remembers nothing.
type Answers[T any] struct{ table *Table[answer[T]] }

type answer[T any] struct {
	sum   Sum
	until int64
	bytes int
	value T
}

// fixedBytes is what an answer takes beside what it holds.
const fixedBytes = 128

// NewAnswers returns a memory for n answers, or up to twice as many, of bytesUsual each on average at most; nil for n = 0.
func NewAnswers[T any](n, bytesUsual int) *Answers[T] {
	if n == 0 {
		return nil
	}
	return &Answers[T]{NewTable(n, bytesUsual, func(a *answer[T]) int { return fixedBytes + a.bytes })}
}

// hash needs no more than a part of the sum, which nobody can choose.
func (s *Sum) hash() uint64 { return binary.LittleEndian.Uint64(s[:]) }

// Find returns what is known, at a time of wire.Now. It allocates nothing.
func (a *Answers[T]) Find(sum Sum, now int64) (value T, ok bool) {
	if a == nil {
		return value, false
	}
	bucket := a.table.Bucket(sum.hash())
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
	a.table.Add(sum.hash(), &answer[T]{sum, until, bytes, value},
		func(old *answer[T]) bool { return old.sum == sum },
		func(old *answer[T]) bool { return old.until <= now })
}

// Forget forgets an answer.
func (a *Answers[T]) Forget(sum Sum) {
	if a == nil {
		return
	}
	bucket := a.table.Bucket(sum.hash())
	for i := range bucket {
		if old := bucket[i].Load(); old != nil && old.sum == sum {
			a.table.Drop(&bucket[i], old)
		}
	}
}

// Len is how many there are.
func (a *Answers[T]) Len() int {
	if a == nil {
		return 0
	}
	return a.table.Len()
}
