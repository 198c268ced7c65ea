package limit

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/wire"
)

// Store keeps the buckets that hosts share. It is used by one goroutine at a time, but for Reset.
type Store interface {
	// Settle charges buckets, all of them or none, and fills in what has become of each. Without entries it finds out whether the store answers.
	Settle(ctx context.Context, entries []Entry) error
	// Reset fills a bucket. It reports whether the store knew it.
	Reset(ctx context.Context, e Entry) (bool, error)
	Close()
}

// Entry is what a host tells the store of a bucket, and is told. Times are in nanoseconds, those of tokens are how long they take to come.
type Entry struct {
	Policy string
	Key    uint64
	Burst  int64
	Take   int64 // for tokens that were taken: they count, however far the bucket is in debt
	Charge int64 // for what responses have cost, or was given back if it is below 0: nobody waits for more than two bursts because of it
	// View is when the bucket will be full by what this host knows of it without the two. The store begins with that if it does not know
	// the bucket, because it has lost it, or has never heard of it. If Merge is set, it also does so if the host says that the bucket is emptier.
	View  int64
	Merge bool

	Full int64 // the answer: when the bucket will be full

	shared         *Shared
	at             int
	taken, charged int64
}

// Most is how much debt a bucket can have: that of a fleet of 1,000 hosts that have all taken as much ahead as they may. An answer beyond it is
// none, and a server whose clock has gone back does not shut anybody out for longer.
func (e *Entry) Most() int64 {
	const bursts = 256
	if e.Burst > math.MaxInt64/2/bursts {
		return math.MaxInt64 / 2
	}
	return e.Burst * bursts
}

// least is how long the bucket takes to fill if it was full before.
func (e *Entry) least() int64 {
	return min(e.Take+min(e.Charge, max(2*e.Burst-e.Take, 0)), e.Most())
}

// FleetOptions are what a Fleet works with.
type FleetOptions struct {
	Name  string // of the store
	Store Store
	// Timeout is how long an answer may take; then the store is taken to be down.
	Timeout time.Duration
	// Idle is for who explains what a request would meet: nobody is asked, and all is said to be well.
	Idle bool
}

// Fleet is a host's part in limits that hosts share: it has the store charged with what was taken here, a batch at a time. Its one
// goroutine waits for the store, and so do whoever resets a key and a reload; no request does.
type Fleet struct {
	name string
	link atomic.Pointer[Link]

	up      atomic.Bool
	over    atomic.Bool   // it has ended, and its store answered until then
	work    chan struct{} // holds one if there is something to do
	links   chan *Link    // holds the one that is to come in the place of what there is
	asked   chan struct{} // closed when the store was asked for the first time
	mu      sync.Mutex
	members []*Rates
	stop    context.CancelFunc // nil: it does not run
	ended   chan struct{}

	// Of the goroutine alone.
	batch   []Entry
	cursor  cursor
	merging int64 // until when views are merged, because the store was away
	told    bool  // that the store is down
	since   int64 // when it came up

	calls, failed, settled, putOff atomic.Uint64
	spent                          atomic.Int64
	problem                        atomic.Pointer[string]
}

// cursor is where the collecting of entries goes on.
type cursor struct{ member, window, slot int }

// The pace of a fleet.
const (
	// roundEvery is how much time there is between two batches at the least.
	roundEvery = 5 * time.Millisecond
	// batchMax bounds a batch; what is beyond it waits for the next one.
	batchMax = 256
	// probeEvery is how often a store that is down is asked whether it is back, and beatEvery how often one is that nobody needs.
	probeEvery = 250 * time.Millisecond
	beatEvery  = time.Second
	// mergeTime is how long hosts tell a store that is back what they know of buckets.
	mergeTime = int64(2 * time.Second)
	// steadyTime is how long one that is back has to answer until that is said.
	steadyTime = int64(time.Second)
)

// NewFleet returns a fleet that has not begun: its store is down until Start has found it.
func NewFleet(o FleetOptions) *Fleet {
	f := &Fleet{name: o.Name, work: make(chan struct{}, 1), links: make(chan *Link, 1), asked: make(chan struct{})}
	f.link.Store(NewLink(o.Store, o.Timeout))
	f.up.Store(o.Idle)
	return f
}

// Up reports whether the store answers.
func (f *Fleet) Up() bool { return f.up.Load() }

// away reports whether a store that is used does not answer. One that a new configuration does not use any more is none: who has waited since the
// former one has what this host knows.
func (f *Fleet) away() bool { return !f.up.Load() && !f.over.Load() }

// Start begins, unless it has.
func (f *Fleet) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop, f.ended = stop, make(chan struct{})
	go f.run(ctx)
}

