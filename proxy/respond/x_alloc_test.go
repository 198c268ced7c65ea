//go:build !race

package respond

import (
	"testing"

	"sluice/proxy"
)

func TestServeAllocates(t *testing.T) {
	const pattern = "/a/{x}/**"
	f := func(name, method string, p proxy.Policy, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		x := newExchange(t, pattern, method, "/a/acme/b/c?q=1%202&r=3")
		path, query, host, match := x.MatchedPath, x.Request.Query, x.Request.Host, x.Match
		x.Release()
		var failed error
		got := testing.AllocsPerRun(500, func() {
			x := proxy.Acquire()
			warm(x)
			x.Request.Method = method
			x.Request.Path, x.MatchedPath, x.Request.Host, x.Match = path, path, host, match
			x.Request.Query, x.Request.HasQuery = query, true
			if err := p.Serve(x, nil); err != nil {
				failed = err
			}
			x.Release()
		})
		if failed != nil {
			t.Fatal(failed)
		}
		if got != 0 {
			t.Fatalf("%s: %v allocations, want 0", name, got)
		}
	}

	for _, method := range []string{"GET", "HEAD"} {
		static, err := NewStatic(StaticOptions{Status: 200, Fixed: []byte("hello")})
		f("fixed", method, static, err)
		static, err = NewStatic(StaticOptions{
			Status: 200, ContentType: "application/json",
			Body:    parseTemplate(t, `{"kind":"$path.x","q":"$query.q","rest":"$path.rest"}`, pattern),
			Headers: []Field{{"X-Kind", parseTemplate(t, "$path.x $query.q", pattern)}},
		})
		f("variables", method, static, err)
		redirect, err := NewRedirect("https://{x}.shop.example/$path.rest?q=$query.q&$request.query", parsePattern(t, pattern), 308)
		f("redirect", method, redirect, err)
		redirect, err = NewRedirect("$path.rest", parsePattern(t, pattern), 308)
		f("relative redirect", method, redirect, err)
		https, err := NewHTTPS(8443)
		f("https", method, https, err)
	}
}

// warm gives a new exchange the scratch memory that one has after some requests.
func warm(x *proxy.Exchange) {
	if cap(x.Scratch()) < 1<<10 {
		x.KeepScratch(make([]byte, 0, 1<<12))
	}
}
