package cache

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/store"
)

// flight is one request to the origin, and all who want its answer: who has begun it leads, who comes later follows. Its answer
// belongs to nobody's exchange, so that each of them may leave while the others read on.
type flight struct {
	key  string     // of the URL; empty if nobody can join
	full string     // of what is missed
	mark store.Mark // when it began: who comes after a later purge must not follow it

	mu      sync.Mutex
	changed chan struct{} // closed at the next change; nil while nobody waits

	state state
	err   *proxy.Error    // of failed
	fork  *proxy.Exchange // that asks, as long as it may be canceled when nobody waits any more
	// Of landing; they do not change any more.
	head      []byte  // a record, and the lines of the head
	names, id []byte  // of the fields that the origin has named in Vary, if any
	variant   string  // and the key of those who get the same answer
	size      int64   // of the body, -1 if unknown
	first     *block  // nil when the body is windowed and nobody has still to begin with it
	parked    *parked // where it is kept, once it is

	arrived int64
	counted int64 // of them, in flights.bytes
	over    bool  // all of the body is there, or broken says why not
	broken  error // what readers get after what there is
	last    *block

	// Who wants the answer: pending are the leader and those who have joined, until they read or leave.
	pending  int
	leaderIn bool // the leader is one of them
	tagged   bool // the answer has tags, and whether they were purged is not looked up
	closed   bool // nobody can join any more
	deserted bool // nobody was left, and the fork was canceled
	readers  []*reader
	windowed bool // the body is too large to be kept: it must not run far ahead of its readers

	alone *time.Timer // runs out when nobody has read for long

	turns turns
	// Of those who went by themselves while others went on waiting.
	answered bool         // one of them has brought what others may have, too: look for it
	failures int          // how many have failed, one after the other
	spent    *proxy.Error // so many that the others need not try
	moreAt   int64        // wire.Now when more turns are due; 0: nobody waits for one
}

// state is how far a flight is.
type state uint8

const (
	waiting   state = iota // for the head
	landing                // the head is there, the body comes or has come
	refreshed              // what the store has is good again
	passed                 // the answer is its leader's alone: everybody asks by himself
	declined               // it is an error that may be about its leader alone: another one leads
	failed                 // there is no answer, or one that says that the origin is in trouble: err says it to others. Another one leads, too
)

// block is a part of a body. Blocks that every reader has left behind are garbage, once the flight has let go of the first.
type block struct {
	data []byte // appended to under the flight's lock, never past its capacity
	next *block
}

// blockSize is how much of a body is read and told of at once.
const blockSize = 32 << 10

// flights are those under way. Safe for concurrent use.
type flights struct {
	shards [16]shard
	bytes  atomic.Int64 // of bodies that are kept while they arrive
}

// shard holds flights by the first part of their key, which those for the variants of an answer have in common.
type shard struct {
	sync.Mutex
	m map[string][]*flight
}

func (fs *flights) shard(key []byte) *shard {
	h := uint32(2166136261) // FNV-1a: where it lands costs at most a lock that others use, too
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return &fs.shards[h%uint32(len(fs.shards))]
}

// newFlight returns a flight that nobody can join, with its leader in it.
func newFlight(full []byte, m store.Mark) *flight {
	return &flight{full: string(full), mark: m, size: -1, pending: 1, leaderIn: true}
}

// join returns the flight for a key, and whether the caller leads it. Whoever does not want to follow gets nil if there is one. A
// flight that began before the last purge is nobody's to follow any more.
func (fs *flights) join(key, full []byte, now store.Mark, follow bool, purged func(since store.Mark) bool) (f *flight, leads bool) {
	s := fs.shard(key)
	s.Lock()
	defer s.Unlock()
	for _, f := range s.m[string(key)] {
		if !f.brings(full) || f.mark != now && (f.tagged || purged(f.mark)) {
			continue
		}
		if !follow {
			return nil, false
		}
		if f.board() {
			return f, false
		}
	}
	f = newFlight(full, now)
	f.key = string(key)
	s.add(f)
	return f, true
}

