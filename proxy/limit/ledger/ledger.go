package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"sluice/proxy/wire"
)

// Ledger is the file with what keys have used, of all meters of a gateway. Safe for concurrent use.
type Ledger struct {
	file string
	now  func() time.Time // the wall clock; tests replace it
	// finishes is finish; tests replace it.
	finishes func(*book)
	// updates is db.Update; tests replace it.
	updates func(*bbolt.DB, func(*bbolt.Tx) error) error

	mu      sync.Mutex
	meters  map[string]*Meter
	waiting []*Account // that the file is to say something else about
	dropped []dropped
	problem string
	begun   bool          // Start was called
	next    chan struct{} // closed when the file was written, or something is wrong with it

	wake       chan struct{}
	quit, done chan struct{}

	written, failed atomic.Uint64

	broken brokenFile // only for the goroutine that writes
	lost   error      // what finish could not write; it is read when done is closed

	offset atomic.Int64 // of the wall clock to wire.Now
}

// brokenFile is one that the library has panicked about, and what it said.
type brokenFile struct {
	stat unix.Stat_t
	err  error // nil: there is none
}

// dropped is a record that nobody needs.
type dropped struct {
	meter string
	key   Key
}

// New returns a ledger in a file that is opened, and made if it is not there, by Start.
func New(file string) *Ledger {
	l := &Ledger{
		file: file, now: time.Now, meters: make(map[string]*Meter), wake: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}), next: make(chan struct{}), problem: notRead, updates: (*bbolt.DB).Update,
	}
	l.finishes = l.finish
	l.setClock()
	return l
}

// notRead is the problem that there is before the file was read.
const notRead = "the file of quotas is being read"

// Written is closed when the file was written once more, or cannot be.
func (l *Ledger) Written() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// tell wakes those who wait for that.
func (l *Ledger) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.next)
	l.next = make(chan struct{})
}

func (l *Ledger) setClock() { l.offset.Store(l.now().UnixNano() - wire.Now()) }

// Wall is the Unix time in nanoseconds of a moment of wire.Now. It goes by the wall clock, also after that was set, within a second.
func (l *Ledger) Wall(moment int64) int64 { return moment + l.offset.Load() }

// Hopeful reports whether the file is about to be read or written, for all that is known.
func (l *Ledger) Hopeful() bool {
	why := l.Unready()
	return why == "" || why == notRead
}

// Meter returns what counts under a name, by a calendar that is always the same for it, with room for so many keys if it is new.
func (l *Ledger) Meter(name string, c Calendar, keys int) *Meter {
	l.mu.Lock()
	m := l.meters[name]
	if m == nil {
		m = newMeter(l, name, c)
		m.SetRoom(keys)
		l.meters[name] = m
	}
	l.mu.Unlock()
	l.hurry()
	return m
}

// Start begins to read and write the file, in the background.
func (l *Ledger) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.begun = true
		go l.serve()
	}
}

// Prepare is Start, and waits until the file was read, or cannot be: for prepareMax at the most.
func (l *Ledger) Prepare() {
	written := l.Written()
	l.Start()
	if l.Unready() != notRead {
		return
	}
	select {
	case <-written:
	case <-time.After(prepareMax):
	}
}

// prepareMax is as long as requests wait for the file.
const prepareMax = 2 * time.Second

// Stop is Close for those who have nobody to tell: an error is in the log.
func (l *Ledger) Stop() {
	if err := l.Close(); err != nil {
		slog.Error("the file of quotas did not end as it should", "error", err)
	}
}

// Close writes what was really used, and closes the file, for stopPatience at the most. Nothing can be used afterwards. After an error what was
// reserved counts as used in the next run.
func (l *Ledger) Close() error {
	l.mu.Lock()
	begun := l.begun
	l.begun = true
	l.mu.Unlock()
	if !begun {
		close(l.quit)
		close(l.done)
		return nil
	}
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	select {
	case <-l.done:
		return l.lost
	case <-time.After(stopPatience):
		return fmt.Errorf("%s was not closed in time: what was reserved counts as used", l.file)
	}
}

// stopPatience bounds how long a slow disk can keep the gateway from ending. It is less than the gateway takes for its end in all, which begins
// somewhat earlier: what is wrong here has to be said before the process is gone.
const stopPatience = 8 * time.Second

// String names the file in messages.
func (l *Ledger) String() string { return "the quotas in " + l.file }

// Unready says why nothing, or not much, can be used, or is empty.
func (l *Ledger) Unready() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.problem
}

