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
	err   *proxy.Error // of failed
	// Of landing; they do not change any more.
	status    int
	head      []byte // a record, and the lines of the head
	names, id []byte // of the fields that the origin has named in Vary, if any
	variant   string // and the key of those who get the same answer
	size      int64  // of the body, -1 if unknown
	first     *block

	arrived int64
	counted int64 // of them, in flights.bytes
	over    bool  // all of the body is there, or broken says why not
	broken  error // what readers get after what there is
	last    *block

	followers int // who have joined; under the lock of the shard
	readers   []*reader
	windowed  bool // the body is too large to be kept: it must not run far ahead of its readers

	turns turns
}

// state is how far a flight is.
type state uint8

const (
	waiting   state = iota // for the head
	landing                // the head is there, the body comes or has come
	refreshed              // what the store has is good again
	passed                 // the answer is its leader's alone: everybody asks by himself
	failed                 // there is no answer: err says why
)

// block is a part of a body. Blocks that every reader has left behind are garbage.
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

// newFlight returns a flight that nobody can join.
func newFlight(full []byte, m store.Mark) *flight {
	return &flight{full: string(full), mark: m, size: -1}
}

// join returns the flight for a key, and whether the caller leads it. A flight that began before the last purge is nobody's to
// follow any more.
func (fs *flights) join(key, full []byte, now store.Mark) (f *flight, leads bool) {
	s := fs.shard(key)
	s.Lock()
	defer s.Unlock()
	for _, f := range s.m[string(key)] {
		if f.mark == now && f.full == string(full) {
			f.followers++
			return f, false
		}
	}
	f = newFlight(full, now)
	f.key = string(key)
	if s.m == nil {
		s.m = make(map[string][]*flight)
	}
	s.m[f.key] = append(s.m[f.key], f)
	return f, true
}

// abandon takes the flight out if nobody has joined it, and reports whether that is so.
func (fs *flights) abandon(f *flight) bool {
	if f.key == "" {
		return true
	}
	s := fs.shard([]byte(f.key))
	s.Lock()
	defer s.Unlock()
	if f.followers > 0 {
		return false
	}
	s.remove(f)
	return true
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
		return
	}
	s := fs.shard([]byte(f.key))
	s.Lock()
	defer s.Unlock()
	s.remove(f)
}

func (s *shard) remove(f *flight) {
	rest := slices.DeleteFunc(s.m[f.key], func(other *flight) bool { return other == f })
	if len(rest) == 0 {
		delete(s.m, f.key)
	} else {
		s.m[f.key] = rest
	}
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
		if s := f.state; s != waiting {
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
	f.first = &block{data: whole}
	f.change(func() {
		f.state, f.head, f.size, f.last = landing, head, size, f.first
		f.arrived = int64(len(whole))
		f.over = over
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
	f.change(func() { f.over, f.broken = true, err })
}

// settle ends a flight without an answer to share.
func (f *flight) settle(s state, err *proxy.Error) {
	f.change(func() {
		if f.state == waiting {
			f.state, f.err = s, err
		}
	})
}

// reader is the body of one who reads a flight's answer.
type reader struct {
	f     *flight
	x     *proxy.Exchange
	at    *block
	off   int
	done  int64 // bytes before at and off
	place int   // in f.readers
}

// read joins the readers.
func (f *flight) read(x *proxy.Exchange) *reader {
	f.mu.Lock()
	r := &reader{f: f, x: x, at: f.first, place: len(f.readers)}
	f.readers = append(f.readers, r)
	f.mu.Unlock()
	return r
}

// Read implements proxy.Flow.
func (r *reader) Read(p []byte) (int, error) {
	f := r.f
	for {
		f.mu.Lock()
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
		case <-r.x.Done():
			return 0, r.x.Canceled()
		}
	}
}

// Buffered implements proxy.Flow.
func (r *reader) Buffered() int {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	return int(f.arrived - r.done)
}

// Close implements proxy.Flow.
func (r *reader) Close() error {
	f := r.f
	f.mu.Lock()
	last := len(f.readers) - 1
	f.readers[r.place] = f.readers[last]
	f.readers[r.place].place = r.place
	f.readers[last] = nil
	f.readers = f.readers[:last]
	windowed := f.windowed
	f.mu.Unlock()
	if windowed {
		f.change(func() {})
	}
	r.at = nil
	return nil
}

// window is how far the body of an answer that is not kept may run ahead of its slowest reader.
const window = 1 << 20

// awaitReaders waits until the slowest reader of a body that is not kept is near, and reports whether there is one at all. It is
// patient: a reader that does not read is its edge's business.
func (f *flight) awaitReaders() bool {
	for {
		f.mu.Lock()
		f.windowed = true
		if len(f.readers) == 0 {
			f.mu.Unlock()
			return false
		}
		behind := int64(0)
		for _, r := range f.readers {
			behind = max(behind, f.arrived-r.done)
		}
		if behind < window {
			f.mu.Unlock()
			return true
		}
		changed := f.wake()
		f.mu.Unlock()
		<-changed
	}
}

// turns lets those go who followed a leader in vain: a few at first, and two more for each whose answer has come, so that an
// origin is not asked by thousands in the same moment, and nobody waits for long where it answers fast.
type turns struct {
	once sync.Once
	free chan struct{}
}

// atFirst is how many go at once; turnsMax bounds how many may be free.
const (
	atFirst  = 8
	turnsMax = 1 << 10
)

func (t *turns) init() {
	t.once.Do(func() {
		t.free = make(chan struct{}, turnsMax)
		for range atFirst {
			t.free <- struct{}{}
		}
	})
}

// take waits for a turn, but not for long: then it is taken anyway.
func (t *turns) take(x *proxy.Exchange, patience time.Duration) error {
	t.init()
	select {
	case <-t.free:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.free:
	case <-timer.C:
	case <-x.Done():
		return x.Canceled()
	}
	return nil
}

// give lets two more go.
func (t *turns) give() {
	for range 2 {
		select {
		case t.free <- struct{}{}:
		default:
		}
	}
}
