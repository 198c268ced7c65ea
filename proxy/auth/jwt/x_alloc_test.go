//go:build !race && !invariants

package jwt

import (
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

// TestAllocations holds that a token which was seen before costs no allocation, wherever it is and whatever becomes of it.
func TestAllocations(t *testing.T) {
	s := newRS256("a")
	token := s.token(claims())
	f := func(name string, o Options, want string, fields ...string) {
		t.Helper()
		o.Keys, o.Remember = FixedKeys(setOf(s)), 100
		g := guard(t, o)
		x := proxy.Acquire()
		defer x.Release()
		check := func() error {
			x.Request.Head.Reset()
			x.Request.Decided = x.Request.Decided[:0]
			for i := 0; i < len(fields); i += 2 {
				x.Request.Head.AddString(fields[i], fields[i+1])
			}
			x.Started = wire.Now()
			g.Prepare(x)
			return g.Check(x)
		}
		if got := said(check()); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if n := testing.AllocsPerRun(1000, func() { _ = check() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	f("a token", Options{Issuer: "https://id.example"}, "200", "Authorization", "Bearer "+token)
	f("a token in a cookie", Options{Cookie: "t"}, "200", "Cookie", "a=b; t="+token)
	f("a token in a field", Options{Header: "X-Token"}, "200", "X-Token", token)
	f("forwarded claims", Options{Forward: []Forward{{"X-User", "sub"}, {"X-Roles", "realm_access.roles"}}, Strip: true}, "200",
		"Authorization", "Bearer "+token, "X-User", "me")
	f("a scope that is missing", Options{Require: []Requirement{{"scope", []Want{{jose.String, "x"}}}}}, "403", "Authorization", "Bearer "+token)
	f("no token", Options{}, "401", "X", "y")
	f("two tokens", Options{}, "400", "Authorization", "Bearer "+token, "Authorization", "Bearer "+token)

	g := guard(t, Options{Keys: NewKeys(KeysOptions{Issuer: "https://id.example", Idle: true})})
	x := bearing(token)
	defer x.Release()
	if n := testing.AllocsPerRun(1000, func() { _ = g.Check(x) }); n != 0 {
		t.Errorf("no keys: %v allocations", n)
	}
}