// Status is how writing goes.
type Status struct {
	Problem         string
	Written, Failed uint64 // how often the file was written, and could not be
}

// Status returns it.
func (l *Ledger) Status() Status {
	return Status{Problem: l.Unready(), Written: l.written.Load(), Failed: l.failed.Load()}
}

// queue lets the file be written for an account, soon.
func (l *Ledger) queue(a *Account) {
	if !a.queued.CompareAndSwap(false, true) {
		return
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, a)
	l.mu.Unlock()
	l.hurry()
}

func (l *Ledger) forget(m *Meter, key Key) {
	l.mu.Lock()
	l.dropped = append(l.dropped, dropped{m.name, key})
	l.mu.Unlock()
	l.hurry()
}

func (l *Ledger) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Pauses of the ledger's goroutine.
const (
	lookEvery    = time.Second // at the calendar
	pauseMin     = 100 * time.Millisecond
	pauseMax     = time.Second
	lockPatience = 300 * time.Millisecond
)

// serve is the life of the file: it is opened, written and closed here alone. A panic of bbolt about what it reads, or a fault because a
// part of the file has gone, is an error like any other.
func (l *Ledger) serve() {
	defer close(l.done)
	debug.SetPanicOnFault(true)
	pause := pauseMin
	for {
		b, err := l.open()
		if err == nil {
			if err = l.writeOn(b); err == nil {
				l.finishes(b)
				return
			}
			b.close()
		}
		l.fail(err)
		select {
		case <-l.quit:
			l.end()
			return
		case <-time.After(pause):
			pause = min(2*pause, pauseMax)
		}
	}
}

// writeOn writes until quit, and then returns nil; or the error after which the file is to be opened anew.
func (l *Ledger) writeOn(b *book) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	pause := pauseMin
	for {
		var again <-chan time.Time
		wake := l.wake
		switch err := l.write(b); {
		case err == nil:
			pause = pauseMin
			l.settle("")
		case errors.Is(err, errDamaged):
			return err
		default:
			l.fail(err)
			again, wake = time.After(pause), nil
			pause = min(2*pause, pauseMax)
		}
		look := look.C
		if again != nil {
			look = nil
		}
		select {
		case <-l.quit:
			return nil
		case <-wake:
		case <-look:
		case <-again:
		}
	}
}

// fail says what is wrong: in the log when it begins or is something else.
func (l *Ledger) fail(err error) {
	l.settle(err.Error())
	l.failed.Add(1) // whoever sees the count finds the problem
}

func (l *Ledger) settle(problem string) {
	l.mu.Lock()
	before := l.problem
	l.problem = problem
	l.mu.Unlock()
	switch {
	case problem == before:
	case problem == "":
		slog.Info("the file of quotas is read and written", "file", l.file)
	default:
		slog.Error("quotas give no more than what is reserved already", "error", problem)
		l.tell()
	}
}

// book is the open file.
type book struct {
	db   *bbolt.DB
	file *os.File
	// run counts the runs that have crashed: it was read, and while the gateway runs it says one more, because this run has not ended in
	// good order yet.
	run    uint64
	marked bool // the file says that the gateway runs
	// unsure says that what is read here may not be on the disk.
	unsure bool
	loaded map[*Meter]bool
}

func (l *Ledger) open() (b *book, err error) {
	if l.broken.same(l.file) {
		return nil, l.broken.err
	}
	l.broken = brokenFile{}
	b = &book{loaded: make(map[*Meter]bool), unsure: true} // whoever wrote it may have ended before it was synced
	var opened unix.Stat_t
	defer func() {
		if err != nil && b.file != nil {
			// It is closed already, unless bbolt has panicked. Closing alone would not free the lock then, which lasts for as long as the file
			// is mapped: this process would take itself for another gateway.
			_ = unix.Flock(int(b.file.Fd()), unix.LOCK_UN)
			_ = b.file.Close()
			if b.db == nil && errors.Is(err, errDamaged) {
				l.broken = brokenFile{opened, err}
			}
		}
	}()
	err = guarded(func() error {
		if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
			return err
		}
		b.db, err = bbolt.Open(l.file, 0o600, &bbolt.Options{
			Timeout: lockPatience, FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				if b.file = f; err == nil {
					err = unix.Fstat(int(f.Fd()), &opened)
				}
				return f, err
			},
		})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return b, fmt.Errorf("cannot open %s: another gateway has it open; each needs a state folder of its own", l.file)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err == nil {
		err = b.read()
	}
	if err != nil {
		if b.db != nil {
			b.close()
		}
		return b, l.explain("open", err)
	}
	return b, nil
}

