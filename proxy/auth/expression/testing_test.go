package expression

import (
	"net/netip"
	"testing"

	"sluice/proxy"
	"sluice/router"
)

// example is a request that tests ask about.
func example(t testing.TB) *proxy.Exchange {
	t.Helper()
	x := proxy.Acquire()
	t.Cleanup(x.Release)
	p, err := router.ParsePattern("/tenants/{tenant}/**")
	if err != nil {
		t.Fatal(err)
	}
	r := &x.Request
	r.Method, r.Scheme, r.Host, r.Path = "GET", "https", []byte("shop.example:8443"), []byte("/tenants/acme/orders/7")
	r.Query, r.HasQuery = []byte("page=2&sort=a%20b&tag=x&tag=y&empty="), true
	r.Head.AddString("Authorization", "Bearer 1")
	r.Head.AddString("X-Kind", "one")
	r.Head.AddString("X-Many", "a")
	r.Head.AddString("x-many", "b")
	r.Head.AddString("Cookie", "session=7; twice=1; twice=2")
	x.MatchedPath = r.Path
	x.Client = proxy.Client{Addr: netip.MustParseAddr("192.0.2.7"), Text: []byte("192.0.2.7")}
	route := &proxy.Route{Name: "orders", Pattern: p}
	table, problems := router.New([]router.Route[*proxy.Route]{{Name: "orders", Pattern: p, Value: route}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	x.Lookup = router.Request{Method: []byte("GET"), Host: []byte("shop.example"), Path: r.Path, Values: x}
	if x.Route, _ = table.Lookup(&x.Lookup, &x.Match); x.Route == nil {
		t.Fatal("the example has no route")
	}
	x.Identity = proxy.NewIdentity("jwt", "https://id.example", "anne", []proxy.Claim{
		{Path: "sub", Value: []byte("anne")}, {Path: "plan", Value: []byte("gold")}, {Path: "scope", Value: []byte("orders.read orders.write")},
		{Path: "tenant", Value: []byte("acme")},
		{Path: "roles", Value: []byte(`["clerk","admin"]`), JSON: true}, {Path: "level", Value: []byte("3"), JSON: true},
		{Path: "rate", Value: []byte("0.5"), JSON: true}, {Path: "verified", Value: []byte("true"), JSON: true},
		{Path: "realm", Value: []byte(`{"roles":["a"],"n":18446744073709551616}`), JSON: true}, {Path: "realm.roles", Value: []byte(`["a"]`), JSON: true},
		{Path: "text", Value: []byte(`["admin"]`)},
	})
	return x
}

func compiled(t testing.TB, text string) *Program {
	t.Helper()
	p, err := Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}
