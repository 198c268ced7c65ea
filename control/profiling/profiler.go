package profiling

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/observe"
)

// Options say what is taken continuously, and when a capture is.
type Options struct {
	Folder   string
	Every    time.Duration // the continuous profiles: so often
	For      time.Duration // a CPU profile of this length, also in a capture; below Every
	Keep     int           // moments of each kind on the disk, at least 1
	BytesMax int64         // of all files together
	Capture  Capture
}

// Profiler takes profiles without being asked. Its methods are safe for concurrent use.
type Profiler struct {
	requests func(except ...string) observe.Durations
	tools    instruments
	counts   counts

	mu      sync.Mutex
	current *run          // nil: off
	last    chan struct{} // closed when the latest run has ended; nil: there was none
}

// New returns a profiler that is off. requests says how long requests have taken so far, those of some routes excepted.
func New(requests func(except ...string) observe.Durations) *Profiler {
	return &Profiler{requests: requests, tools: realInstruments(), counts: newCounts()}
}

// Set makes o count from now on; nil turns profiling off. It never waits for the disk: what runs so far ends by itself,
// and what is new begins after it.
func (p *Profiler) Set(o *Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && o != nil && reflect.DeepEqual(p.current.options, *o) {
		p.current.reload()
		return
	}
	if p.current != nil {
		p.current.stop()
		p.current = nil
	}
	if o != nil {
		p.current = p.begin(*o)
	}
}

// Ring is where the profiles are, or nil when profiling is off.
func (p *Profiler) Ring() *Ring {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil
	}
	return p.current.ring
}

// Close turns profiling off for good, and waits for what is being written until ctx ends.
func (p *Profiler) Close(ctx context.Context) error {
	p.Set(nil)
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	if last == nil {
		return nil
	}
	select {
	case <-last:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot finish the last profile: %w", ctx.Err())
	}
}

// run is continuous profiling with one set of options.
type run struct {
	options  Options
	ring     *Ring
	requests func(except ...string) observe.Durations
	tools    instruments
	counts   *counts
	stop     context.CancelFunc
	reloaded chan struct{}
	failing  atomic.Bool // the last file could not be written, which was logged
}

// begin starts a run, which waits for the one before it. p.mu is held.
func (p *Profiler) begin(o Options) *run {
	ctx, stop := context.WithCancel(context.Background())
	r := &run{
		options: o, ring: NewRing(o.Folder, o.Keep, o.BytesMax),
		requests: p.requests, tools: p.tools, counts: &p.counts,
		stop: stop, reloaded: make(chan struct{}, 1),
	}
	before, ended := p.last, make(chan struct{})
	p.last = ended
	go func() {
		defer close(ended)
		if before != nil {
			<-before
		}
		if err := r.ring.tidy(); err != nil {
			r.failed(err)
		}
		var work sync.WaitGroup
		work.Go(func() { r.guarded(ctx, r.repeat) })
		if o.Capture.on() {
			work.Go(func() { r.guarded(ctx, r.watch) })
		}
		work.Wait()
	}()
	return r
}

// reload says that the gateway has a new configuration, in which profiling is the same.
func (r *run) reload() {
	select {
	case r.reloaded <- struct{}{}:
	default: // it was said already
	}
}

// guarded contains a bug: profiling ends, the gateway does not.
func (r *run) guarded(ctx context.Context, work func(context.Context)) {
	defer func() {
		if p := recover(); p != nil {
			r.counts.errors.Add(1)
			slog.Error("BUG: panic in profiling, which ends until the next change of admin.profiling", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	work(ctx)
}

// repeat takes the continuous profiles until ctx ends.
func (r *run) repeat(ctx context.Context) {
	tick := time.NewTicker(r.options.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.round(ctx)
		}
	}
}

// round takes one set of continuous profiles: a CPU profile, and the heap as of the last garbage collection. What
// cannot be taken was logged, and is missing.
func (r *run) round(ctx context.Context) {
	m := r.ring.begin(false)
	defer r.end(m)
	_ = r.write(m, "cpu", func(w io.Writer) error { return r.tools.cpu(ctx, w, r.options.For) })
	_ = r.write(m, "heap", r.tools.heap)
}

// write adds a file to m and counts it. An error has been logged.
func (r *run) write(m *moment, kind string, fill func(w io.Writer) error) error {
	err := m.write(kind, fill)
	if err != nil {
		r.failed(err)
		return err
	}
	r.counts.files[kind].Add(1)
	if r.failing.Swap(false) {
		slog.Info("profiles can be written again", "folder", r.ring.Folder())
	}
	return nil
}

func (r *run) end(m *moment) {
	if err := m.end(); err != nil {
		r.failed(err)
	}
}

// failed logs an error: the first one in a row aloud. A disk that stays full would fill the log as well.
func (r *run) failed(err error) {
	if isBusy(err) {
		slog.Debug("a profile was not taken", "error", err)
		return
	}
	r.counts.errors.Add(1)
	level := slog.LevelError
	if r.failing.Swap(true) {
		level = slog.LevelDebug
	}
	slog.Log(context.Background(), level, "profiling goes on without a profile", "error", err)
}

// Counts is what the metrics show. The maps have every key from the beginning.
type Counts struct {
	Files    map[string]uint64 // written, by kind
	Captures map[string]uint64 // by the threshold that was passed: p99, cpu
	Errors   uint64
	Bytes    int64 // on the disk
}

// Counts returns what has happened so far.
func (p *Profiler) Counts() Counts {
	c := Counts{Files: map[string]uint64{}, Captures: map[string]uint64{}, Errors: p.counts.errors.Load()}
	for kind, n := range p.counts.files {
		c.Files[kind] = n.Load()
	}
	for threshold, n := range p.counts.captures {
		c.Captures[threshold] = n.Load()
	}
	if ring := p.Ring(); ring != nil {
		c.Bytes = ring.bytes.Load()
	}
	return c
}

// counts has maps that nobody changes, of counters.
type counts struct {
	files, captures map[string]*atomic.Uint64
	errors          atomic.Uint64
}

func newCounts() counts {
	return counts{files: counters(slices.Collect(maps.Keys(endings))...), captures: counters("p99", "cpu")}
}

func counters(names ...string) map[string]*atomic.Uint64 {
	m := make(map[string]*atomic.Uint64, len(names))
	for _, name := range names {
		m[name] = new(atomic.Uint64)
	}
	return m
}

func (c *counts) capture(threshold string) { c.captures[threshold].Add(1) }