// same reports whether the file is still the broken one. It would be mapped anew with each attempt, and nobody can take that back: some hours of
// attempts would use up what a process may map.
func (b *brokenFile) same(file string) bool {
	if b.err == nil {
		return false
	}
	var now unix.Stat_t
	err := unix.Stat(file, &now)
	// A copy may be of the same size, and of the same time of writing; it was not put there at the same time.
	return err == nil && now.Dev == b.stat.Dev && now.Ino == b.stat.Ino && now.Size == b.stat.Size && now.Ctim == b.stat.Ctim
}

// explain adds what can be done about it.
func (l *Ledger) explain(verb string, err error) error {
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("cannot %s %s: %w; move it away to begin anew, which forgets what was used", verb, l.file, err)
	}
	return fmt.Errorf("cannot %s %s: %w", verb, l.file, err)
}

func (b *book) close() {
	if err := guarded(b.db.Close); err != nil {
		slog.Error("the file of quotas was not closed", "error", err)
	}
}

// guarded turns panics into errors.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// read reads in which run the file is.
func (b *book) read() error {
	return guarded(func() error {
		return b.db.View(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			if meta == nil {
				return nil // it is new
			}
			n, err := parseNumber(meta.Get(keyForm))
			if err != nil {
				return err
			}
			if n != form {
				return fmt.Errorf("it has the form %d, and this version of Sluice knows %d", n, form)
			}
			b.run, err = parseNumber(meta.Get(keyRun))
			return err
		})
	})
}

// settle brings to the disk what is read here, if it may be in the system's memory alone: else the next transaction would overwrite what the
// root on the disk leads to. After a sync has failed the system takes for written what is not, so the roots are written once more, as they
// are; what they lead to was synced before them. For the counts such a failure means nothing: no key may use what no write that went well
// has reserved for it, and the next write says it all again.
func (b *book) settle() error {
	if !b.unsure {
		return nil
	}
	roots := make([]byte, 2*b.db.Info().PageSize)
	if _, err := b.file.ReadAt(roots, 0); err != nil {
		return err
	}
	if _, err := b.file.WriteAt(roots, 0); err != nil {
		return err
	}
	return b.file.Sync()
}

// batchMax bounds what is written at once, and so how long one write takes.
const batchMax = 4096

// write brings the file up to date: what has to be said of accounts, new meters, new periods.
func (l *Ledger) write(b *book) error {
	l.mu.Lock()
	waiting := l.waiting
	if len(waiting) > batchMax {
		waiting, l.waiting = waiting[:batchMax:batchMax], waiting[batchMax:]
		l.hurry()
	} else {
		l.waiting = nil
	}
	gone := l.dropped
	l.dropped = nil
	meters := slices.Collect(maps.Values(l.meters))
	l.mu.Unlock()
	for _, a := range waiting {
		a.queued.Store(false) // what changes from here on is written once more
	}

	l.setClock()
	w := &writing{book: b, now: l.now().UnixNano(), accounts: waiting, dropped: gone, meters: meters}
	err := guarded(func() error { return w.load() })
	if err == nil && w.needed() {
		if err = guarded(func() error { return b.settle() }); err == nil {
			err = guarded(func() error { return l.updates(b.db, w.update) })
		}
		if b.unsure = err != nil; err == nil {
			l.written.Add(1)
		}
	}
	if err != nil {
		again := slices.DeleteFunc(waiting, func(a *Account) bool { return !a.queued.CompareAndSwap(false, true) }) // those are waiting already
		l.mu.Lock()
		l.waiting, l.dropped = append(again, l.waiting...), append(gone, l.dropped...)
		l.mu.Unlock()
		return l.explain("write", err)
	}
	w.done()
	l.tell()
	return nil
}

// writing is one transaction.
type writing struct {
	*book
	now      int64
	accounts []*Account
	dropped  []dropped
	meters   []*Meter

	read   []*Meter
	opened []opening
	kept   []uint64 // what will be kept of accounts
	stale  []dropped
}

// opening is a period that is opened for a meter.
type opening struct {
	meter *Meter
	opened
}

// aheadOf is how long before a period begins it is opened: a crash in between costs what one in the period itself does.
const aheadOf = 10 * time.Minute

