package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// entry is a benchmark that both sides have.
type entry struct {
	Package   string // within the module
	Benchmark string
	Change    change
	Allocs    pair // per operation
	Bytes     pair
	Verdict   verdict
	FirstLook *change `json:",omitempty"` // of one that was measured again

	pkg string
}

// pair is a median on both sides.
type pair struct{ Base, New float64 }

// verdict is what the gate thinks of a benchmark.
type verdict string

const (
	same      verdict = ""
	faster    verdict = "faster"
	cleared   verdict = "cleared"     // looked worse at first
	below     verdict = "below limit" // slower for certain, but not enough to matter
	suspected verdict = "suspected"
	slower    verdict = "SLOWER"
	allocates verdict = "ALLOCATES"
)

func (e *entry) name() name { return name{e.Package, e.Benchmark} }

func (e *entry) String() string {
	s := fmt.Sprintf("%s %.3f (p=%.2g)", e.name(), e.Change.Ratio, e.Change.P)
	if more := e.more(); more != "" {
		s += ", " + more
	}
	return s
}

// more says what is allocated more, or "".
func (e *entry) more() string {
	switch {
	case e.Allocs.New != e.Allocs.Base:
		return fmt.Sprintf("%v allocs/op instead of %v", e.Allocs.New, e.Allocs.Base)
	case e.Bytes.New-e.Bytes.Base >= bytesMin || e.Bytes.Base-e.Bytes.New >= bytesMin:
		return fmt.Sprintf("%v B/op instead of %v", e.Bytes.New, e.Bytes.Base)
	}
	return ""
}

// judge compares what the first look has measured.
func (r *report) judge(base, here map[name]*series, folders map[string]string) error {
	long := make(map[string]string)
	for pkg := range folders {
		long[short(pkg)] = pkg
	}
	byName := func(a, b name) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Benchmark, b.Benchmark))
	}
	for _, n := range slices.SortedFunc(maps.Keys(base), byName) {
		if here[n] == nil {
			r.OnlyBase = append(r.OnlyBase, n.String())
			continue
		}
		e := &entry{Package: n.Package, Benchmark: n.Benchmark, pkg: long[n.Package]}
		e.look(base[n], here[n])
		r.Benchmarks = append(r.Benchmarks, e)
	}
	for _, n := range slices.SortedFunc(maps.Keys(here), byName) {
		if base[n] == nil {
			r.OnlyNew = append(r.OnlyNew, n.String())
		}
	}
	if len(r.Benchmarks) == 0 {
		return &failure{codeNoBase, errors.New("there is no benchmark that both sides have")}
	}
	return nil
}

// fill compares the two sides.
func (e *entry) fill(base, here *series) {
	e.Change = compareTimes(base.seconds, here.seconds, alpha)
	e.Allocs = pair{medianOf(base.allocs), medianOf(here.allocs)}
	e.Bytes = pair{medianOf(base.bytes), medianOf(here.bytes)}
}

// look is the first judgement.
func (e *entry) look(base, here *series) {
	e.fill(base, here)
	switch c := &e.Change; {
	case e.allocatesMore(base, here, suspectAlpha), c.worse(suspectMin) && c.P < suspectAlpha:
		e.Verdict = suspected
	case c.Significantly && c.Ratio <= 1/suspectMin:
		e.Verdict = faster
	}
}

// again is a benchmark with what was measured in the end.
type again struct {
	*entry
	base, here *series
}

// decide is the last judgement, of all that were measured again, together. Each of m has a chance to look worse that is not:
// the least probable one has to be so at alpha/m, the next at alpha/(m-1), and so on to the first that is not (Holm). So the
// chance that any of them is accused wrongly is alpha, however many there are.
func decide(list []again) {
	for _, a := range list {
		first := a.Change
		a.FirstLook = &first
		a.fill(a.base, a.here)
		a.Verdict = cleared
	}
	slices.SortStableFunc(list, func(a, b again) int { return cmp.Compare(a.Change.P, b.Change.P) })
	certain := true
	for i, a := range list {
		c := &a.Change
		certain = certain && c.P < alpha/float64(len(list)-i)
		switch {
		case a.allocatesMore(a.base, a.here, alpha/float64(len(list))):
			a.Verdict = allocates
		case certain && c.worse(slowerMin):
			a.Verdict = slower
		case certain && c.worse(suspectMin):
			a.Verdict = below
		}
	}
}

// worse reports whether the difference is large enough to matter, whatever the chance that it is one.
func (c *change) worse(min float64) bool {
	return c.Ratio >= min && c.New.Median-c.Base.Median >= leastSeconds
}

// allocatesMore compares medians: an allocation that a process has made by chance does not move them, one that every
// operation makes always does. The test keeps counts that vary anyway from being taken for more.
func (e *entry) allocatesMore(base, here *series, alpha float64) bool {
	return e.Allocs.New > e.Allocs.Base && uTest(base.allocs, here.allocs) < alpha ||
		e.Bytes.New-e.Bytes.Base >= bytesMin && uTest(base.bytes, here.bytes) < alpha
}

// suspects returns what has to be measured again, the worst first.
func (r *report) suspects() []*entry {
	list := r.having(suspected)
	slices.SortStableFunc(list, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.Allocs.New-b.Allocs.Base, a.Allocs.New-a.Allocs.Base), cmp.Compare(b.Change.Ratio, a.Change.Ratio))
	})
	return list
}

func (r *report) having(v ...verdict) []*entry {
	var list []*entry
	for _, e := range r.Benchmarks {
		if slices.Contains(v, e.Verdict) {
			list = append(list, e)
		}
	}
	return list
}

// err says what is wrong with the working tree, if anything.
func (r *report) err() error {
	if worse := r.having(slower, allocates); len(worse) > 0 {
		lines := []string{"worse than the base:"}
		for _, e := range worse {
			lines = append(lines, fmt.Sprintf("  %-9s %s", e.Verdict, e))
		}
		return &failure{codeWorse, errors.New(strings.Join(lines, "\n"))}
	}
	if open := r.having(suspected); len(open) > 0 {
		return &failure{codeBroken, fmt.Errorf("%d benchmarks look worse and there was no time to measure them again: give more with -budget", len(open))}
	}
	return nil
}
