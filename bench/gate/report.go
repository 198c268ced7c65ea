package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/perf/benchunit"
)

// report is what a comparison has found. It is written as JSON.
type report struct {
	Date          time.Time
	Base, Commit  string
	Dirty         bool // with changes that are in no commit
	Go            string
	Core          int // -1: not bound to one
	Nice          int
	BuildSeconds  float64
	Seconds       float64
	Rounds        int // processes per side
	ConfirmRounds int
	Benchmarks    []*entry
	Identical     []string // packages whose binaries are the same
	OnlyBase      []string
	OnlyNew       []string
}

func newReport(base, here *tree, cpu *pinned) *report {
	return &report{
		Date: time.Now().UTC().Truncate(time.Second), Base: base.commit, Commit: here.commit, Dirty: here.dirty,
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Core: cpu.core, Nice: cpu.nice,
	}
}

// write prints the table and, if there is a file, writes the JSON.
func (r *report) write(out io.Writer, file, root string) error {
	r.table(out)
	if file == "" {
		return nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(root, file)
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "written to %s\n", file)
	return nil
}

func (r *report) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "benchmark\tbase\tnew\tratio\t99 % interval\tp\tallocs\t\t")
	for _, e := range r.Benchmarks {
		c := &e.Change
		fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%.3f-%.3f\t%.2g\t%s\t%s\t\n", e.name(), c.Base, c.New,
			c.Ratio, c.RatioLo, c.RatioHi, c.P, e.allocations(), e.Verdict)
	}
	if len(r.Benchmarks) > 0 {
		w.Flush()
	}
	list := func(what string, names []string) {
		if len(names) > 0 {
			fmt.Fprintf(out, "%s: %s\n", what, strings.Join(names, ", "))
		}
	}
	list("the same binary on both sides, nothing to compare", shorts(r.Identical))
	list("only in the base", r.OnlyBase)
	list("only in the working tree", r.OnlyNew)
	if len(r.Benchmarks) > 0 {
		fmt.Fprintf(out, "geometric mean %.3f, of the whole path %.3f; %d processes per side, %d to confirm, %.0f s\n", r.geomean(all), r.geomean(wholePath), r.Rounds, r.ConfirmRounds, r.Seconds)
	}
}

// String is the median and how far its interval reaches.
func (s summary) String() string {
	return fmt.Sprintf("%ss ±%.0f%%", benchunit.Scale(s.Median, benchunit.Decimal), 100*max(s.Hi/s.Median-1, 1-s.Lo/s.Median))
}

func (e *entry) allocations() string {
	if e.Allocs.Base == e.Allocs.New {
		return fmt.Sprint(e.Allocs.New)
	}
	return fmt.Sprintf("%v→%v", e.Allocs.Base, e.Allocs.New)
}

func all(*entry) bool { return true }

// wholePath are the benchmarks of a request from the client's bytes to the client's bytes, in memory.
func wholePath(e *entry) bool {
	return e.Package == "bench" && strings.HasPrefix(e.Benchmark, "Serve/")
}

func (r *report) geomean(which func(e *entry) bool) float64 {
	var ratios []float64
	for _, e := range r.Benchmarks {
		if which(e) {
			ratios = append(ratios, e.Change.Ratio)
		}
	}
	return geomean(ratios)
}

// short is a package's path within the module.
func short(pkg string) string {
	_, rest, ok := strings.Cut(pkg, "/")
	if !ok {
		return "."
	}
	return rest
}

func shorts(pkgs []string) []string {
	var list []string
	for _, p := range pkgs {
		list = append(list, short(p))
	}
	return list
}
