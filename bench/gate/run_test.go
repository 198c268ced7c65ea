//go:build !race && !invariants

// These take half a minute, and what they compare is built as it is shipped, however they are built themselves: once is enough.

package main

import (
	"strings"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	r := newRepo(t)
	r.gate(0, "-base HEAD", "the same binary on both sides, nothing to compare: work")
	r.gate(0, "-base HEAD -identical", "work Work", "6 processes per side")

	r.change("	for i", "	sink = make([]byte, 64)\n	for i")
	r.gate(codeWorse, "-base HEAD", "ALLOCATES", "0→1", "1 allocs/op instead of 0")
	r.change("	for i", "	if calls++; calls%2 == 0 {\n	sink = make([]byte, 64)\n	}\n	for i")
	r.gate(codeWorse, "-base HEAD", "ALLOCATES", "B/op instead of 0")
	r.change("300", "900")
	r.gate(codeWorse, "-base HEAD -json results/gate.json", "SLOWER", "suspicious: work Work", "worse than the base")
	if text := r.read("results/gate.json"); !strings.Contains(text, `"Verdict": "SLOWER"`) || !strings.Contains(text, `"FirstLook"`) {
		t.Errorf("the results do not say what was found:\n%s", text)
	}
	r.change("300", "100")
	r.gate(0, "-base HEAD", "faster")

	// What only one side has is told, not compared.
	r.change("300", "301")
	r.write("work/work_test.go", workBench+"\nfunc BenchmarkMore(b *testing.B) { BenchmarkWork(b) }\n")
	r.write("more/more_test.go", strings.ReplaceAll(workBench, "Work()", "_ = b.N"))
	r.gate(0, "-base HEAD", "only in the working tree: mini/more, work More")
}

func TestGateAccept(t *testing.T) {
	began := time.Now()
	r := newRepo(t)
	first := r.git("rev-parse", "HEAD")
	r.write(baseFile, first+"\n")
	r.gate(codeBroken, "-accept", "commit your changes first")
	second := r.commit()
	r.gate(0, "-accept", second[:12]+" is the base from now on")
	if got := r.read(baseFile); got != second+"\n" {
		t.Errorf("the base is %q, want %s", got, second)
	}
	r.commit()

	r.change("	for i", "	sink = make([]byte, 64)\n	for i")
	third := r.commit()
	r.gate(codeWorse, "-accept", "ALLOCATES")
	if got := r.read(baseFile); got != second+"\n" {
		t.Errorf("what is worse has become the base: %q", got)
	}
	r.gate(0, "-accept -because=needed", third[:12]+" is the base from now on")
	lines := strings.Split(strings.TrimSpace(r.read(historyFile)), "\n")
	if len(lines) != 3 || lines[0] != strings.Join(historyHead, ",") {
		t.Fatalf("got the history\n%s", strings.Join(lines, "\n"))
	}
	for i, line := range lines[1:] {
		day, rest, _ := strings.Cut(line, ",")
		if day != began.UTC().Format(time.DateOnly) && day != time.Now().UTC().Format(time.DateOnly) { // midnight may be in between
			t.Errorf("the day is %s", day)
		}
		lines[1+i] = rest
	}
	if want := strings.Join([]string{first[:12], second[:12], "1.000,1.000,,1.000,,"}, ","); lines[1] != want {
		t.Errorf("got %s, want %s", lines[1], want)
	}
	if !strings.HasPrefix(lines[2], strings.Join([]string{second[:12], third[:12], ""}, ",")) ||
		!strings.HasSuffix(lines[2], ",work Work 1 allocs/op instead of 0,needed") {
		t.Errorf("got %s", lines[2])
	}
}
