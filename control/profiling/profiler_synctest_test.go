package profiling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/observe"
)

// fakes are instruments that write down what is asked of them, and requests that are as slow as a test wants.
type fakes struct {
	mu       sync.Mutex
	began    time.Time
	events   []string
	slow     bool // every request from now on
	busy     bool // the process, from now on
	since    time.Time
	requests observe.Durations
	cpu      time.Duration
	cpuError error
	panics   bool
	on       bool
}

func newFakes() *fakes { return &fakes{began: time.Now(), since: time.Now()} }

func (f *fakes) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, fmt.Sprintf("%v %s", time.Since(f.began), fmt.Sprintf(format, args...)))
}

// pass counts the requests and the time since the last call: 100 a second, and half a core.
func (f *fakes) pass() {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := time.Since(f.since)
	f.since = time.Now()
	bucket, share := 2, 0.5
	if f.slow {
		bucket = 12
	}
	if f.busy {
		share = 2
	}
	f.requests[bucket] += uint64(d.Seconds() * 100)
	f.cpu += time.Duration(share * float64(d))
}

func (f *fakes) become(slow, busy bool) {
	f.pass()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow, f.busy = slow, busy
}

func (f *fakes) durations(...string) observe.Durations {
	f.pass()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("a bug")
	}
	return f.requests
}

func (f *fakes) instruments() instruments {
	return instruments{
		cpu: func(ctx context.Context, w io.Writer, d time.Duration) error {
			if f.cpuError != nil {
				return f.cpuError
			}
			pause(ctx, d, nil)
			_, err := io.WriteString(w, "cpu")
			return err
		},
		heap:       func(w io.Writer) error { _, err := io.WriteString(w, "heap"); return err },
		goroutines: func(w io.Writer) error { _, err := io.WriteString(w, "goroutines"); return err },
		recorder:   f,
		cpuTime: func() time.Duration {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.cpu
		},
		cores: func() int { return 2 },
	}
}

func (f *fakes) start() error {
	if !f.on {
		f.on = true
		f.note("recorder on")
	}
	return nil
}

func (f *fakes) snapshot(w io.Writer) error {
	if !f.on {
		return errNotRecording
	}
	_, err := io.WriteString(w, "trace")
	return err
}

func (f *fakes) stop() {
	if f.on {
		f.on = false
		f.note("recorder off")
	}
}

func (f *fakes) profiler() *Profiler {
	p := New(f.durations)
	p.tools = f.instruments()
	return p
}

func closeProfiler(t *testing.T, p *Profiler) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// taken lists a ring, oldest first, as the time since the bubble's beginning and the kind.
func taken(t *testing.T, r *Ring, f *fakes) string {
	t.Helper()
	files, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := len(files) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "%v %s ", files[i].Taken.Sub(f.began), files[i].Kind)
	}
	return strings.TrimSpace(b.String())
}

func TestContinuous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := f.profiler()
		if p.Ring() != nil {
			t.Error("a profiler is on before it was set")
		}
		o := Options{Folder: t.TempDir(), Every: 5 * time.Minute, For: 10 * time.Second, Keep: 2, BytesMax: mib}
		p.Set(&o)
		ring := p.Ring()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := taken(t, ring, f); got != "" {
			t.Errorf("%s is there before it can be", got)
		}
		time.Sleep(11 * time.Second)
		if got := taken(t, ring, f); got != "5m0s heap 5m0s cpu" {
			t.Errorf("taken: %s", got)
		}

		// A reload that leaves the options alone does not begin anew.
		same := o
		p.Set(&same)
		if p.Ring() != ring {
			t.Error("the same options made another ring")
		}
		time.Sleep(10 * time.Minute)
		if got := taken(t, ring, f); got != "10m0s heap 10m0s cpu 15m0s heap 15m0s cpu" {
			t.Errorf("taken: %s", got)
		}
		if c := p.Counts(); c.Files["cpu"] != 3 || c.Files["heap"] != 3 || c.Errors != 0 || c.Bytes != 14 {
			t.Errorf("counted: %+v", c)
		}

		// Other options count at once; what was under way is cut short and kept.
		time.Sleep(4*time.Minute + 52*time.Second) // 20m03s
		other := o
		other.Every, other.Keep = time.Minute, 3
		p.Set(&other)
		time.Sleep(time.Second)
		if got := taken(t, p.Ring(), f); got != "15m0s heap 15m0s cpu 20m0s heap 20m0s cpu" {
			t.Errorf("taken: %s", got)
		}
		time.Sleep(time.Minute + 10*time.Second)
		if got := taken(t, p.Ring(), f); got != "15m0s heap 15m0s cpu 20m0s heap 20m0s cpu 21m3s heap 21m3s cpu" {
			t.Errorf("taken: %s", got)
		}
		p.Set(nil)
		if p.Ring() != nil {
			t.Error("off, there is still a ring")
		}
		before := p.Counts().Files["cpu"]
		time.Sleep(time.Hour)
		if got := p.Counts().Files["cpu"]; got != before {
			t.Errorf("off, %d profiles were taken", got-before)
		}
		closeProfiler(t, p)
	})
}

func TestCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := f.profiler()
		o := Options{
			Folder: t.TempDir(), Every: time.Hour, For: 3 * time.Second, Keep: 10, BytesMax: mib,
			Capture: Capture{P99: 250 * time.Millisecond, CPU: 0.9, Over: 8 * time.Second, Times: 1, Per: time.Minute},
		}
		p.Set(&o)
		time.Sleep(21 * time.Second)
		f.become(true, false)
		time.Sleep(9 * time.Second)
		// The look at 22 s is suspicious, the one at 24 s sees it confirmed.
		if got := taken(t, p.Ring(), f); got != "24s trace 24s reason 24s goroutine 24s cpu" {
			t.Errorf("taken: %s", got)
		}
		time.Sleep(20 * time.Second) // 50 s: still slow, but once a minute is enough
		f.become(false, true)        // now it is busy instead
		time.Sleep(50 * time.Second)
		if got := taken(t, p.Ring(), f); got != "24s trace 24s reason 24s goroutine 24s cpu 1m26s trace 1m26s reason 1m26s goroutine 1m26s cpu" {
			t.Errorf("taken: %s", got)
		}
		closeProfiler(t, p)
		if got := strings.Join(f.events, ", "); got != "22s recorder on, 24s recorder off, 1m24s recorder on, 1m26s recorder off" {
			t.Errorf("the recorder: %s", got)
		}
		c := p.Counts()
		if c.Captures["p99"] != 1 || c.Captures["cpu"] != 1 || c.Errors != 0 || c.Files["trace"] != 2 {
			t.Errorf("counted: %+v", c)
		}
		files, err := NewRing(o.Folder, 1, 1).List()
		if err != nil || len(files) != 8 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, file := range files {
			if !file.Capture {
				t.Errorf("%s is no capture", file.Name)
			}
			if file.Kind != "reason" {
				continue
			}
			text, err := os.ReadFile(filepath.Join(o.Folder, file.Name))
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{"and the threshold is ", "go tool pprof -top " + file.Taken.Format(momentLayout) + ".capture.cpu.pprof", "go tool trace "} {
				if !strings.Contains(string(text), part) {
					t.Errorf("%s has no %q:\n%s", file.Name, part, text)
				}
			}
		}
	})
}

// TestCaptureLimitSurvives: what the ring holds counts against the limit, whoever took it.
func TestCaptureLimitSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.slow = true
		o := Options{
			Folder: t.TempDir(), Every: time.Hour, For: time.Second, Keep: 10, BytesMax: mib,
			Capture: Capture{P99: 250 * time.Millisecond, Over: 8 * time.Second, Times: 1, Per: 10 * time.Minute},
		}
		for range 3 {
			p := f.profiler()
			p.Set(&o)
			time.Sleep(time.Minute)
			other := o
			other.For = 2 * time.Second
			p.Set(&other)
			time.Sleep(time.Minute)
			closeProfiler(t, p)
		}
		if got := taken(t, NewRing(o.Folder, 1, 1), f); got != "12s trace 12s reason 12s goroutine 12s cpu" {
			t.Errorf("taken: %s", got)
		}
	})
}

