package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	f := func(n int, want string) {
		t.Helper()
		if got := number(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	f(0, "0")
	f(999, "999")
	f(1000, "1,000")
	f(18_000, "18,000")
	f(1_000_007, "1,000,007")
}

func TestSpread(t *testing.T) {
	f := func(proxy, load, cores string, shared bool, want ...int) {
		t.Helper()
		p, threads, err := plan{proxy: proxy, load: load}.spread()
		if err != nil || p.proxy != cores || p.shared != shared || len(threads) != len(want) {
			t.Fatalf("%s and %s: %s, shared %v, %v, error %v", proxy, load, p.proxy, p.shared, threads, err)
		}
		for i, n := range want {
			if threads[i] != n {
				t.Errorf("%s and %s: %v, want %v", proxy, load, threads, want)
			}
		}
	}
	f("0", "1", "0,1", true, 1, 2)
	f("0-1", "2-3", "0-1", false, 1, 2)
	f("0-7", "8-15", "0-7", false, 1, 2, 4, 8)
	f("0-5", "8-15", "0-5", false, 1, 2, 4, 6)
	if _, _, err := (plan{proxy: "x", load: "1"}).spread(); err == nil {
		t.Error("x is no list of cores")
	}
}

func TestGrowthTable(t *testing.T) {
	rounds := func(cost float64) []sample {
		return []sample{{Cost: cost, PerSecond: 100 / cost, P99: cost, RSS: 2048}, {Cost: 2 * cost, PerSecond: 50 / cost, P99: 2 * cost, RSS: 2048}}
	}
	f := func(g growth, want string, costs ...float64) {
		t.Helper()
		var samples [][]sample
		for _, c := range costs {
			samples = append(samples, rounds(c))
		}
		if got := g.table(samples); !strings.HasSuffix(got, want) {
			t.Errorf("%s\nwant at its end\n%s", got, want)
		}
	}
	f(growth{grows: "x", base: 1, rows: []growthRow{{label: "1"}, {label: "8"}}}, "| 1 | 2.00 | 0.50 | 2.00 | 2 |\n| 8 | 1.00 | 1.00 | 1.00 | 2 |\n", 20, 10)
	f(growth{grows: "cores", cores: true, rows: []growthRow{{label: "1, a"}, {label: "2, a"}, {label: "1, b"}, {label: "2, b"}}},
		"| 1, a | 1.00 | 1.00 | 1.00 | 2 |\n| 2, a | 1.50 | 0.67 | 1.50 | 2 |\n| 1, b | 1.00 | 1.00 | 1.00 | 2 |\n| 2, b | 0.50 | 2.00 | 0.50 | 2 |\n", 10, 15, 40, 20)
}

func TestUpdate(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	f := func(text string, tables map[string]string, want, complaint string) {
		t.Helper()
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := update(page, tables)
		if complaint != "" {
			if err == nil || !strings.Contains(err.Error(), complaint) {
				t.Errorf("error %v, want %q", err, complaint)
			}
			return
		}
		if got, readErr := os.ReadFile(page); err != nil || readErr != nil || string(got) != want {
			t.Errorf("%q, errors %v and %v; want %q", got, err, readErr, want)
		}
	}
	const text = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\nc\n"
	f(text, map[string]string{"x": "new\n"}, "a\n<!-- x -->\nnew\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\nc\n", "")
	f(text, map[string]string{"x": "1\n", "y": "2\n"}, "a\n<!-- x -->\n1\n<!-- end -->\nb\n<!-- y -->\n2\n<!-- end -->\nc\n", "")
	f(text, map[string]string{"z": "1\n"}, "", "no place for the table z")
	f("<!-- x -->\nold\n", map[string]string{"x": "1\n"}, "", "no place for the table x")
}

// TestCapacityPage: the page has a place for each table, and what it names in the code is there.
func TestCapacityPage(t *testing.T) {
	text, err := os.ReadFile("CAPACITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(growthNames(growths(peer{}, []int{1, 2})), "host") {
		if _, rest, ok := strings.Cut(string(text), "<!-- "+name+" -->\n"); !ok || !strings.Contains(rest, "<!-- end -->") {
			t.Errorf("there is no place for %s", name)
		}
	}
	files := regexp.MustCompile("`([a-z/]+\\.go)`").FindAllStringSubmatch(string(text), -1)
	if len(files) < 5 {
		t.Errorf("it names only %d files", len(files))
	}
	for _, file := range files {
		if _, err := os.Stat(filepath.Join("..", file[1])); err != nil {
			t.Errorf("it names %s: %v", file[1], err)
		}
	}
}
