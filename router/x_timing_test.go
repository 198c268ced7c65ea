package router

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func BenchmarkLookup(b *testing.B) {
	run := func(name string, patterns, paths []string, want Outcome) {
		table := sync.OnceValue(func() *Table[string] { return mustTable(b, patterns...) }) // it outlives the runs
		b.Run(name, func(b *testing.B) {
			table := table()
			requests := make([]Request, len(paths))
			for i, path := range paths {
				requests[i] = Request{Method: []byte("GET"), Host: []byte("api.shop.example"), Path: []byte(path)}
			}
			random := rand.New(rand.NewPCG(1, 2))
			random.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
			var m Match
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, got := table.Lookup(&requests[i], &m); got != want {
					b.Fatalf("%s: got %v, want %v", requests[i].Path, got, want)
				}
				if i++; i == len(requests) {
					i = 0
				}
			}
		})
	}
	patterns, paths := staticRoutes(10_000)
	run("10k-static", patterns, paths, Found)
	run("10k-miss", patterns, missing(paths), NotFound)
	patterns, paths = parameterRoutes(10_000)
	run("10k-param", patterns, paths, Found)
	run("10k-param-miss", patterns, missing(paths), NotFound)
	patterns, paths = hostRoutes(10_000)
	run("10k-host", patterns, paths, Found)
	patterns, path := bushyRoutes(10)
	run("1k-backtracking-miss", patterns, []string{path}, NotFound)
	run("demo", []string{"GET /items/{id}", "/api/**"}, []string{"/items/42", "/api/v1/things"}, Found)
}

func BenchmarkNew(b *testing.B) {
	patterns, _ := parameterRoutes(10_000)
	routes := mustRoutes(b, patterns...)
	b.ReportAllocs()
	for b.Loop() {
		if table, problems := New(routes); table == nil {
			b.Fatal(problems)
		}
	}
}

func BenchmarkNormalizePath(b *testing.B) {
	run := func(name, path string) {
		b.Run(name, func(b *testing.B) {
			raw, buf := []byte(path), make([]byte, 0, 256)
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := NormalizePath(buf, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("clean", "/v1/orders/5f2c9e3a/items/17/history.json")
	run("escaped", "/v1/orders/%7euser/items/%C3%A9/history.json")
	run("dots", "/v1/./orders/../orders/5f2c9e3a/items/../17")
}

// staticRoutes returns n patterns without parameters and a path for each.
func staticRoutes(n int) (patterns, paths []string) {
	nouns := []string{"orders", "users", "items", "rates", "carts", "payments", "search", "stock"}
	for i := range n {
		path := fmt.Sprintf("/api/v%d/%s/%s-%d/status", i%3, nouns[i%len(nouns)], nouns[i/8%len(nouns)], i)
		patterns = append(patterns, "GET "+path)
		paths = append(paths, path)
	}
	return patterns, paths
}

// parameterRoutes returns n patterns with two parameters each and a path for each.
func parameterRoutes(n int) (patterns, paths []string) {
	for i := range n {
		patterns = append(patterns, fmt.Sprintf("GET /api/team-%d/{user}/service-%d/items/{id}", i%100, i))
		paths = append(paths, fmt.Sprintf("/api/team-%d/alice/service-%d/items/%d", i%100, i, i*7919))
	}
	return patterns, paths
}

// hostRoutes returns n patterns for one host among others.
func hostRoutes(n int) (patterns, paths []string) {
	for i := range n / 2 {
		patterns = append(patterns, fmt.Sprintf("GET host-%d.shop.example/api/**", i), fmt.Sprintf("*.shop.example/tenant-%d/{id}", i))
		paths = append(paths, fmt.Sprintf("/tenant-%d/%d", i, i))
	}
	return patterns, paths
}

// bushyRoutes returns the 2^depth patterns whose segments are "a" or a parameter, and
// a path that each of them matches but for its end: the worst case of backtracking.
func bushyRoutes(depth int) (patterns []string, path string) {
	for i := range 1 << depth {
		pattern := ""
		for d := range depth {
			if i>>d&1 == 0 {
				pattern += "/a"
			} else {
				pattern += fmt.Sprintf("/{p%d}", d)
			}
		}
		patterns = append(patterns, pattern+"/end")
	}
	for range depth {
		path += "/a"
	}
	return patterns, path + "/nothing"
}

func missing(paths []string) []string {
	var out []string
	for _, path := range paths {
		out = append(out, path+"x/y")
	}
	return out
}
