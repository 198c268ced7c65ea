package store

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// Bounds of what is remembered of purges. Beyond them everything older is purged: that is always safe.
const (
	namesMax    = 100_000
	prefixesMax = 1000
)

// marks are the purges that entries are judged by. A purge touches no entry: it takes the next number and notes it beside what it
// is about. An entry carries the number up to which it has been judged.
type marks struct {
	last atomic.Uint64 // of the latest purge; whoever sees it finds what belongs to it, too

	mu       sync.RWMutex
	floor    uint64          // entries that have not been judged up to here are purged: what came before is forgotten
	softAll  uint64          // the latest soft purge of everything
	names    map[uint64]mark // by keyed hash: tags, and URLs
	prefixes []prefix
}

// mark is the latest purge of each kind.
type mark struct{ hard, soft uint64 }

type prefix struct {
	of []byte
	mark
}

// closed is the last number, and then the floor, which nothing that begins reaches any more.
const closed = ^uint64(0)

func (m *marks) init() { m.names = make(map[uint64]mark) }

// judge says what the purges after since mean for what has these names, and up to which it has looked.
func (m *marks) judge(since, urlName uint64, url, tags []byte) (at uint64, hard, soft bool) {
	if at = m.last.Load(); since == at {
		return at, false, false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	at = m.last.Load()
	if since < m.floor {
		return at, true, false
	}
	soft = m.softAll > since
	hit := func(k mark) {
		hard, soft = hard || k.hard > since, soft || k.soft > since
	}
	if len(m.names) > 0 {
		if len(url) > 0 {
			hit(m.names[urlName])
		}
		for ; len(tags) > 0; tags = tags[tagLen:] {
			hit(m.names[getTag(tags)])
		}
	}
	if len(url) > 0 {
		for i := range m.prefixes {
			if p := &m.prefixes[i]; bytes.HasPrefix(url, p.of) {
				hit(p.mark)
			}
		}
	}
	return at, hard, soft
}

// purge notes a purge under the next number. note gets it, and reports whether there was room.
func (m *marks) purge(note func(at uint64) bool) (overflow bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.Load() == closed {
		return false
	}
	at := m.last.Load() + 1
	if !note(at) {
		m.forgetAll(at)
		overflow = true
	}
	m.last.Store(at)
	return overflow
}

func (m *marks) name(name uint64, soft bool) func(uint64) bool {
	return func(at uint64) bool {
		k, known := m.names[name]
		if !known && len(m.names) >= namesMax {
			return false
		}
		m.names[name] = k.with(at, soft)
		return true
	}
}

func (m *marks) prefix(of string, soft bool) func(uint64) bool {
	return func(at uint64) bool {
		for i := range m.prefixes {
			if p := &m.prefixes[i]; string(p.of) == of {
				p.mark = p.mark.with(at, soft)
				return true
			}
		}
		if len(m.prefixes) >= prefixesMax {
			return false
		}
		m.prefixes = append(m.prefixes, prefix{[]byte(of), mark{}.with(at, soft)})
		return true
	}
}

func (m *marks) all(soft bool) func(uint64) bool {
	return func(at uint64) bool {
		if soft {
			m.softAll = at
		} else {
			m.forgetAll(at)
		}
		return true
	}
}

func (k mark) with(at uint64, soft bool) mark {
	if soft {
		k.soft = at
	} else {
		k.hard = at
	}
	return k
}

func (k mark) latest() uint64 { return max(k.hard, k.soft) }

// forgetAll purges everything that was not judged up to at, so that nothing else need be known.
func (m *marks) forgetAll(at uint64) {
	m.floor, m.softAll = at, 0
	m.names, m.prefixes = make(map[uint64]mark), nil
}

// forget drops the purges up to at. What is still used has been judged up to there.
func (m *marks) forget(at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.floor = max(m.floor, at)
	if m.softAll <= at {
		m.softAll = 0
	}
	kept := make(map[uint64]mark) // a map that was large once stays so
	for name, k := range m.names {
		if k.latest() > at {
			kept[name] = k
		}
	}
	m.names = kept
	var prefixes []prefix
	for _, p := range m.prefixes {
		if p.latest() > at {
			prefixes = append(prefixes, p)
		}
	}
	m.prefixes = prefixes
}

// close purges everything, for good.
func (m *marks) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetAll(closed)
	m.last.Store(closed)
}

// now is the number for what begins now.
func (m *marks) now() uint64 {
	if last := m.last.Load(); last != closed {
		return last
	}
	return 0
}

// held is how many purges are remembered, and whether there is room for as many again.
func (m *marks) held() (n int, crowded bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n = len(m.names) + len(m.prefixes)
	if m.softAll > 0 {
		n++
	}
	return n, len(m.names) > namesMax/2 || len(m.prefixes) > prefixesMax/2
}