// TestCaptureWithoutCPU: somebody else's profile costs a capture that part only.
func TestCaptureWithoutCPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.slow, f.cpuError = true, &Running{Left: 5 * time.Second}
		p := f.profiler()
		o := Options{
			Folder: t.TempDir(), Every: 5 * time.Second, For: time.Second, Keep: 1, BytesMax: mib,
			Capture: Capture{P99: 250 * time.Millisecond, Over: 8 * time.Second, Times: 1, Per: time.Hour},
		}
		p.Set(&o)
		time.Sleep(14 * time.Second)
		closeProfiler(t, p)
		if got := taken(t, NewRing(o.Folder, 1, 1), f); got != "10s heap 12s trace 12s reason 12s goroutine" {
			t.Errorf("taken: %s", got)
		}
		if c := p.Counts(); c.Errors != 0 || c.Captures["p99"] != 1 || c.Files["cpu"] != 0 {
			t.Errorf("counted: %+v", c)
		}
		reasons, err := filepath.Glob(filepath.Join(o.Folder, "*.reason.txt"))
		if err != nil || len(reasons) != 1 {
			t.Fatal(reasons, err)
		}
		if text, err := os.ReadFile(reasons[0]); err != nil || !strings.Contains(string(text), "missing: cpu: ") || !strings.Contains(string(text), "another profile is being taken, for 5s more") {
			t.Errorf("%s (%v)", text, err)
		}
	})
}

// TestHarmless: a folder that cannot be written costs profiles and counts, and works again when it can.
func TestHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := f.profiler()
		parent := t.TempDir()
		o := Options{Folder: filepath.Join(parent, "file", "profiles"), Every: time.Minute, For: time.Second, Keep: 5, BytesMax: mib}
		if err := os.WriteFile(filepath.Join(parent, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p.Set(&o)
		time.Sleep(2*time.Minute + 30*time.Second)
		if c := p.Counts(); c.Errors < 4 || c.Files["cpu"] != 0 {
			t.Errorf("counted: %+v", c)
		}
		if err := os.Remove(filepath.Join(parent, "file")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := taken(t, p.Ring(), f); got != "3m0s heap 3m0s cpu" {
			t.Errorf("taken: %s", got)
		}
		closeProfiler(t, p)
	})
}

// TestPanicIsContained: a bug ends profiling and nothing else, until the options change.
func TestPanicIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.panics = true
		p := f.profiler()
		o := Options{
			Folder: t.TempDir(), Every: time.Minute, For: time.Second, Keep: 5, BytesMax: mib,
			Capture: Capture{P99: time.Second, Over: 8 * time.Second, Times: 1, Per: time.Minute},
		}
		p.Set(&o)
		time.Sleep(time.Minute + 30*time.Second)
		if c := p.Counts(); c.Errors != 1 || c.Files["cpu"] != 1 {
			t.Errorf("counted: %+v", c)
		}
		closeProfiler(t, p)
	})
}

// TestSetNeverWaits: a disk that hangs holds up neither a reload nor, beyond its patience, the end.
func TestSetNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		p := f.profiler()
		hangs := make(chan struct{})
		p.tools.heap = func(io.Writer) error { <-hangs; return errors.New("it was gone") }
		o := Options{Folder: t.TempDir(), Every: time.Minute, For: time.Second, Keep: 5, BytesMax: mib}
		p.Set(&o)
		time.Sleep(90 * time.Second) // the heap hangs
		begin := time.Now()
		other := o
		other.Keep = 6
		p.Set(&other)
		p.Set(nil)
		p.Set(&o)
		if took := time.Since(begin); took != 0 {
			t.Errorf("changing the options took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Close returned %v after %v", err, time.Since(begin))
		}
		close(hangs)
		closeProfiler(t, p)
	})
}
