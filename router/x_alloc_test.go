//go:build !race

package router

import (
	"syscall"
	"testing"
	"time"
)

func TestLookup_allocatesNothing(t *testing.T) {
	patterns, paths := parameterRoutes(1000)
	routes := mustRoutes(t, append(patterns, "*.shop.example/x/{id:[0-9]+}/**")...)
	routes = append(routes,
		withPredicates(t, "/p", "header A: x", "query b: prefix y", "cookie c: regex ^z", "json d: present"),
		withPredicates(t, "POST /q", "header A: x"),
	)
	table := mustNew(t, routes)
	values := &fixedValues{value: []byte("xyz")}
	f := func(method, path string, want Outcome) {
		t.Helper()
		r := Request{Method: []byte(method), Host: []byte("api.shop.example"), Path: []byte(path), Values: values}
		var m Match
		allow := make([]byte, 0, 256)
		allocs := testing.AllocsPerRun(1000, func() {
			if _, got := table.Lookup(&r, &m); got != want {
				t.Fatalf("%s: got %v, want %v", path, got, want)
			}
			allow = table.AppendAllow(allow[:0], &r)
		})
		if allocs != 0 {
			t.Fatalf("%s %s: %v allocations", method, path, allocs)
		}
	}
	f("GET", paths[500], Found)
	f("HEAD", paths[500], Found)
	f("POST", paths[500], MethodNotAllowed)
	f("OPTIONS", paths[500], Options)
	f("BREW", paths[500]+"x/y", NotFound)
	f("GET", "/x/42/a/b", Found)
	f("GET", "/p", NotFound) // header A is xyz
	f("GET", "/q", NotFound)
	values.value = []byte("x")
	f("GET", "/q", MethodNotAllowed)
	f("OPTIONS", "*", Options)
}

// fixedValues has one value for everything.
type fixedValues struct{ value []byte }

func (v *fixedValues) Header(string) ([]byte, bool) { return v.value, true }
func (v *fixedValues) Query(string) ([]byte, bool)  { return v.value, true }
func (v *fixedValues) Cookie(string) ([]byte, bool) { return v.value, true }
func (v *fixedValues) JSON(string) ([]byte, bool)   { return v.value, true }

func TestNormalizePath_allocatesNothing(t *testing.T) {
	f := func(path string) {
		t.Helper()
		raw, buf := []byte(path), make([]byte, 0, 64)
		if n := testing.AllocsPerRun(1000, func() { NormalizePath(buf, raw) }); n != 0 {
			t.Fatalf("%s: %v allocations", path, n)
		}
	}
	f("/a/b/c")
	f("/a/%2e%2e/b%41/../c/.")
	f("/a/%zz")
	f("/a/\x00")
}

// TestNew_isFast measures the time of the cores, some 50 ms for each table: on a busy machine it may be a second until they have been had.
func TestNew_isFast(t *testing.T) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	f := func(patterns, _ []string) {
		t.Helper()
		routes := mustRoutes(t, patterns...)
		before := used()
		mustNew(t, routes)
		if took := used() - before; took > time.Second {
			t.Fatalf("building %d routes took %v", len(routes), took)
		}
	}
	f(staticRoutes(10_000))
	f(parameterRoutes(10_000))
	f(hostRoutes(10_000))
}