// Prepare begins, unless it has, and waits until the store has answered for the first time, at most for the time that an answer may take.
func (f *Fleet) Prepare() {
	f.Start()
	select {
	case <-f.asked:
	case <-time.After(f.link.Load().timeout):
	}
}

// Move has another link take the place of the one that there is, which it closes. What hosts know of buckets goes over when they are asked for them.
func (f *Fleet) Move(l *Link) {
	for {
		select {
		case f.links <- l:
			return
		case before := <-f.links:
			before.Close()
		}
	}
}

// Stop ends it and closes the store. What was taken last may stay untold. Who asks for something afterwards has what this host knows.
func (f *Fleet) Stop() {
	f.mu.Lock()
	stop := f.stop
	f.mu.Unlock()
	if stop == nil {
		f.link.Load().Close()
		return
	}
	stop()
	<-f.ended
}

// Join has the buckets of a policy settled, and Leave ends that: the policy is on its own from then on.
func (f *Fleet) Join(r *Rates) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.members, r) {
		f.members = append(slices.Clone(f.members), r)
	}
	r.keepFor(f.link.Load().timeout)
	f.wake() // for what was taken before
}

// Leave ends what Join began.
func (f *Fleet) Leave(r *Rates) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members = slices.DeleteFunc(slices.Clone(f.members), func(m *Rates) bool { return m == r })
}

// wake says that there is something to do. It never waits.
func (f *Fleet) wake() {
	select {
	case f.work <- struct{}{}:
	default:
	}
}