// brings reports whether the flight's response is the one that belongs to the key full. That is the key that its leader has looked up, or, once
// the head is there, the key of the variant that the response is.
func (f *flight) brings(full []byte) bool {
	if f.full == string(full) {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == landing && f.variant == string(full)
}

// add is called with s locked.
func (s *shard) add(f *flight) {
	if s.m == nil {
		s.m = make(map[string][]*flight)
	}
	s.m[f.key] = append(s.m[f.key], f)
}

// enter lets others join a flight that has a key and has landed, unless it is over.
func (fs *flights) enter(f *flight) {
	s := fs.shard([]byte(f.key))
	s.Lock()
	defer s.Unlock()
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if !closed {
		s.add(f)
	}
}

// has reports whether there are flights for a key, or for variants of it.
func (fs *flights) has(key []byte) bool {
	s := fs.shard(key)
	s.Lock()
	defer s.Unlock()
	return len(s.m[string(key)]) > 0
}

// leave takes the flight out: whoever comes now looks into the store, or begins another.
func (fs *flights) leave(f *flight) {
	if f.key == "" {
		f.mu.Lock()
		f.closed = true
		f.tidy()
		f.mu.Unlock()
		return
	}
	s := fs.shard([]byte(f.key))
	s.Lock()
	defer s.Unlock()
	f.mu.Lock()
	f.closed = true
	f.tidy()
	f.mu.Unlock()
	rest := slices.DeleteFunc(s.m[f.key], func(other *flight) bool { return other == f })
	if len(rest) == 0 {
		delete(s.m, f.key)
	} else {
		s.m[f.key] = rest
	}
}

// board adds a follower. It returns false if the flight was canceled because nobody was left, or if another request has stored a response while
// the leader still waits: then the follower is to look into the store.
func (f *flight) board() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deserted || f.answered && f.state == waiting {
		return false
	}
	f.pending++
	return true
}

// desert removes one that has not begun to read: the leader, or else a follower.
func (f *flight) desert(leader bool) {
	f.mu.Lock()
	if !leader || f.leaderIn {
		f.leaderIn = f.leaderIn && !leader
		f.pending--
		f.tidy()
	}
	windowed := f.windowed
	f.mu.Unlock()
	if windowed {
		f.change(func() {}) // awaitReaders may wait for this one alone
	}
}

// tidy cancels the request, or limits the time of the body, if nobody wants the response any more. f.mu is held.
func (f *flight) tidy() {
	switch {
	case f.pending > 0:
	case f.state == waiting && f.fork != nil:
		f.deserted = true
		f.fork.Cancel(proxy.ErrClientGone)
	case f.state == landing && len(f.readers) == 0 && f.fork != nil && !f.over:
		f.leaveAlone()
	}
	if f.pending == 0 && f.closed && (f.windowed || f.over) {
		f.first = nil
	}
}

// leaveAlone ends a body that nobody reads, if it does not come to its end soon. f.mu is held.
func (f *flight) leaveAlone() {
	if f.alone != nil {
		return
	}
	limit := aloneFor
	if f.size < 0 {
		limit = aloneUnsized
	}
	f.alone = time.AfterFunc(limit, f.endAlone)
}

// For how long a body that nobody reads may still be read from the origin into the store. That nobody reads it is common: a client whose copy
// is still good gets a 304.
const (
	aloneFor     = 10 * time.Second
	aloneUnsized = time.Second // nobody knows how much is to come
)

