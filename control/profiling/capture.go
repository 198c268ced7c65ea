package profiling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"
)

// watch looks whether a threshold is passed, until ctx ends.
func (r *run) watch(ctx context.Context) {
	defer r.tools.recorder.stop()
	j := judge{Capture: r.options.Capture, captured: r.earlierCaptures()}
	tick := time.NewTicker(j.Over / looksPerWindow)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.reloaded:
			j.forget()
		case <-tick.C:
			if why := j.step(r.look()); why != (reason{}) {
				r.capture(ctx, why)
			}
		}
		r.record(j.suspicious)
	}
}

func (r *run) look() look {
	return look{at: time.Now(), requests: r.requests(r.options.Capture.Except...), cpu: r.tools.cpuTime(), cores: r.tools.cores()}
}

// earlierCaptures are those that the ring remembers: neither a restart nor a reload lifts the limit.
func (r *run) earlierCaptures() []time.Time {
	files, err := r.ring.List()
	if err != nil {
		r.failed(err)
	}
	var times []time.Time
	for _, f := range files {
		if f.Capture && !slices.Contains(times, f.Taken) {
			times = append(times, f.Taken)
		}
	}
	return times
}

// record turns the flight recorder on or off. It stays on through a step only while the judge is suspicious: it costs
// every request some percent.
func (r *run) record(on bool) {
	if !on {
		r.tools.recorder.stop()
		return
	}
	if err := r.tools.recorder.start(); err != nil {
		r.failed(fmt.Errorf("cannot start the flight recorder: %w", err))
	}
}

// capture writes down what the process is doing. What the recorder has seen comes first, before it is forgotten; the CPU
// profile, which takes its time, comes last.
func (r *run) capture(ctx context.Context, why reason) {
	m := r.ring.begin(true)
	defer r.end(m)
	var missing []string
	take := func(kind string, fill func(w io.Writer) error) {
		if err := r.write(m, kind, fill); err != nil {
			missing = append(missing, kind+": "+err.Error())
		}
	}
	goroutines := runtime.NumGoroutine()
	take("trace", r.tools.recorder.snapshot)
	r.tools.recorder.stop()
	take("goroutine", r.tools.goroutines)
	take("cpu", func(w io.Writer) error { return r.tools.cpu(ctx, w, r.options.For) })
	take("reason", func(w io.Writer) error {
		_, err := io.WriteString(w, report(m, why, goroutines, missing))
		return err
	})
	if len(m.files) == 0 {
		return // the log says why
	}
	r.counts.capture(why.threshold)
	said := []any{"folder", r.ring.Folder(), "files", m.files}
	if len(missing) > 0 {
		said = append(said, "missing", missing)
	}
	slog.Warn("captured what the gateway is doing: "+why.text, said...)
}

// report is the text of a capture's reason.txt: whoever finds the files the next morning has no log at hand.
func report(m *moment, why reason, goroutines int, missing []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s.\n%d goroutines, %s.\n\n", m.taken.Format(time.RFC3339), why.text, goroutines, runtime.Version())
	for _, name := range m.files {
		tool := "go tool pprof -top "
		if strings.HasSuffix(name, "."+endings["trace"]) {
			tool = "go tool trace "
		}
		b.WriteString(tool + name + "\n")
	}
	for _, what := range missing {
		b.WriteString("missing: " + what + "\n")
	}
	return b.String()
}

// isBusy tells an error that is nobody's fault: somebody else takes a profile, or the gateway is told otherwise.
func isBusy(err error) bool {
	var busy *Running
	return errors.As(err, &busy) || errors.Is(err, context.Canceled)
}
