package limit

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"sluice/proxy"
)

// Across says that hosts share the buckets of a policy.
type Across struct {
	Name   string // of the policy, the same on all hosts
	Fleet  *Fleet
	IfDown IfDown
	// Seed is what values are hashed with: the same on all hosts. See Seed.
	Seed [2]uint64
	// Fallbacks counts the requests that were judged without the store, Held those that were refused because the host's lease was used up
	// before the store had answered.
	Fallbacks, Held Counter
}

// IfDown is what becomes of requests while the store does not answer.
type IfDown uint8

// What can become of them.
const (
	DownLocal IfDown = iota // this host applies the whole limit by itself
	DownAllow               // all are let in
	DownDeny                // all are refused
)

var downWords = [...]string{"local", "allow", "deny"}

// String is the word for it, as the configuration has it.
func (d IfDown) String() string { return downWords[d] }

// ErrStoreDown refuses a request while the store of its limit does not answer, if the policy wants that.
var ErrStoreDown = &proxy.Error{Status: 503, Code: "limit_unavailable", Side: proxy.ByGateway, RetryAfter: 1,
	Detail: "The limit on requests cannot be judged at the moment."}

// Shared has the buckets of a window in a Store that all hosts of a fleet use. The state of a bucket here is what this host knows of it, and
// the algorithm is that of Local: when the bucket will be full, with all that this host has taken. What it takes it has not asked for: it
// takes ahead, up to its lease, and asks the store to charge it with the next batch. The answer is what the bucket is like in truth,
// with what the others have taken, and the lease is whole again.
//
// So the store is never waited for, a lease takes nothing from a bucket before it is used, and whatever was let in too much
// is owed: the bucket of the fleet is charged with it, and fills up later.
type Shared struct {
	Local
	across *Across
	lease  int64 // tokens
	wants  bitmap
	untold []untold // one for each slot of the table
	mine   uint64   // what stands for the window in untold.about
}

// untold is what a host has to tell the store about the bucket of a slot.
type untold struct {
	taken   atomic.Int64 // tokens that were taken and are not charged yet: at most the lease
	charged atomic.Int64 // the same of what responses have cost, or of tokens that were given back
	// news is the time from which a request that is refused asks what has become of the bucket.
	news atomic.Int64
	// about is the key that the store is to be told of, mixed with what stands for its window: the slot may have another one by then, of
	// another window, whose bucket has other numbers.
	about atomic.Uint64
}

const untoldBytes = int(unsafe.Sizeof(untold{}))

// The bounds of a lease, and of how old what a host knows may be.
const (
	leaseShare = 4                     // a quarter of the burst
	leaseTime  = 20 * time.Millisecond // or what comes in this time, if that is more
	// newsEvery is how long a key that is refused may have to wait until this host learns that its bucket was filled elsewhere.
	newsEvery = int64(500 * time.Millisecond)
	// settleTime is how long the place of a key is kept after its bucket is full at the least, so that what was taken is charged to nobody else.
	settleTime = int64(time.Second)
)

// Lease is how many tokens of a window a host may have taken that the store does not know of. A request that costs more than that is let
// in when there are none.
func (w *Window) Lease() int {
	share := (int64(w.Burst) + leaseShare - 1) / leaseShare
	return int(min(max(share, int64(leaseTime)/w.interval), int64(w.Burst)))
}

func newShared(t *table, all []untold, w *Window, a *Across) *Shared {
	return &Shared{
		Local:  Local{table: t, interval: w.interval, burst: w.interval * int64(w.Burst)},
		across: a, lease: int64(w.Lease()), wants: newBitmap(len(all)), untold: all, mine: rand.Uint64(),
	}
}

// keepFor keeps the places of keys until the store, which has so much time to answer, has been told of them.
func (r *Rates) keepFor(timeout time.Duration) {
	for _, tokens := range r.tokens {
		tokens.(*Shared).keep.Store(max(settleTime, 2*int64(timeout)))
	}
}