func (f *flight) endAlone() {
	defer func() {
		if bug := recover(); bug != nil {
			proxy.Caught(bug)
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alone = nil
	if f.pending == 0 && len(f.readers) == 0 && f.fork != nil {
		f.fork.Cancel(proxy.ErrClientGone)
	}
}

// spares removes the leader, whose client has gone, and reports whether a follower still wants the response.
func (f *flight) spares() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leaderIn {
		f.leaderIn = false
		f.pending--
	}
	f.deserted = f.pending == 0
	return !f.deserted
}

// asks notes which fork asks; nil: none that may be canceled.
func (f *flight) asks(c *proxy.Exchange) {
	f.mu.Lock()
	f.fork = c
	f.mu.Unlock()
}

// change changes the flight and wakes everybody who waits for that.
func (f *flight) change(how func()) {
	f.mu.Lock()
	how()
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
	f.mu.Unlock()
}

// wake returns what is closed at the next change. f.mu is held.
func (f *flight) wake() chan struct{} {
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

// await waits until the flight has more than begun, for at most patience: then the state is waiting still. It fails when x is
// canceled.
func (f *flight) await(x *proxy.Exchange, patience time.Duration) (state, error) {
	x.Waited = true
	var timer *time.Timer
	for {
		f.mu.Lock()
		s := f.state
		if s == waiting && f.answered {
			s = refreshed
		}
		if s != waiting {
			f.mu.Unlock()
			return s, nil
		}
		changed := f.wake()
		f.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(patience)
			defer timer.Stop()
		}
		select {
		case <-changed:
		case <-timer.C:
			return waiting, nil
		case <-x.Done():
			return waiting, x.Canceled()
		}
	}
}

// land publishes the head, and the body if it is there as a whole; else it follows by grow and end.
func (f *flight) land(head []byte, size int64, whole []byte, over bool) {
	first := &block{data: whole}
	f.change(func() {
		f.first = first
		f.state, f.head, f.size, f.last = landing, head, size, first
		f.arrived = int64(len(whole))
		if f.over = over; over {
			f.fork = nil
		}
	})
}

// grow takes p as the next part of the body, which it keeps.
func (f *flight) grow(p []byte) {
	next := &block{data: p}
	f.change(func() {
		f.last.next = next
		f.last = next
		f.arrived += int64(len(p))
	})
}

// end says that the body is over: as a whole if err is nil.
func (f *flight) end(err error) {
	f.change(func() {
		f.over, f.broken, f.fork = true, err, nil
		if f.alone != nil {
			f.alone.Stop()
		}
		f.tidy()
	})
}

// settle ends a flight without an answer to share.
func (f *flight) settle(s state, err *proxy.Error) {
	f.change(func() {
		if f.state == waiting {
			f.state, f.err, f.fork = s, err, nil
		}
	})
}

// reader is the body of one who reads a flight's answer.
type reader struct {
	f     *flight
	v     *visit
	at    *block
	off   int
	done  int64 // bytes before at and off
	place int   // in f.readers
	cut   bool  // it was so slow that the others are not to wait for it
	// Of a slow reader of a body that is kept: it goes on from the store.
	parked *parked
	entry  store.Entry
}

// parked is where a body is kept.
type parked struct {
	store *store.Store
	key   string
	id    uint64
}

// parkFrom is how far behind a reader is that does not hold the body in memory when it is in the store.
const parkFrom = 256 << 10

// park lets readers that are far behind go on from the store, so that what they have still to read is not held for them. Each of them may
// take as long as its edge has patience.
func (f *flight) park(in *parked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parked = in
	for _, r := range f.readers {
		r.park()
	}
}

// park is called with r.f.mu held.
func (r *reader) park() {
	if in := r.f.parked; in != nil && r.f.arrived-r.done > parkFrom {
		r.parked, r.at = in, nil
	}
}

// unpark reads on from the store.
func (r *reader) unpark(p []byte) (int, error) {
	size := r.f.arrived
	if r.done == size {
		return 0, io.EOF
	}
	n, err := 0, store.ErrTorn
	switch {
	case r.v.tail.goesOn():
		n, err = r.v.tail.read(p)
	case r.entry.Size > 0 || r.parked.store.Get([]byte(r.parked.key), &r.entry) != store.Missing && r.entry.ID() == r.parked.id:
		n, err = r.entry.ReadAt(p[:min(int64(len(p)), size-r.done)], r.done)
	default:
		r.entry.Free()
		r.entry = store.Entry{}
	}
	r.f.mu.Lock()
	r.done += int64(n)
	r.f.mu.Unlock()
	if err != nil && r.v.tail.c == nil {
		err = r.v.resume(r.done, size-r.done, size, err)
	}
	return n, err
}

// read makes a reader of one who has joined.
func (f *flight) read(v *visit, leader bool) *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &reader{f: f, v: v, at: f.first, place: len(f.readers)}
	r.park()
	f.readers = append(f.readers, r)
	if leader {
		f.leaderIn = false
	}
	f.pending--
	f.tidy()
	return r
}

