//go:build !race && !invariants

package introspect

import (
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/wire"
)

// TestAllocations holds that a token which was asked about costs no allocation.
func TestAllocations(t *testing.T) {
	i := startIssuer(t)
	i.says("good", `{"active":true,"sub":"user-7"}`)
	g := i.guard(t, Options{For: time.Hour}, jwt.Options{Forward: []jwt.Forward{{Header: "X-User", Claim: "sub"}}, Strip: true})
	x := proxy.Acquire()
	defer x.Release()
	f := func(token string) {
		t.Helper()
		check := func() error {
			x.Request.Head.Reset()
			x.Request.Decided = x.Request.Decided[:0]
			x.Request.Head.AddString("Authorization", token)
			x.Started = wire.Now()
			g.Prepare(x)
			return g.Check(x)
		}
		_ = check()
		x.Waited = false
		if n := testing.AllocsPerRun(1000, func() { _ = check() }); n != 0 {
			t.Errorf("%s: %v allocations", token, n)
		}
	}
	f("Bearer good")
	f("Bearer bad")
	f("Bearer b a d")
	f("Basic x")
}
