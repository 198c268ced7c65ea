package main

import (
	"maps"
	"slices"
	"time"

	"sluice/control/config"
	"sluice/control/profiling"
	"sluice/proxy/observe"
)

// profilingOptions are the boring lines between a configuration and the profiler; nil is off.
func profilingOptions(a config.Admin) *profiling.Options {
	p := a.Continuous()
	if p == nil {
		return nil
	}
	o := &profiling.Options{
		Folder: string(p.To), Every: time.Duration(p.Every), For: time.Duration(p.For), Keep: p.Keep, BytesMax: int64(p.Bytes),
	}
	c := p.CaptureIf
	if c == nil {
		return o
	}
	o.Capture = profiling.Capture{Over: time.Duration(c.Over), Times: c.AtMost.Count, Per: c.AtMost.Per}
	if c.P99 != nil {
		o.Capture.P99 = time.Duration(*c.P99)
	}
	if c.CPU != nil {
		o.Capture.CPU = c.CPU.Fraction()
	}
	for _, route := range c.Except {
		o.Capture.Except = append(o.Capture.Except, route.Text)
	}
	return o
}

// Profiles is where continuous profiling writes to, or nil.
func (g *gateway) Profiles() *profiling.Ring { return g.profiler.Ring() }

func (g *gateway) registerProfiling() {
	m := g.metrics
	m.Func("sluice_profiling_captures_total", "Captures, by the threshold that was passed.", byName("threshold", func() map[string]uint64 {
		return g.profiler.Counts().Captures
	}))
	m.Func("sluice_profiling_files_total", "Files that continuous profiling and captures have written, by kind.", byName("kind", func() map[string]uint64 {
		return g.profiler.Counts().Files
	}))
	m.Func("sluice_profiling_failures_total", "Profiles that could not be written or taken.", observe.Value(func() float64 {
		return float64(g.profiler.Counts().Errors)
	}))
	m.Func("sluice_profiling_stored_bytes", "Bytes of profiles on the disk.", observe.Value(func() float64 {
		return float64(g.profiler.Counts().Bytes)
	}))
}

// byName yields a count for each name, in their order.
func byName(label string, counts func() map[string]uint64) func(yield func(string, float64) bool) {
	return func(yield func(string, float64) bool) {
		all := counts()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if !yield(observe.Labels(label, name), float64(all[name])) {
				return
			}
		}
	}
}