// Read implements proxy.Flow.
func (r *reader) Read(p []byte) (int, error) {
	f := r.f
	for {
		f.mu.Lock()
		if r.cut {
			f.mu.Unlock()
			return 0, errGivenUp
		}
		if r.parked != nil {
			f.mu.Unlock()
			return r.unpark(p)
		}
		for r.off == len(r.at.data) && r.at.next != nil {
			r.at, r.off = r.at.next, 0
		}
		if r.off < len(r.at.data) {
			n := copy(p, r.at.data[r.off:])
			r.off += n
			r.done += int64(n)
			windowed := f.windowed
			f.mu.Unlock()
			if windowed {
				f.change(func() {}) // whoever fills may have waited for this one
			}
			return n, nil
		}
		if f.over {
			err := f.broken
			f.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		changed := f.wake()
		f.mu.Unlock()
		select {
		case <-changed:
		case <-r.v.x.Done():
			return 0, r.v.x.Canceled()
		}
	}
}

// Buffered implements proxy.Flow.
func (r *reader) Buffered() int {
	if t := &r.v.tail; t.goesOn() {
		return t.c.Response.Body.Buffered()
	}
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	return int(f.arrived - r.done)
}

// Close implements proxy.Flow.
func (r *reader) Close() error {
	f := r.f
	f.mu.Lock()
	if !r.cut {
		f.drop(r)
	}
	f.tidy()
	windowed := f.windowed
	f.mu.Unlock()
	if windowed {
		f.change(func() {})
	}
	r.at = nil
	r.entry.Free()
	return nil
}

// drop takes a reader out. f.mu is held.
func (f *flight) drop(r *reader) {
	last := len(f.readers) - 1
	f.readers[r.place] = f.readers[last]
	f.readers[r.place].place = r.place
	f.readers[last] = nil
	f.readers = f.readers[:last]
}

const (
	// window is how far the body of an answer that is not kept may run ahead of its slowest reader.
	window = 1 << 20
	// tooSlow is how long one reader may keep the window closed while other readers wait for more.
	tooSlow = 2 * time.Second
)

// awaitReaders waits until the slowest reader of a body that is not kept is near, and reports whether anybody wants more of it. A reader that
// does not read is its edge's business, but if others wait for it for long it is cut off.
func (f *flight) awaitReaders() bool {
	var limit *time.Timer
	for {
		f.mu.Lock()
		if !f.windowed {
			f.windowed = true
			f.tidy()
		}
		behind, ahead := int64(0), false
		for _, r := range f.readers {
			b := f.arrived - r.done
			behind, ahead = max(behind, b), ahead || b == 0
		}
		wanted, near := f.pending > 0 || len(f.readers) > 0, len(f.readers) > 0 && behind < window
		changed := f.wake()
		f.mu.Unlock()
		if !wanted || near {
			return wanted
		}
		if limit == nil {
			limit = time.NewTimer(tooSlow)
			defer limit.Stop()
		}
		select {
		case <-changed:
		case <-limit.C:
			limit.Reset(tooSlow)
			if ahead {
				f.cutSlow()
			}
		}
	}
}

// cutSlow cuts off the readers that others wait for.
func (f *flight) cutSlow() {
	f.change(func() {
		for i := len(f.readers) - 1; i >= 0; i-- {
			if r := f.readers[i]; f.arrived-r.done >= window {
				r.cut = true
				f.drop(r)
			}
		}
	})
}
