package ledger

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Key stands for what is counted, in the file and for as long as that is kept: 16 bytes of a SHA-256.
type Key [16]byte

// Meter counts what keys use by one calendar. All methods are safe for concurrent use.
type Meter struct {
	ledger   *Ledger
	name     string
	calendar Calendar
	seed     maphash.Seed
	room     atomic.Int64 // for how many keys
	current  atomic.Pointer[turn]
	known    atomic.Pointer[[]opened]
	ready    chan struct{} // closed once the file was read

	index atomic.Pointer[index]
	mu    sync.Mutex // of those who change the two below, and the index
	byKey map[Key]*Account
	swept uint64   // the period in which there was no more to give up
	spill *Account // of all keys for which there was no room

	evicted, overflow atomic.Uint64
}

// opened is a period of which the file knows that keys may be used, and how often the gateway has crashed since.
type opened struct{ period, crashes uint64 }

// index finds accounts by what Find is asked for: in open addressing, half full at most, and never changed but by filling a place.
type index struct {
	places []atomic.Pointer[Account]
	used   int // under the meter's mu
}

const indexMin = 64

func newIndex(places int) *index { return &index{places: make([]atomic.Pointer[Account], places)} }

func (x *index) find(hot uint64) *Account {
	for i := hot; ; i++ {
		a := x.places[i%uint64(len(x.places))].Load()
		if a == nil || a.hot == hot {
			return a
		}
	}
}

func (x *index) add(a *Account) {
	for i := a.hot; ; i++ {
		if p := &x.places[i%uint64(len(x.places))]; p.Load() == nil {
			p.Store(a)
			x.used++
			return
		}
	}
}

func newMeter(l *Ledger, name string, c Calendar) *Meter {
	m := &Meter{ledger: l, name: name, calendar: c, seed: maphash.MakeSeed(), ready: make(chan struct{}), byKey: make(map[Key]*Account)}
	m.index.Store(newIndex(indexMin))
	m.known.Store(new([]opened))
	m.spill = &Account{meter: m, text: "all keys for which there was no room"}
	m.byKey[m.spill.key] = m.spill
	return m
}

// SetRoom says for how many keys there is room. Those beyond that are there already stay.
func (m *Meter) SetRoom(keys int) { m.room.Store(int64(keys)) }

// Calendar is what the meter counts by.
func (m *Meter) Calendar() Calendar { return m.calendar }

// Seed is what a key is to be hashed with for Find.
func (m *Meter) Seed() maphash.Seed { return m.seed }

// Ready is closed once the file was read: before, Enter knows no account.
func (m *Meter) Ready() <-chan struct{} { return m.ready }

func (m *Meter) isReady() bool {
	select {
	case <-m.ready:
		return true
	default:
		return false
	}
}

// Find returns the account of a key that was entered before, or nil. hot is a hash of the key by which this process knows it.
func (m *Meter) Find(hot uint64) *Account { return m.index.Load().find(hot) }

// Enter returns the account of a key, a new one if nothing is known of it; nil before the file was read, or after it was closed. text is
// the key for people.
func (m *Meter) Enter(hot uint64, key Key, text string, now int64) *Account {
	if !m.isReady() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		return nil
	}
	if a := m.index.Load().find(hot); a != nil {
		return a
	}
	a := m.byKey[key]
	if a == nil {
		if int64(len(m.byKey)) > m.room.Load() && !m.sweep(m.turn(now).period) {
			m.overflow.Add(1)
			return m.spill
		}
		a = &Account{meter: m, key: key, text: text}
		m.byKey[key] = a
	}
	a.hot = hot
	m.keep(a)
	return a
}

// keep puts an account where Find sees it.
func (m *Meter) keep(a *Account) {
	x := m.index.Load()
	if 2*(x.used+1) > len(x.places) {
		x = m.rebuild(2 * len(x.places))
	}
	if x.find(a.hot) == nil {
		x.add(a)
	}
}

func (m *Meter) rebuild(places int) *index {
	x := newIndex(places)
	for _, a := range m.byKey {
		if a.hot != 0 {
			x.add(a)
		}
	}
	m.index.Store(x)
	return x
}