// load reads what the file has of meters that are new, and finds the periods to open.
func (w *writing) load() error {
	for _, m := range w.meters {
		if !w.loaded[m] {
			f := found{meter: m, current: m.turn(w.now).period, run: w.run}
			if err := w.db.View(f.read); err != nil {
				return err
			}
			f.recall()
			w.stale = append(w.stale, f.stale...)
			w.read = append(w.read, m)
		}
		t := m.turn(w.now)
		w.openPeriod(m, t.period)
		if t.end-w.now < int64(aheadOf) {
			w.openPeriod(m, t.period+1)
		}
	}
	return nil
}

func (w *writing) openPeriod(m *Meter, period uint64) {
	for _, o := range *m.known.Load() {
		if o.period == period {
			return
		}
	}
	w.opened = append(w.opened, opening{m, opened{period, 0}})
}

// found is what the file has of a meter.
type found struct {
	meter   *Meter
	current uint64 // its period
	run     uint64 // of the file
	opened  []opened
	records []foundRecord
	stale   []dropped
}

type foundRecord struct {
	key Key
	record
}

// read reads it. The disk may take its time, and nobody who enters the meter is to wait for it: that is not locked meanwhile.
func (f *found) read(tx *bbolt.Tx) error {
	meters := tx.Bucket(bucketMeters)
	if meters == nil {
		return nil
	}
	mine := meters.Bucket([]byte(f.meter.name))
	if mine == nil {
		return nil
	}
	if b := mine.Bucket(bucketOpened); b != nil {
		if err := b.ForEach(func(k, v []byte) error {
			run, err := parseNumber(v)
			if err != nil || len(k) != 8 {
				return fmt.Errorf("%w: a period is not what was written", errDamaged)
			}
			f.opened = append(f.opened, opened{binary.BigEndian.Uint64(k), f.run - min(run, f.run)})
			return nil
		}); err != nil {
			return err
		}
	}
	b := mine.Bucket(bucketKeys)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		key, r, err := parseRecord(k, v)
		switch {
		case err != nil:
			return err
		case r.period+openedMax < f.current:
			f.stale = append(f.stale, dropped{f.meter.name, key})
		default:
			f.records = append(f.records, foundRecord{key, r})
		}
		return nil
	})
}

// recall is for the meter what was read. Requests that are served meanwhile, because the file was opened anew, are not forgotten.
func (f *found) recall() {
	m := f.meter
	m.known.Store(new([]opened))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.byKey {
		a.kept.Store(0)
		if a.limit.Load() != nil {
			m.ledger.queue(a)
		}
	}
	for _, o := range f.opened {
		m.open(o, f.current)
	}
	for i := range f.records {
		r := &f.records[i]
		a := m.byKey[r.key]
		if a == nil {
			a = &Account{meter: m, key: r.key, text: r.text}
			m.byKey[r.key] = a
		}
		a.recall(&r.record, f.run)
	}
}

// recall is for an account what its record says, unless more is known of it: what each run since may have used without saying so counts
// as used.
func (a *Account) recall(r *record, run uint64) {
	used := min(r.used+times(run-min(r.run, run), r.batch), AmountMax)
	a.batch = r.batch
	for {
		s := a.state.Load()
		period, amount := unpack(s)
		if period > r.period || period == r.period && amount > used {
			return
		}
		if a.state.CompareAndSwap(s, pack(r.period, used)) {
			a.kept.Store(pack(r.period, used+r.batch)) // this run may use as much without saying so
			return
		}
	}
}

func (w *writing) needed() bool {
	return !w.marked || len(w.accounts)+len(w.dropped)+len(w.opened)+len(w.stale)+len(w.read) > 0
}

func (w *writing) update(tx *bbolt.Tx) error {
	if err := w.mark(tx, w.run+1); err != nil {
		return err
	}
	for i := range w.opened {
		if err := w.openIn(tx, &w.opened[i]); err != nil {
			return err
		}
	}
	for _, list := range [][]dropped{w.dropped, w.stale} {
		for _, d := range list {
			b, err := bucket(tx, d.meter, bucketKeys)
			if err == nil {
				err = b.Delete(d.key[:])
			}
			if err != nil {
				return err
			}
		}
	}
	// After the deletions: a key may have come back meanwhile.
	for _, a := range w.accounts {
		kept, err := w.keep(tx, a)
		if err != nil {
			return err
		}
		w.kept = append(w.kept, kept)
	}
	return nil
}

// mark says in which run the file is.
func (w *writing) mark(tx *bbolt.Tx, run uint64) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	if err := meta.Put(keyForm, number(form)); err != nil {
		return err
	}
	return meta.Put(keyRun, number(run))
}

