package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// event is what go test -json writes a line of: see go doc test2json, and go help buildjson for what it says of builds.
type event struct {
	Action      string
	Package     string
	Test        string
	Output      string
	FailedBuild string
}

// failure is a test that failed: a function of a package, not one of its subtests.
type failure struct{ pkg, test string }

// report collects what a run of tests says and prints of it what go test prints without -v: a line for each package, and everything
// that failed tests wrote.
type report struct {
	out    io.Writer
	wrote  map[failure][]string // until a test has passed; under test "" what is of the package as a whole
	failed []failure
	passed map[failure]int // rounds
	ended  map[failure]bool
	why    string // what cannot be an accident of the machine; "" for nothing
}

func newReport(out io.Writer) *report {
	return &report{out: out, wrote: map[failure][]string{}, passed: map[failure]int{}, ended: map[failure]bool{}}
}

// good tells whether nothing failed.
func (r *report) good() bool { return len(r.failed) == 0 && r.why == "" }

// unforgivable says what makes another run of the failed tests pointless. err is the runner's.
func (r *report) unforgivable(err error) string {
	var exit *exec.ExitError
	switch {
	case r.why != "":
		return r.why
	case err != nil && !errors.As(err, &exit):
		return err.Error()
	case len(r.failed) == 0:
		return "go test failed without a failed test"
	case len(r.failed) > mostUnsteady:
		return fmt.Sprintf("%d tests failed", len(r.failed))
	}
	return ""
}

// signs are written by what is no less true when it is not seen a second time.
var signs = []struct{ text, why string }{
	{"WARNING: DATA RACE", "a data race"},
	{"race detected during execution of test", "a data race"},
	{"ThreadSanitizer", "the race detector broke"},
	{"panic: ", "a panic"},
	{"fatal error: ", "a crash of Go's runtime"},
	{"SIGSEGV", "a crash"},
	{"BUG: ", "a bug that was caught"},
}

// event takes a line of go test -json.
func (r *report) event(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		// What is not JSON comes from the go command itself.
		fmt.Fprintf(r.out, "%s\n", line)
		return
	}
	test, _, _ := strings.Cut(e.Test, "/")
	at := failure{e.Package, test}
	if e.Action == "run" {
		delete(r.ended, at) // the next round
	} else if r.ended[at] {
		at.test = "" // said after its end, by what it left behind
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.why = "it does not build"
	case "output":
		r.output(at, e.Output)
	case "pass", "skip":
		if test == e.Test {
			if e.Action == "pass" {
				r.passed[at]++
			}
			r.ended[at] = test != ""
			delete(r.wrote, at)
		}
	case "fail":
		r.fail(at, e)
	}
}

func (r *report) output(at failure, text string) {
	switch {
	case at.test != "" || !isSummary(text):
		r.wrote[at] = append(r.wrote[at], text)
	default:
		fmt.Fprint(r.out, text)
	}
}

// isSummary tells the line that go test prints for a package when all is well, or not.
func isSummary(text string) bool {
	for _, p := range []string{"ok  \t", "?   \t", "FAIL\t", "---\t", "\t"} {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}

func (r *report) fail(at failure, e event) {
	if e.Test != at.test {
		return // a subtest: its test fails with it
	}
	wrote := r.wrote[at]
	delete(r.wrote, at)
	r.ended[at] = at.test != ""
	if at.test == "" && e.FailedBuild == "" {
		// The package as a whole: what is left of tests that did not come to their end tells why.
		known := false
		for _, f := range r.failed {
			known = known || f.pkg == at.pkg
		}
		for other, text := range r.wrote {
			if other.pkg == at.pkg {
				wrote, known = append(text, wrote...), false
				delete(r.wrote, other)
			}
		}
		if !known && r.why == "" {
			r.why = at.pkg + " failed outside of its tests, or one of them did not end"
		}
	}
	if at.test != "" {
		r.failed = append(r.failed, at)
	}
	for _, text := range wrote {
		if strings.HasPrefix(text, "=== ") || at.test == "" && (text == "FAIL\n" || text == "PASS\n") {
			continue
		}
		fmt.Fprint(r.out, text)
	}
	for _, s := range signs {
		for _, text := range wrote {
			if r.why == "" && strings.Contains(text, s.text) {
				r.why = s.why
			}
		}
	}
}

// lines gives each line of a stream, which may be long.
func lines(from io.Reader, each func(line []byte)) error {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			each(line)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
