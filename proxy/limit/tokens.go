package limit

import "sync/atomic"

// Tokens is where the tokens of one window come from: each key has a bucket of them, that fills up at the window's rate. Local
// has them on this host. All methods are safe for concurrent use, allocate nothing and never wait. now is wire.Now of the
// moment in which the request is judged.
type Tokens interface {
	// Look says what Take would say, and takes nothing.
	Look(key uint64, n, now int64) Verdict
	// Take takes n tokens from the bucket of a key if it holds as many, or else none.
	Take(key uint64, n, now int64) Verdict
	// Charge takes n tokens whether or not there are as many: the key then waits until they have come. A negative n gives tokens
	// back.
	Charge(key uint64, n, now int64)
	// Return gives back what Take has just taken with this verdict.
	Return(key uint64, n, now int64, v Verdict)
	// Reset fills the bucket of a key. It reports whether the key was known.
	Reset(key uint64) bool
}

// Verdict is what became of a request for tokens, and how the bucket is afterwards.
type Verdict struct {
	OK bool
	// Spilled says that the tokens are of the bucket of all keys that have found no place.
	Spilled bool
	// Full is the time in nanoseconds until the bucket is full.
	Full int64
	// Wait is the time in nanoseconds until there are enough tokens; 0 if OK.
	Wait int64
}

// Local has the buckets of a window in a table of this process. The state of a bucket is a single time, the one at which it will be
// full: the generic cell rate algorithm (ITU-T I.371), which calls it the theoretical arrival time. Tokens come one by one, at
// even intervals, and not all of them when a window begins anew.
type Local struct {
	table    *table
	interval int64        // between two tokens, in nanoseconds
	burst    int64        // how long an empty bucket takes to fill, in nanoseconds
	keep     atomic.Int64 // for how long a key keeps its place after its bucket is full, in nanoseconds
	// spill is the bucket of all keys that have found no place in the table because everybody in it has spent tokens: together they
	// get what one key may have. One of them that finds a place later begins with a full bucket, as any new key does: to begin with
	// what is left in this one would shut out newcomers for as long as a flood lasts.
	spill atomic.Uint64
}

func newLocal(t *table, w *Window) *Local {
	return &Local{table: t, interval: w.interval, burst: w.interval * int64(w.Burst)}
}

// decide is the whole of the algorithm: what a bucket that will be full at the time full becomes if n tokens are taken.
func (l *Local) decide(full uint64, n, now int64) (uint64, Verdict) {
	at := max(int64(full), now)
	next := at + n*l.interval
	if over := next - now - l.burst; over > 0 {
		return full, Verdict{Full: at - now, Wait: over}
	}
	return uint64(next), Verdict{OK: true, Full: next - now}
}

// Look implements Tokens. A key that is not known has a full bucket, or the shared one if there is no room for it.
func (l *Local) Look(key uint64, n, now int64) Verdict {
	for i := 1; ; i++ {
		s := l.table.find(key)
		if s == nil {
			state := uint64(0)
			if !l.table.hasRoom(key, uint64(now-l.keep.Load())) {
				state = l.spill.Load()
			}
			_, v := l.decide(state, n, now)
			return v
		}
		if state, ok := s.load(key); ok {
			_, v := l.decide(state, n, now)
			return v
		}
		pause(i)
	}
}

// Take implements Tokens.
func (l *Local) Take(key uint64, n, now int64) Verdict {
	for i := 1; ; i++ {
		s := l.table.find(key)
		if s == nil {
			first, v := l.decide(0, n, now)
			if !v.OK {
				return v // it asks for more than a full bucket holds: there is nothing to remember
			}
			entered := false
			if s, entered = l.table.enter(key, uint64(now-l.keep.Load()), first); entered {
				return v
			}
			if s == nil {
				return l.takeSpilled(n, now)
			}
		}
		state, ok := s.load(key)
		if !ok {
			pause(i)
			continue
		}
		next, v := l.decide(state, n, now)
		if !v.OK || s.state.CompareAndSwap(state, next) {
			return v
		}
	}
}

func (l *Local) takeSpilled(n, now int64) Verdict {
	for {
		state := l.spill.Load()
		next, v := l.decide(state, n, now)
		if !v.OK || l.spill.CompareAndSwap(state, next) {
			v.Spilled = true
			return v
		}
	}
}

// Return implements Tokens.
func (l *Local) Return(key uint64, n, now int64, v Verdict) {
	if !v.Spilled {
		l.Charge(key, -n, now)
		return
	}
	for !charge(&l.spill, l.spill.Load(), -n*l.interval, l.burst, now) {
	}
}

// Charge implements Tokens. It never makes a key wait for longer than two bursts take to come: what a response costs is not known when others are let
// in.
func (l *Local) Charge(key uint64, n, now int64) {
	cost := l.cost(n)
	for i := 1; ; i++ {
		s := l.table.find(key)
		if s == nil {
			if cost <= 0 {
				return // it is full already
			}
			entered := false
			if s, entered = l.table.enter(key, uint64(now-l.keep.Load()), uint64(now+cost)); entered {
				return
			}
			if s == nil {
				for !charge(&l.spill, l.spill.Load(), cost, l.burst, now) {
				}
				return
			}
		}
		state, ok := s.load(key)
		if ok && charge(&s.state, state, cost, l.burst, now) {
			return
		}
		pause(i)
	}
}

// cost is what n tokens take to come, a burst at most. n may be anything: it is what a response says, or how many bytes it has.
func (l *Local) cost(n int64) int64 { return min(n, l.burst/l.interval) * l.interval }

func charge(state *atomic.Uint64, old uint64, cost, burst, now int64) bool {
	at := int64(old)
	if cost > 0 {
		at = min(max(at, now)+cost, max(at, now+2*burst))
	} else {
		at += cost // idle or not: no key has more than a full bucket
	}
	return state.CompareAndSwap(old, uint64(max(at, longFull)))
}

// longFull is the state of a bucket that has been full since before anything was counted.
const longFull = 1

// Reset implements Tokens.
func (l *Local) Reset(key uint64) bool {
	for i := 1; ; i++ {
		s := l.table.find(key)
		if s == nil {
			return false
		}
		if state, ok := s.load(key); ok && s.state.CompareAndSwap(state, longFull) {
			return true
		}
		pause(i)
	}
}