func bucket(tx *bbolt.Tx, meter string, what []byte) (*bbolt.Bucket, error) {
	meters, err := tx.CreateBucketIfNotExists(bucketMeters)
	if err != nil {
		return nil, err
	}
	mine, err := meters.CreateBucketIfNotExists([]byte(meter))
	if err != nil {
		return nil, err
	}
	return mine.CreateBucketIfNotExists(what)
}

// openIn opens a period, unless it was opened by a former run, and forgets those that are far from it: of long ago, or of a clock that was
// ahead. Who was in one of these goes on there by what is kept for it.
func (w *writing) openIn(tx *bbolt.Tx, o *opening) error {
	b, err := bucket(tx, o.meter.name, bucketOpened)
	if err != nil {
		return err
	}
	var old [][]byte
	if err := b.ForEach(func(k, _ []byte) error {
		if len(k) == 8 && apart(binary.BigEndian.Uint64(k), o.period) > openedMax {
			old = append(old, append([]byte(nil), k...))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return b.Put(binary.BigEndian.AppendUint64(nil, o.period), number(w.run))
}

// keep writes what an account may use: a batch more than it has, or what it had no room for. What is used while the file is written is
// bounded by what was kept before.
func (w *writing) keep(tx *bbolt.Tx, a *Account) (uint64, error) {
	l, batch := a.limit.Load(), a.batch
	if l != nil {
		batch = l.Batch
	}
	more := max(batch, a.need.Swap(0))
	s := a.state.Load()
	if s == gone {
		return 0, nil
	}
	period, used := unpack(s)
	if current := a.meter.turn(w.now).period; period < current {
		crashes := uint64(0)
		for _, o := range *a.meter.known.Load() {
			if o.period == current {
				crashes = o.crashes
			}
		}
		period, used = current, times(crashes, batch)
	}
	kept := pack(period, used+more)
	if at, amount := unpack(a.kept.Load()); at == period && amount > used+more {
		a.kept.Store(kept) // it was reset: from now on no more than what the file is going to say
	}
	b, err := bucket(tx, a.meter.name, bucketKeys)
	if err != nil {
		return 0, err
	}
	_, amount := unpack(kept)
	r := record{period: period, run: w.run + 1, used: amount, batch: batch, text: a.text}
	return kept, b.Put(a.key[:], r.append(nil, a.key))
}

// done lets be used what the file says may be.
func (w *writing) done() {
	w.marked = true
	for _, o := range w.opened {
		o.meter.open(o.opened, o.meter.turn(w.now).period)
	}
	for i, a := range w.accounts {
		if w.kept[i] != 0 {
			a.kept.Store(w.kept[i])
		}
	}
	for _, m := range w.read {
		w.loaded[m] = true
		if !m.isReady() {
			close(m.ready)
		}
	}
}

// finish ends the run in good order: the file says what was really used, and that nothing runs. If it cannot, lost says why.
func (l *Ledger) finish(b *book) {
	final := l.end()
	err := guarded(func() error {
		if err := b.settle(); err != nil {
			return err
		}
		return b.db.Update(func(tx *bbolt.Tx) error {
			w := &writing{book: b}
			for _, f := range final {
				keys, err := bucket(tx, f.account.meter.name, bucketKeys)
				if err != nil {
					return err
				}
				r := record{period: f.period, run: b.run, used: f.used, batch: f.batch, text: f.account.text}
				if err := keys.Put(f.account.key[:], r.append(nil, f.account.key)); err != nil {
					return err
				}
			}
			return w.mark(tx, b.run)
		})
	})
	if err != nil {
		l.lost = fmt.Errorf("what was reserved counts as used: %w", l.explain("write", err))
	}
	b.close()
}

// last is what an account has used in the end.
type last struct {
	account     *Account
	period      uint64
	used, batch int64
}

// end gives up all accounts, so that nobody uses anything any more, and returns those that were asked about.
func (l *Ledger) end() []last {
	l.mu.Lock()
	l.problem = "the file of quotas is closed"
	meters := slices.Collect(maps.Values(l.meters))
	l.mu.Unlock()
	l.tell()
	var final []last
	for _, m := range meters {
		m.mu.Lock()
		for _, a := range m.byKey {
			s := a.state.Swap(gone)
			period, used := unpack(s)
			if s == gone || period == 0 {
				continue
			}
			batch := a.batch
			if l := a.limit.Load(); l != nil {
				batch = l.Batch
			}
			final = append(final, last{a, period, used, batch})
		}
		m.byKey = nil
		m.index.Store(newIndex(indexMin))
		m.mu.Unlock()
	}
	return final
}