// newUntold reserves the memory for what there may be to tell of the slots of a table, as that has its own.
func newUntold(t *table) ([]untold, error) {
	n := len(t.lines) * lineSlots
	memory, err := reserve(n * untoldBytes)
	if err != nil {
		return nil, fmt.Errorf("cannot reserve %d MiB for what hosts share: %w", n*untoldBytes>>20, err)
	}
	runtime.AddCleanup(t, unmapped.free, unmapped(memory))
	return unsafe.Slice((*untold)(unsafe.Pointer(&memory[0])), n), nil
}

// local reports whether the host is on its own.
func (s *Shared) local() bool { return !s.across.Fleet.Up() }

// Look implements Tokens. It may ask the store for what has become of the bucket, and does not wait for the answer.
func (s *Shared) Look(key uint64, n, now int64) Verdict {
	if s.local() {
		return s.Local.Look(key, n, now)
	}
	for i := 1; ; i++ {
		slot := s.table.find(key)
		if slot == nil {
			state := uint64(0)
			if !s.table.hasRoom(key, uint64(now-s.keep.Load())) {
				state = s.spill.Load()
			}
			_, v := s.decide(state, n, now)
			return v
		}
		if state, ok := slot.load(key); ok {
			at := s.table.index(slot)
			_, v := s.decide(state, n, now)
			switch {
			case !v.OK:
				s.ask(at, key, now)
			case n > 0 && !s.covers(s.untold[at].taken.Load(), n):
				v = s.held(at, key, state, now)
			}
			return v
		}
		pause(i)
	}
}

// Take implements Tokens. It refuses as well if the lease is used up, see Shared.
func (s *Shared) Take(key uint64, n, now int64) Verdict {
	if s.local() {
		return s.Local.Take(key, n, now)
	}
	for i := 1; ; i++ {
		slot := s.table.find(key)
		if slot == nil {
			first, v := s.decide(0, n, now)
			if !v.OK {
				return v // it asks for more than a full bucket holds
			}
			entered := false
			if slot, entered = s.table.enter(key, uint64(now-s.keep.Load()), first); entered {
				at := s.table.index(slot)
				s.untold[at].taken.Add(n)
				s.settle(at, key)
				return v
			}
			if slot == nil {
				return s.takeSpilled(n, now)
			}
		}
		state, ok := slot.load(key)
		if !ok {
			pause(i)
			continue
		}
		at := s.table.index(slot)
		next, v := s.decide(state, n, now)
		if !v.OK {
			s.ask(at, key, now)
			return v
		}
		taken := &s.untold[at].taken
		// Counted before it is taken, so that whoever charges it never knows of less than was taken.
		if !s.covers(taken.Add(n)-n, n) {
			taken.Add(-n)
			return s.held(at, key, state, now)
		}
		if slot.state.CompareAndSwap(state, next) {
			s.settle(at, key)
			return v
		}
		taken.Add(-n)
	}
}

// covers reports whether n tokens may be taken ahead when so many were.
func (s *Shared) covers(taken, n int64) bool { return taken <= 0 || taken+n <= s.lease }

// held is the verdict on a request whose bucket seems to have enough, but the lease is used up: the store will have answered in a moment.
func (s *Shared) held(at int, key, state uint64, now int64) Verdict {
	s.settle(at, key)
	s.across.Held.Add(1)
	return Verdict{Full: max(int64(state)-now, 0), Wait: int64(roundEvery)}
}

// settle has the store charge the bucket of a slot with the next batch, for the key that has it.
func (s *Shared) settle(at int, key uint64) {
	if about := &s.untold[at].about; about.Load() != key^s.mine {
		about.Store(key ^ s.mine)
	}
	if s.wants.set(at) {
		s.across.Fleet.wake()
	}
}

// ask wants to know what has become of a bucket that seems to be empty, once in a while.
func (s *Shared) ask(at int, key uint64, now int64) {
	if now >= s.untold[at].news.Load() {
		s.settle(at, key)
	}
}

