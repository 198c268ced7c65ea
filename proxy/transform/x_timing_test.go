package transform

import (
	"testing"

	"sluice/proxy"
)

func BenchmarkServe(b *testing.B) {
	const pattern = "/a/{x}/**"
	f := func(name string, build func() (proxy.Policy, error)) {
		b.Run(name, func(b *testing.B) {
			x := newExchange(b, pattern, "/a/acme/orders/42?page=1%202&sort=name")
			defer x.Release()
			p, err := build()
			if err != nil {
				b.Fatal(err)
			}
			path, query, host, match := x.MatchedPath, x.Request.Query, x.Request.Host, x.Match
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				chain := proxy.NewChain(proxy.Link{Name: "policy", Policy: p}, proxy.Link{Name: "end", Policy: new(answer)})
				for pb.Next() {
					x := proxy.Acquire()
					x.Request.Path, x.MatchedPath, x.Request.Host, x.Match = path, path, host, match
					x.Request.Query, x.Request.HasQuery = query, true
					if err := chain.Serve(x); err != nil {
						b.Error(err)
					}
					x.EditHead()
					x.Release()
				}
			})
		})
	}
	p := parsePattern(b, pattern)

	f("nothing", func() (proxy.Policy, error) { return new(pass), nil })
	f("headers-3-variables", func() (proxy.Policy, error) {
		return NewHeaders(Ops{
			{Set, "X-Kind", parseTemplate(b, "$path.x", p)},
			{Set, "X-Client", parseTemplate(b, "$client.ip", p)},
			{Set, "X-Page", parseTemplate(b, "$query.page", p)},
		}, nil)
	})
	f("headers-response-fixed", func() (proxy.Policy, error) {
		return NewHeaders(nil, Ops{{Set, "Strict-Transport-Security", parseTemplate(b, "max-age=31536000", p)}})
	})
	f("path", func() (proxy.Policy, error) { return NewPath("/find/{x}/$path.rest", p) })
	f("path-query", func() (proxy.Policy, error) {
		return NewPath("/find?kind={x}&page=$query.page", p)
	})
	f("strip", func() (proxy.Policy, error) { return NewStrip("/a") })
	f("replace", func() (proxy.Policy, error) { return NewReplace("/a", "/b/c") })
	f("regex-anchored-group", func() (proxy.Policy, error) { return NewRegex("^/a/(.*)", "/b/$1") })
	f("regex-anchored", func() (proxy.Policy, error) { return NewRegex("^/a/", "/b/") })
	f("regex-anywhere", func() (proxy.Policy, error) { return NewRegex("/orders/([0-9]+)", "/order/$1") })
	f("host", func() (proxy.Policy, error) { return NewHost("{x}.internal", p) })
}

// pass hands on: what the others cost more than it is their own.
type pass struct{}

func (*pass) Serve(x *proxy.Exchange, next *proxy.Chain) error { return next.Serve(x) }
