package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSummaryText(t *testing.T) {
	f := func(s summary, want string) {
		t.Helper()
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(summary{2.4e-9, 2.4e-9, 2.4e-9}, "2.400ns ±0%")
	f(summary{100e-9, 97e-9, 101e-9}, "100.0ns ±3%")
	f(summary{25.67e-6, 25e-6, 28.2e-6}, "25.67µs ±10%")
	f(summary{1.5e-3, 1.5e-3, 1.5e-3}, "1.500ms ±0%")
}

// TestReport has a table that names what is worse, and the same as JSON.
func TestReport(t *testing.T) {
	e := func(pkg, benchmark string, ratio float64, v verdict, allocs pair) *entry {
		return &entry{Package: pkg, Benchmark: benchmark, Change: change{Ratio: ratio}, Verdict: v, Allocs: allocs}
	}
	r := &report{
		Base: "aaaaaaaaaaaaaaaa", Commit: "bbbbbbbbbbbbbbbb", OnlyNew: []string{"proxy New"}, Identical: []string{"sluice/router"},
		Benchmarks: []*entry{
			e("bench", "Serve/get", 1.20, slower, pair{}), e("bench", "Serve/post", 0.80, faster, pair{1, 0}),
			e("proxy/wire", "Edit", 0.50, same, pair{0, 1}),
		},
	}
	var out bytes.Buffer
	dir := t.TempDir()
	if err := r.write(&out, "sub/r.json", dir); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"bench Serve/get", "SLOWER", "1→0", "0→1", "only in the working tree: proxy New", "nothing to compare: router",
		"geometric mean 0.783, of the whole path 0.980",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, &out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "sub/r.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Benchmarks) != 3 || back.Benchmarks[0].Verdict != slower || back.Benchmarks[0].Change.Ratio != 1.2 || back.Base != r.Base {
		t.Errorf("the JSON says\n%s", text)
	}
	got := strings.Join(r.historyLine("why"), "|")
	if want := "|aaaaaaaaaaaa|bbbbbbbbbbbb|0.980|0.783|bench Serve/get|1.200|bench Serve/post 0 allocs/op instead of 1; proxy/wire Edit 1 allocs/op instead of 0|why"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want ...%s", got, want)
	}
}
