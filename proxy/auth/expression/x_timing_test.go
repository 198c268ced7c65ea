package expression

import "testing"

// BenchmarkCheck is what an evaluation costs, by what an expression asks for.
func BenchmarkCheck(b *testing.B) {
	f := func(name, text string) {
		b.Run(name, func(b *testing.B) {
			x := example(b)
			g := New(compiled(b, text), new(Counts))
			b.ReportAllocs()
			for b.Loop() {
				if err := g.Check(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("method", `request.method == "GET"`)
	f("path", `request.path.startsWith("/tenants/")`)
	f("method-path-header", `request.method == "GET" && request.path.startsWith("/tenants/") && request.headers["x-kind"] == "one"`)
	f("params-claims", `request.params.tenant == claims.tenant`)
	f("roles", `request.method == "POST" || "admin" in claims.roles`)
	f("regex", `request.path.matches("^/tenants/[a-z]+/orders/[0-9]+$")`)
	f("network", `inNetwork(client.ip, ["10.0.0.0/8", "192.0.2.0/24"])`)
	f("loop", `claims.roles.exists(r, r.startsWith("adm"))`)
}

// BenchmarkCompile is what an expression costs a reload.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compiled(b, `request.method == "GET" || "admin" in claims.roles`)
	}
}
