package profiling

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTurn(t *testing.T) {
	end, err := Begin(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var busy *Running
	if _, err := Begin(time.Second); !errors.As(err, &busy) || busy.Left < 30*time.Second || busy.Left > time.Minute {
		t.Errorf("a second one is told %v", err)
	}
	if got := (&Running{Left: 1234 * time.Millisecond}).Error(); got != "another profile is being taken, for 1.2s more" {
		t.Error(got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := await(ctx, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits is told %v", err)
	}
	got := make(chan error)
	go func() {
		end, err := await(t.Context(), time.Second)
		if err == nil {
			end()
		}
		got <- err
	}()
	end()
	if err := <-got; err != nil {
		t.Errorf("who waited is told %v", err)
	}
	if end, err = Begin(time.Second); err != nil {
		t.Fatal(err)
	}
	end()
}

// busily keeps a core busy until the returned function is called.
func busily() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	return func() { close(done); <-ended }
}

func TestTakes(t *testing.T) {
	defer busily()()
	const gzip, trace = "\x1f\x8b", "go 1."
	f := func(what, magic string, fill func(w io.Writer) error) {
		t.Helper()
		var b bytes.Buffer
		if err := fill(&b); err != nil || !strings.HasPrefix(b.String(), magic) {
			t.Errorf("%s: %v, and %.10q", what, err, b.String())
		}
	}
	tools := realInstruments()
	f("CPU", gzip, func(w io.Writer) error { return CPU(t.Context(), w, 100*time.Millisecond) })
	f("CPU in turn", gzip, func(w io.Writer) error { return tools.cpu(t.Context(), w, 10*time.Millisecond) })
	f("heap", gzip, tools.heap)
	f("goroutines", gzip, tools.goroutines)
	f("trace", trace, func(w io.Writer) error { return Trace(t.Context(), w, 50*time.Millisecond, mib) })
	if err := tools.recorder.snapshot(io.Discard); !errors.Is(err, errNotRecording) {
		t.Errorf("a recorder that is off: %v", err)
	}
	for range 2 { // it can be turned on again
		if err := tools.recorder.start(); err != nil {
			t.Fatal(err)
		}
		if err := tools.recorder.start(); err != nil {
			t.Errorf("started twice: %v", err)
		}
		f("flight recorder", trace, tools.recorder.snapshot)
		f("trace beside the flight recorder", trace, func(w io.Writer) error { return Trace(t.Context(), w, 50*time.Millisecond, mib) })
		tools.recorder.stop()
		tools.recorder.stop()
	}
	if tools.cores() < 1 || tools.cpuTime() <= 0 {
		t.Errorf("%d cores have worked %v", tools.cores(), tools.cpuTime())
	}
}

// TestTakesAreCutShort: by who asked, and a trace by its size.
func TestTakesAreCutShort(t *testing.T) {
	defer busily()()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	var b bytes.Buffer
	if err := CPU(ctx, &b, time.Minute); err != nil || b.Len() == 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	b.Reset()
	// In a minute it would be 100 MB and more. What was traced until the end takes effect comes on top: on a busy machine up to a MB was seen.
	const limit = 100 << 10
	if err := Trace(t.Context(), &b, time.Minute, limit); err != nil || b.Len() < limit || b.Len() > 200*limit {
		t.Errorf("%v, %d bytes of a trace that ends at %d", err, b.Len(), limit)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestOthersProfile: somebody who does not know of turns is an answer, too.
func TestOthersProfile(t *testing.T) {
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Skip("this test is being profiled")
	}
	defer pprof.StopCPUProfile()
	var busy *Running
	if err := CPU(t.Context(), io.Discard, time.Second); !errors.As(err, &busy) {
		t.Errorf("the error is %v", err)
	}
}

func TestSampleContention(t *testing.T) {
	f := func(profile string) {
		t.Helper()
		count := func() int64 { return events(t, profile) }
		before := count()
		contend()
		if got := count(); got != before {
			t.Errorf("%s: %d events were sampled while it was off", profile, got-before)
		}
		restore := SampleContention(profile)
		for begin := time.Now(); count() == before && time.Since(begin) < 20*time.Second; {
			contend()
		}
		restore() // before the count: the runtime's own locks are sampled, too, and nobody knows when they are fought over
		sampled := count()
		if sampled == before {
			t.Errorf("%s: nothing was sampled", profile)
		}
		contend()
		if got := count(); got != sampled {
			t.Errorf("%s: %d events were sampled after it", profile, got-sampled)
		}
	}
	f("mutex")
	f("block")
	SampleContention("heap")()
	if got := runtime.SetMutexProfileFraction(-1); got != 0 {
		t.Errorf("the fraction of mutexes is left at %d", got)
	}
}

// events are what a profile holds so far.
func events(t *testing.T, profile string) (sum int64) {
	t.Helper()
	read := runtime.MutexProfile
	if profile == "block" {
		read = runtime.BlockProfile
	}
	records := make([]runtime.BlockProfileRecord, 10_000)
	n, ok := read(records)
	if !ok {
		t.Fatalf("there are %d records", n)
	}
	for _, r := range records[:n] {
		sum += r.Count
	}
	return sum
}

// contend makes goroutines wait for each other.
func contend() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				mu.Lock()
				time.Sleep(time.Millisecond / 2)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
