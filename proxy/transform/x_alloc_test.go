//go:build !race

package transform

import (
	"testing"

	"sluice/proxy"
)

func TestServeAllocates(t *testing.T) {
	f := func(name string, p proxy.Policy, want float64) {
		t.Helper()
		const pattern = "/a/{x}/**"
		x := newExchange(t, pattern, "/a/Acme/b/c?q=1%202&r=3")
		path, query, host := x.MatchedPath, x.Request.Query, x.Request.Host
		match := x.Match
		x.Release()
		end := new(answer)
		chain := proxy.NewChain(proxy.Link{Name: "policy", Policy: p}, proxy.Link{Name: "again", Policy: p}, proxy.Link{Name: "end", Policy: end})
		var failed error
		got := testing.AllocsPerRun(500, func() {
			x := proxy.Acquire()
			warm(x)
			x.Request.Path, x.MatchedPath, x.Request.Host, x.Match = path, path, host, match
			x.Request.Query, x.Request.HasQuery = query, true
			if err := chain.Serve(x); err != nil {
				failed = err
			}
			x.EditHead()
			x.Release()
		})
		if failed != nil {
			t.Fatal(failed)
		}
		if got != want {
			t.Fatalf("%s: %v allocations, want %v", name, got, want)
		}
	}
	p := parsePattern(t, "/a/{x}/**")
	must := func(p proxy.Policy, err error) proxy.Policy {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ops := Ops{
		{Set, "X-Kind", parseTemplate(t, "$path.x of $path.rest, $query.q", p)},
		{Add, "X-Fixed", parseTemplate(t, "v", p)},
		{Remove, "X-Debug", nil},
	}
	headers, err := NewHeaders(ops, ops)
	f("headers", must(headers, err), 0)
	path, err := NewPath("/find/{x}/$query.q", p)
	f("path", must(path, err), 0)
	path, err = NewPath("/find/{x}?q=$query.q&from=$request.uri&$request.query", p)
	f("path with query", must(path, err), 0)
	strip, err := NewStrip("/a")
	f("strip", must(strip, err), 0)
	replace, err := NewReplace("/a", "/b/a")
	f("replace", must(replace, err), 0)
	add, err := NewReplace("/", "/b/a")
	f("add", must(add, err), 0)
	host, err := NewHost("{x}.internal", p)
	f("host", must(host, err), 0)
	host, err = NewHost("origin.example", p)
	f("fixed host", must(host, err), 0)

	// The chain has the policy twice.
	regex, err := NewRegex("^/a", "/a/a")
	f("anchored regex", must(regex, err), 0)
	regex, err = NewRegex("nothing(.)", "$1")
	f("regex without match", must(regex, err), 0)
	regex, err = NewRegex("^/a/(.*)", "/a/$1")
	f("anchored regex with a group", must(regex, err), 2)
}

// warm gives a new exchange the scratch memory that one has after some requests.
func warm(x *proxy.Exchange) {
	if cap(x.Scratch()) < 1<<10 {
		x.KeepScratch(make([]byte, 0, 1<<12))
	}
}