// sweep gives up the accounts that have used nothing in this period, and reports whether there were any. It is tried once in a period:
// who has begun to use something goes on to its end.
func (m *Meter) sweep(current uint64) bool {
	if m.swept == current {
		return false
	}
	before := len(m.byKey)
	for key, a := range m.byKey {
		s := a.state.Load()
		if period, _ := unpack(s); a == m.spill || period >= current || a.queued.Load() || !a.state.CompareAndSwap(s, gone) {
			continue
		}
		delete(m.byKey, key)
		m.ledger.forget(m, key)
		m.evicted.Add(1)
	}
	m.rebuild(len(m.index.Load().places))
	if len(m.byKey) == before {
		m.swept = current
	}
	return len(m.byKey) < before
}

// turn is the period of a moment.
func (m *Meter) turn(now int64) turn {
	if t := m.current.Load(); t != nil && t.start <= now && now < t.end {
		return *t
	}
	t := m.calendar.at(now)
	m.current.Store(&t)
	return t
}

// crashes is how often the gateway has crashed since a period was opened; false if it is not.
func (m *Meter) crashes(period uint64) (uint64, bool) {
	for _, o := range *m.known.Load() {
		if o.period == period {
			return o.crashes, true
		}
	}
	m.ledger.hurry()
	return 0, false
}

// open says that a period is opened. Those that are farthest from the current one are forgotten: a clock may have been ahead for a while, and
// have opened what is not due for years.
func (m *Meter) open(o opened, current uint64) {
	list := append(slices.Clone(*m.known.Load()), o)
	slices.SortFunc(list, func(a, b opened) int { return cmp.Compare(apart(a.period, current), apart(b.period, current)) })
	list = list[:min(len(list), openedMax)]
	m.known.Store(&list)
}

// openedMax is how many opened periods are remembered, and how far they may be apart in the file.
const openedMax = 4

// apart is how many periods lie between two.
func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// Counts says how many keys have used something in this period, how many were given up, and how often there was no room for one.
func (m *Meter) Counts(now int64) (live int, evicted, overflow uint64) {
	for range m.using(now) {
		live++
	}
	return live, m.evicted.Load(), m.overflow.Load()
}

// using yields the accounts that have used something in this period.
func (m *Meter) using(now int64) func(yield func(*Account) bool) {
	current := m.turn(now).period
	return func(yield func(*Account) bool) {
		m.mu.Lock()
		all := make([]*Account, 0, len(m.byKey))
		for _, a := range m.byKey {
			all = append(all, a)
		}
		m.mu.Unlock()
		for _, a := range all {
			s := a.state.Load()
			if period, used := unpack(s); s != gone && period >= current && used > 0 && !yield(a) {
				return
			}
		}
	}
}

// Usage is what a key has used, for people.
type Usage struct {
	Key   Key
	Text  string
	Used  int64
	Limit *Limit // that it was last asked with; nil: nobody has asked since the start
	Until int64  // the time in nanoseconds until the period ends
}

// Most lists the keys that have used most in this period, at most so many.
func (m *Meter) Most(n int, now int64) []Usage {
	var list []Usage
	for a := range m.using(now) {
		if u, ok := a.usage(now); ok {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(a, b Usage) int {
		if a.Used != b.Used {
			return int(max(-1, min(1, b.Used-a.Used)))
		}
		return slices.Compare(a.Key[:], b.Key[:])
	})
	return list[:min(n, len(list))]
}

// Usage returns what a key has used in this period; false if that is nothing.
func (m *Meter) Usage(key Key, now int64) (Usage, bool) {
	m.mu.Lock()
	a := m.byKey[key]
	m.mu.Unlock()
	if a == nil {
		return Usage{}, false
	}
	return a.usage(now)
}

func (a *Account) usage(now int64) (Usage, bool) {
	s := a.state.Load()
	period, used := unpack(s)
	if s == gone || used == 0 || period < a.meter.turn(now).period {
		return Usage{}, false
	}
	return Usage{Key: a.key, Text: a.text, Used: used, Limit: a.limit.Load(), Until: a.meter.calendar.period(period).end - now}, true
}

// Reset gives a key all of its period back. It reports whether it had used something.
func (m *Meter) Reset(key Key, now int64) bool {
	m.mu.Lock()
	a := m.byKey[key]
	m.mu.Unlock()
	return a != nil && a.reset(now)
}
