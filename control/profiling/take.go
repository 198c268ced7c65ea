package profiling

import (
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"syscall"
	"time"
)

// CPU writes what the cores are busy with until d has passed or ctx ends. The turn must be the caller's.
func CPU(ctx context.Context, w io.Writer, d time.Duration) error {
	if err := pprof.StartCPUProfile(w); err != nil {
		return &Running{} // somebody who does not know of turns, such as go test -cpuprofile
	}
	defer pprof.StopCPUProfile()
	pause(ctx, d, nil)
	return nil
}

// Trace writes an execution trace until d has passed, about bytes bytes are written, or ctx ends: an event is written
// for every switch between goroutines, which can be 10 MB a second. The turn must be the caller's.
func Trace(ctx context.Context, w io.Writer, d time.Duration, bytes int64) error {
	limit := &tripwire{w: w, left: bytes, passed: make(chan struct{})}
	if err := trace.Start(limit); err != nil {
		return &Running{}
	}
	defer trace.Stop()
	pause(ctx, d, limit.passed)
	return nil
}

// tripwire closes passed after so many bytes. It writes on all the same: a trace without its end cannot be read.
type tripwire struct {
	w      io.Writer
	left   int64
	passed chan struct{}
}

func (t *tripwire) Write(p []byte) (int, error) {
	if t.left > 0 && t.left <= int64(len(p)) {
		close(t.passed)
	}
	t.left -= int64(len(p))
	return t.w.Write(p)
}

func pause(ctx context.Context, d time.Duration, enough <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-enough:
	case <-ctx.Done():
	}
}

// At these rates sampling costs a request little even where locks are fought over.
const (
	mutexFraction = 10                     // one of so many contentions is written down
	blockRate     = 100 * time.Microsecond // one wait in so much waiting; longer ones always are
)

// SampleContention makes the runtime fill the profile mutex or block, until restore is called; other profiles need
// nothing. The turn must be the caller's: the rates are the process's.
//
// The profile mutex has a blind spot then: the runtime measures from the first waiter in a queue to the next, so that a
// lock for which goroutines queued before, and whose queue never empties, stays unseen. The profile block shows it.
func SampleContention(profile string) (restore func()) {
	switch profile {
	case "mutex":
		before := runtime.SetMutexProfileFraction(mutexFraction)
		return func() { runtime.SetMutexProfileFraction(before) }
	case "block":
		runtime.SetBlockProfileRate(int(blockRate))
		return func() { runtime.SetBlockProfileRate(0) } // nobody can ask what it was; nothing else here sets it
	}
	return func() {}
}

// instruments are what the continuous profiler measures with. Tests have others.
type instruments struct {
	cpu        func(ctx context.Context, w io.Writer, d time.Duration) error
	heap       func(w io.Writer) error
	goroutines func(w io.Writer) error
	recorder   recorder
	cpuTime    func() time.Duration // of the process, since its start
	cores      func() int
}

// recorder remembers the last seconds of an execution trace while it is on.
type recorder interface {
	start() error
	snapshot(w io.Writer) error
	stop() // does nothing if it is off
}

func realInstruments() instruments {
	return instruments{
		cpu: func(ctx context.Context, w io.Writer, d time.Duration) error {
			end, err := await(ctx, d)
			if err != nil {
				return err
			}
			defer end()
			return CPU(ctx, w, d)
		},
		heap:       func(w io.Writer) error { return pprof.Lookup("heap").WriteTo(w, 0) },
		goroutines: func(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 0) },
		recorder:   new(flightRecorder),
		cpuTime:    processTime,
		cores:      func() int { return runtime.GOMAXPROCS(0) },
	}
}

// What the flight recorder holds at most, whichever is less. The bytes are a hint that it may exceed by a second's worth.
const (
	recordedMax      = 10 * time.Second
	recordedBytesMax = 8 << 20
)

// flightRecorder is a recorder of one goroutine's.
type flightRecorder struct{ on *trace.FlightRecorder }

var errNotRecording = errors.New("the flight recorder is off")

func (f *flightRecorder) start() error {
	if f.on != nil {
		return nil
	}
	r := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: recordedMax, MaxBytes: recordedBytesMax})
	if err := r.Start(); err != nil {
		return err
	}
	f.on = r
	return nil
}

func (f *flightRecorder) snapshot(w io.Writer) error {
	if f.on == nil {
		return errNotRecording
	}
	_, err := f.on.WriteTo(w)
	return err
}

func (f *flightRecorder) stop() {
	if f.on != nil {
		f.on.Stop()
		f.on = nil
	}
}

// processTime is the time that all threads of the process have run, in the kernel included.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("BUG: getrusage of the process itself: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
