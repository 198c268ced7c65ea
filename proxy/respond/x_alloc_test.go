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

func TestProblemAllocates(t *testing.T) {
	own := map[string]ErrorBody{
		"no_entry": {ContentType: "application/json", Template: parseTemplate(t, `{"d":"$error.detail","id":"$request.id","q":"$query.q"}`, "/")},
		"404":      {ContentType: "text/plain", Fixed: []byte("gone")},
		"5xx":      {ContentType: "text/html", Template: parseTemplate(t, `<p>$error.detail`, "/")},
	}
	route, id, query := &proxy.Route{Name: "items"}, []byte("id-1"), []byte("q=%22a%22")
	f := func(format Format, bodies map[string]ErrorBody, accept string, err *proxy.Error) {
		t.Helper()
		p := NewProblems(format, bodies)
		got := testing.AllocsPerRun(500, func() {
			x := proxy.Acquire()
			warm(x)
			x.Route, x.ID, x.FailedAt, x.Err = route, id, "guard", err
			x.Request.Query, x.Request.HasQuery = query, true
			x.Request.Head.AddString("Accept", accept)
			x.Response.Status = err.Status
			p.Render(x, err)
			x.Release()
		})
		if got != 0 {
			t.Fatalf("%d %q %d: %v allocations, want 0", format, accept, err.Status, got)
		}
	}
	for _, err := range []*proxy.Error{refused, proxy.ErrNoRoute, proxy.ErrTimeout, proxy.ErrClientGone} {
		for _, accept := range []string{"*/*", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/plain"} {
			f(Auto, nil, accept, err)
			f(Auto, own, accept, err)
		}
		f(PlainText, nil, "", err)
		f(HTMLPage, nil, "", err)
	}
}
