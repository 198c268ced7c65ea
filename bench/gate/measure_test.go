package main

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const out = `goos: linux
goarch: amd64
pkg: sluice/bench
cpu: AMD EPYC
BenchmarkServe/get-0-policies     	   24865	      2434 ns/op	      2438 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkServe/get-0-policies     	   24856	      9379 ns/op	      2385 cpu-ns/op	      16 B/op	       1 allocs/op
BenchmarkServe/get-0-policies     	   24915	      2428 ns/op	      2434 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkChunked/8-KiB	   10000	      1182 ns/op	55451.06 MB/s	      31 B/op	       3 allocs/op
--- BENCH: BenchmarkOther
    x_test.go:1: Benchmark says something
PASS
`
	found, err := parse("sluice/bench", []byte(out))
	if err != nil {
		t.Fatal(err)
	}
	want := map[name]measured{
		{"bench", "Serve/get-0-policies"}: {2385e-9, 0, 0},
		{"bench", "Chunked/8-KiB"}:        {1182e-9, 31, 3},
	}
	for n, m := range found {
		m.seconds = float64(int(m.seconds*1e12+0.5)) / 1e12
		found[n] = m
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("got %v, want %v", found, want)
	}
}

// TestExactly matches patterns as testing does, level by level.
func TestExactly(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		var list []name
		for _, n := range names {
			list = append(list, name{"p", n})
		}
		got := exactly(list)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for i, alternative := range strings.Split(got, "|") {
			levels := strings.Split("Benchmark"+names[i], "/")
			for k, pattern := range strings.Split(alternative, "/") {
				if !regexp.MustCompile(pattern).MatchString(levels[k]) {
					t.Errorf("%s does not match %s", pattern, levels[k])
				}
			}
		}
	}
	f("^BenchmarkEdit$", "Edit")
	f("^BenchmarkServe$/^404$", "Serve/404")
	f("^BenchmarkServe$/^404$|^BenchmarkServe$/^get-0-policies$|^BenchmarkEdit$", "Serve/404", "Serve/get-0-policies", "Edit")
	f(`^BenchmarkA$/^b=\(1\.5\)\+$/^c$`, "A/b=(1.5)+/c")
}

func TestBatches(t *testing.T) {
	f := func(want [][]string, packages ...string) {
		t.Helper()
		if got := batches(packages); !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(nil)
	f([][]string{{"a/x", "a/y"}}, "a/x", "a/y")
	f([][]string{{"a/x", "a/y"}, {"b/x", "b/y"}, {"c/x"}}, "a/x", "b/x", "a/y", "c/x", "b/y")
}
