package respond

import (
	"testing"

	"sluice/proxy"
)

func BenchmarkServe(b *testing.B) {
	const pattern = "/a/{x}/**"
	f := func(name string, p proxy.Policy, err error) {
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			x := newExchange(b, pattern, "GET", "/a/acme/orders/42?page=1%202&sort=name")
			path, query, host, match := x.MatchedPath, x.Request.Query, x.Request.Host, x.Match
			x.Release()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					x := proxy.Acquire()
					x.Request.Method = "GET"
					x.Request.Path, x.MatchedPath, x.Request.Host, x.Match = path, path, host, match
					x.Request.Query, x.Request.HasQuery = query, true
					if err := p.Serve(x, nil); err != nil {
						b.Error(err)
					}
					x.Release()
				}
			})
		})
	}

	static, err := NewStatic(StaticOptions{Status: 200, Fixed: []byte("hello")})
	f("static-fixed", static, err)
	static, err = NewStatic(StaticOptions{Status: 200, ContentType: "application/json", Body: parseTemplate(b, `{"kind":"$path.x","page":"$query.page"}`, pattern)})
	f("static-json-2-variables", static, err)
	redirect, err := NewRedirect("https://shop.example/$path.rest", parsePattern(b, pattern), 308)
	f("redirect", redirect, err)
	redirect, err = NewRedirect("https://{x}.shop.example/find?page=$query.page&kind={x}", parsePattern(b, pattern), 308)
	f("redirect-3-variables", redirect, err)
	https, err := NewHTTPS(0)
	f("https", https, err)
}

// BenchmarkProblem renders an error.
func BenchmarkProblem(b *testing.B) {
	route, id := &proxy.Route{Name: "items"}, []byte("0123456789abcdef0123456789abcdef")
	f := func(name, accept string, own map[string]ErrorBody) {
		b.Run(name, func(b *testing.B) {
			p := NewProblems(Auto, own)
			b.ReportAllocs()
			for b.Loop() {
				x := proxy.Acquire()
				x.Route, x.ID, x.FailedAt, x.Err = route, id, "guard", proxy.ErrNoRoute
				x.Request.Head.AddString("Accept", accept)
				x.Response.Status = 404
				p.Render(x, proxy.ErrNoRoute)
				x.Release()
			}
		})
	}
	f("json", "*/*", nil)
	f("html", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", nil)
	f("own", "*/*", map[string]ErrorBody{"404": {ContentType: "application/json", Template: parseTemplate(b, `{"d":"$error.detail","id":"$request.id"}`, "/")}})
}
