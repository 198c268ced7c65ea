package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// name is a benchmark's: that of its package, within the module, and its own, without "Benchmark".
type name struct{ Package, Benchmark string }

func (n name) String() string { return n.Package + " " + n.Benchmark }

// measured is what one process says about a benchmark.
type measured struct {
	seconds float64 // per operation; of CPU time if the benchmark reports that
	bytes   float64
	allocs  float64
}

// series are the results of all processes of one side.
type series struct{ seconds, bytes, allocs []float64 }

func (s *series) add(m measured) {
	s.seconds = append(s.seconds, m.seconds)
	s.bytes = append(s.bytes, m.bytes)
	s.allocs = append(s.allocs, m.allocs)
}

// side is a tree with what was made of it and found out about it.
type side struct {
	tree     *tree
	folders  map[string]string // of the packages
	binaries map[string]string // of the packages, in the current layout
	results  map[name]*series
}

// processTimeout is for a process that hangs.
const processTimeout = 2 * time.Minute

// run starts one process that measures each of the benchmarks of a package so many times.
func (s *side) run(ctx context.Context, o *options, p *pinned, pkg, bench string, repeat int) error {
	ctx, cancel := context.WithTimeout(ctx, processTimeout)
	defer cancel()
	c := command(ctx, s.folders[pkg], s.binaries[pkg], "-test.run=^$", "-test.bench="+bench, "-test.skip="+o.skip,
		"-test.benchmem", fmt.Sprintf("-test.count=%d", repeat), fmt.Sprintf("-test.benchtime=%s", o.slice))
	// One core, as bound. No collection: when one comes is chance, and what it costs shows as allocations. The memory
	// limit is for benchmarks that allocate so much that they need one.
	c.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=1GiB")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := p.do(c.Start)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return &failure{s.tree.lack, fmt.Errorf("the benchmarks of %s failed in the %s: %w\n%s", pkg, s.tree.side(), err, tail(out.String()))}
	}
	found, err := parse(pkg, out.Bytes())
	for n, m := range found {
		if s.results[n] == nil {
			s.results[n] = new(series)
		}
		s.results[n].add(m)
	}
	return err
}

// parse reads what a process printed. Of the slices of a benchmark the best one counts, in each respect: whatever else goes
// on in the machine makes it slower, and nothing makes it faster.
func parse(pkg string, out []byte) (map[name]measured, error) {
	found := make(map[name]measured)
	r := benchfmt.NewReader(bytes.NewReader(out), pkg)
	for r.Scan() {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		n := name{short(pkg), string(result.Name)}
		best, ok := found[n]
		if !ok {
			best = measured{math.Inf(1), math.Inf(1), math.Inf(1)}
		}
		seconds, ok := result.Value("cpu-sec/op")
		if !ok {
			if seconds, ok = result.Value("sec/op"); !ok {
				return nil, fmt.Errorf("cannot read the result of %s: it has no time", n)
			}
		}
		b, _ := result.Value("B/op")
		allocs, _ := result.Value("allocs/op")
		found[n] = measured{min(best.seconds, seconds), min(best.bytes, b), min(best.allocs, allocs)}
	}
	return found, r.Err()
}

// exactly returns a pattern for these benchmarks of a package and no others.
func exactly(names []name) string {
	var patterns []string
	for _, n := range names {
		var levels []string
		for i, level := range strings.Split(n.Benchmark, "/") {
			if i == 0 {
				level = "Benchmark" + level
			}
			levels = append(levels, "^"+quote(level)+"$")
		}
		patterns = append(patterns, strings.Join(levels, "/"))
	}
	return strings.Join(patterns, "|")
}

// quote escapes what means something in a pattern. A "|" or "/" within one level cannot be said; testing has replaced
// spaces already.
func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.+*?()[]{}^$|`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