func (f *Fleet) run(ctx context.Context) {
	defer close(f.ended)
	defer f.closeLinks()
	defer func() {
		f.over.Store(f.up.Load())
		f.up.Store(false)
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	f.probe(ctx)
	close(f.asked)
	for {
		// Nothing is collected for a moment, and then until there is something.
		if !sleep(ctx, timer, roundEvery) {
			return
		}
		work, every := f.work, beatEvery
		if !f.up.Load() {
			work, every = nil, probeEvery // one that is down is not asked more often because there is much to tell
		}
		timer.Reset(every)
		select {
		case <-ctx.Done():
			return
		case l := <-f.links:
			f.move(ctx, l)
		case <-work:
		case <-timer.C:
		}
		if f.up.Load() {
			f.round(ctx)
		} else {
			f.probe(ctx)
		}
	}
}

func (f *Fleet) closeLinks() {
	f.link.Load().Close()
	select {
	case l := <-f.links:
		l.Close()
	default:
	}
}

func sleep(ctx context.Context, timer *time.Timer, d time.Duration) bool {
	timer.Reset(d)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// probe finds out whether the store is back.
func (f *Fleet) probe(ctx context.Context) {
	if err := f.call(ctx, nil); err != nil {
		f.down(ctx, err)
		return
	}
	f.back()
}

// back is for a store that was down and answers.
func (f *Fleet) back() {
	f.dropUntold()
	f.since = wire.Now()
	f.merging = f.since + mergeTime
	f.up.Store(true)
}

// move goes over to another link. One that answers leaves nobody without a store: what was taken and is not told yet is told there. It may be to
// another server, so that hosts tell what they know of buckets, as they do one that is back: of those alone that they are asked for. A key that is
// asked for elsewhere, or later than elsewhere, has a full bucket there: to tell of all that a host remembers would keep those waiting who ask.
func (f *Fleet) move(ctx context.Context, l *Link) {
	err := l.Try(ctx)
	if err != nil {
		f.down(ctx, err)
		l.wait() // it is used by one goroutine at a time
	}
	f.count(l.took, err)
	f.mu.Lock()
	before := f.link.Swap(l)
	for _, r := range f.members {
		r.keepFor(l.timeout)
	}
	f.mu.Unlock()
	before.Close()
	switch {
	case err != nil:
	case f.up.Load():
		f.merging = wire.Now() + mergeTime
	default:
		f.back()
	}
}

// dropUntold drops what was taken before the store went and is not told yet: it would be charged on top of what each host has given by itself
// meanwhile, and all of that stands in what hosts know of buckets.
func (f *Fleet) dropUntold() {
	for f.cursor = (cursor{}); ; {
		all := f.collect(wire.Now())
		for i := range f.batch {
			f.batch[i].shared.drop(&f.batch[i])
		}
		if all {
			return
		}
	}
}

func (f *Fleet) down(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the fleet has not waited for an answer
	}
	f.up.Store(false)
	problem := err.Error()
	f.problem.Store(&problem)
	if !f.told {
		f.told = true
		slog.Warn("the store of limits does not answer", "store", f.name, "error", err)
	}
}

// round settles what there is.
func (f *Fleet) round(ctx context.Context) {
	for first := true; ; first = false {
		all := f.collect(wire.Now())
		if len(f.batch) == 0 && !first {
			return
		}
		if err := f.call(ctx, f.batch); err != nil {
			for i := range f.batch {
				f.batch[i].shared.drop(&f.batch[i])
			}
			f.down(ctx, err)
			return
		}
		// As of the moment in which the answer came: the bucket is taken to be a little emptier than it is, and never fuller.
		now := wire.Now()
		for i := range f.batch {
			f.batch[i].shared.adopt(&f.batch[i], now)
		}
		f.settled.Add(uint64(len(f.batch)))
		f.steady(now)
		if all {
			return
		}
		f.putOff.Add(1)
	}
}

// steady notes that the store does what it is there for, and not for the first time since it was away: one that comes and goes is not back.
func (f *Fleet) steady(now int64) {
	if now-f.since < steadyTime {
		return
	}
	f.problem.Store(nil)
	if f.told {
		f.told = false
		slog.Info("the store of limits is back", "store", f.name)
	}
}

// collect fills the batch, and reports whether that was all there is.
func (f *Fleet) collect(now int64) bool {
	f.mu.Lock()
	members := f.members // it is replaced, not changed
	f.mu.Unlock()
	clear(f.batch)
	f.batch = f.batch[:0]
	for range members {
		f.cursor.member %= len(members)
		tokens := members[f.cursor.member].tokens
		for range tokens {
			f.cursor.window %= len(tokens)
			s := tokens[f.cursor.window].(*Shared)
			next, all := s.wants.take(f.cursor.slot, func(at int) bool {
				if e, ok := s.entry(at, now); ok {
					e.Merge = now < f.merging
					f.batch = append(f.batch, e)
				}
				return len(f.batch) < batchMax
			})
			if !all {
				f.cursor.slot = next
				return false
			}
			f.cursor.window++
			f.cursor.slot = 0
		}
		f.cursor.member++
		f.cursor.window = 0
	}
	return true
}

// call asks the store, and counts.
func (f *Fleet) call(ctx context.Context, entries []Entry) error {
	began := time.Now()
	l := f.link.Load()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err := l.store.Settle(ctx, entries)
	if err == nil {
		err = plausible(entries)
	}
	f.count(time.Since(began), err)
	return err
}

// count counts a call of the store.
func (f *Fleet) count(took time.Duration, err error) {
	f.calls.Add(1)
	f.spent.Add(int64(took))
	if err != nil {
		f.failed.Add(1)
	}
}

// plausible holds the answers against what a bucket can be: a store that does not do its part must not let everybody in, or nobody. What it
// was just told has to stand in its answer.
func plausible(entries []Entry) error {
	for i := range entries {
		e := &entries[i]
		if e.Full < 0 || e.Full > e.Most()+int64(time.Millisecond) {
			return fmt.Errorf("the store says that a bucket is full in %d ns, which takes %d ns at most", e.Full, e.Most())
		}
		if least := e.least(); e.Full < least-int64(time.Millisecond) {
			return fmt.Errorf("the store says that a bucket is full in %d ns, and what was taken from it takes %d ns to come", e.Full, least)
		}
	}
	return nil
}

// FleetStatus is how a fleet does.
type FleetStatus struct {
	Name          string
	Up            bool
	Problem       string        // why it is not
	Calls, Failed uint64        // of the store
	Spent         time.Duration // waiting for it
	Settled       uint64        // entries
	PutOff        uint64        // batches that did not hold all there was
}

// Status returns how it does.
func (f *Fleet) Status() FleetStatus {
	s := FleetStatus{Name: f.name, Up: f.Up(), Calls: f.calls.Load(), Failed: f.failed.Load(), Spent: time.Duration(f.spent.Load()),
		Settled: f.settled.Load(), PutOff: f.putOff.Load()}
	if p := f.problem.Load(); p != nil {
		s.Problem = *p
	}
	return s
}

// reset fills a bucket of the store.
func (f *Fleet) reset(e Entry) (bool, error) {
	if !f.Up() {
		return false, ErrStoreAway
	}
	began := time.Now()
	l := f.link.Load()
	known, err := l.reset(e)
	if now := f.link.Load(); err != nil && now != l {
		known, err = now.reset(e) // the first one was closed meanwhile
	}
	f.count(time.Since(began), err)
	if err != nil {
		return false, fmt.Errorf("%w (%v)", ErrStoreAway, err)
	}
	return known, nil
}