// Charge implements Tokens.
func (s *Shared) Charge(key uint64, n, now int64) {
	s.Local.Charge(key, n, now)
	if s.local() {
		return
	}
	if slot := s.table.find(key); slot != nil {
		at := s.table.index(slot)
		s.untold[at].charged.Add(min(n, s.burst/s.interval))
		s.settle(at, key)
	}
}

// Return implements Tokens.
func (s *Shared) Return(key uint64, n, now int64, v Verdict) {
	if v.Spilled {
		s.Local.Return(key, n, now, v) // the store has not heard of it
		return
	}
	s.Charge(key, -n, now)
}

// entry is what the store is told of the bucket of a slot; false if the slot has no key any more, or not the one that this is about.
func (s *Shared) entry(at int, now int64) (Entry, bool) {
	slot := s.table.slot(at)
	key := slot.key.Load() &^ gate
	state, ok := slot.load(key)
	if !ok || key == 0 {
		return Entry{}, false
	}
	u := &s.untold[at]
	if u.about.Load()^s.mine != key {
		return Entry{}, false
	}
	u.news.Store(now + newsEvery)
	e := Entry{Policy: s.across.Name, Key: key, Burst: s.burst, shared: s, at: at, taken: u.taken.Load(), charged: u.charged.Load()}
	e.Take, e.Charge = e.taken*s.interval, s.debt(e.charged)
	e.View = max(int64(state)-now-e.Take-max(e.Charge, 0), 0)
	return e, true
}

// debt is what so many tokens that responses have cost take to come: two bursts at most, as nobody waits for longer because of them.
func (s *Shared) debt(charged int64) int64 { return min(charged, 2*s.burst/s.interval) * s.interval }

// adopt takes in what the store has answered. What was taken meanwhile is charged with the next batch, and stands in the state.
func (s *Shared) adopt(e *Entry, now int64) {
	u := &s.untold[e.at]
	u.taken.Add(-e.taken)
	u.charged.Add(-e.charged)
	slot := s.table.slot(e.at)
	for i := 1; ; i++ {
		if slot.key.Load()&^gate != e.Key {
			return // it has made room for another
		}
		state, ok := slot.load(e.Key)
		if !ok {
			pause(i)
			continue
		}
		// A request that is between counting and taking is in this twice until the next answer: too much rather than too little.
		since := u.taken.Load()*s.interval + s.debt(u.charged.Load())
		next := uint64(max(now+e.Full+since, longFull))
		if slot.state.CompareAndSwap(state, next) {
			return
		}
	}
}

// drop forgets what could not be charged: it stands in the state, and the store learns of that when it is back, see Entry.View.
func (s *Shared) drop(e *Entry) {
	u := &s.untold[e.at]
	u.taken.Add(-e.taken)
	u.charged.Add(-e.charged)
}

// resetShared fills the bucket of a key in the store. Unlike all the rest it waits for the answer.
func (s *Shared) resetShared(key uint64) (bool, error) {
	return s.across.Fleet.reset(Entry{Policy: s.across.Name, Key: key, Burst: s.burst})
}

// sharing is what a policy has in common with other hosts, for people; nil: nothing.
func (r *Rates) sharing() *Sharing {
	a := r.options.Across
	if a == nil {
		return nil
	}
	s := &Sharing{Store: a.Fleet.name, Up: a.Fleet.Up(), IfDown: a.IfDown.String()}
	if problem := a.Fleet.problem.Load(); problem != nil {
		s.Problem = *problem
	}
	return s
}

// Sharing is the state of a policy whose buckets are shared.
type Sharing struct {
	Store   string `json:"store"`
	Up      bool   `json:"up"`                // it answers
	Problem string `json:"problem,omitempty"` // why it does not, or lately did not
	IfDown  string `json:"if_store_down"`     // what holds while it does not
}
