package observe

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// codesMax bounds how many names one set tells apart; the rest is counted as otherCode. The names are constants of
// the program or configured, so that only a mistake could reach it.
const codesMax = 64

const otherCode = "other"

// codes is a set of counters by name, for names that are not known beforehand: error codes, policies. Reading it
// takes no lock; a name seen for the first time copies the map. Safe for concurrent use; the zero value is empty.
type codes struct {
	counters atomic.Pointer[map[string]*Counter]
	adding   sync.Mutex
}

// get returns the counter of a name. It allocates only for one never seen before.
func (s *codes) get(name string) *Counter {
	if m := s.counters.Load(); m != nil {
		if c := (*m)[name]; c != nil {
			return c
		}
		if len(*m) > codesMax {
			return (*m)[otherCode]
		}
	}
	return s.add(name)
}

func (s *codes) add(name string) *Counter {
	s.adding.Lock()
	defer s.adding.Unlock()
	next := map[string]*Counter{}
	if m := s.counters.Load(); m != nil {
		next = maps.Clone(*m)
	}
	if c := next[name]; c != nil {
		return c // added meanwhile
	}
	if len(next) >= codesMax {
		name = otherCode
		if c := next[name]; c != nil {
			return c
		}
	}
	c := NewCounter()
	next[strings.Clone(name)] = c
	s.counters.Store(&next)
	return c
}

// each calls f with every name in order and its count.
func (s *codes) each(f func(name string, n uint64)) {
	m := s.counters.Load()
	if m == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(*m)) {
		f(name, (*m)[name].Value())
	}
}
