//go:build !race && !invariants

package oidc

import (
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

type nothing struct{}

func (nothing) Serve(*proxy.Exchange, *proxy.Chain) error { return nil }

// TestAllocations holds that a session which was opened before costs no allocation, in one cookie or in several.
func TestAllocations(t *testing.T) {
	p := startProvider(t)
	g := p.gateway(t, nil)
	f := func(name string) {
		t.Helper()
		b := newBrowser()
		b.signIn(t, p, g, "/a")
		cookie := "theme=dark"
		for name, value := range b.cookies {
			cookie += "; " + name + "=" + value
		}
		chain := proxy.NewChain(proxy.Link{Name: "signed-in", Policy: g.Policy}, proxy.Link{Name: "service", Policy: nothing{}})
		x := proxy.Acquire()
		defer x.Release()
		path := []byte("/a")
		serve := func() {
			x.Request.Head.Reset()
			x.Request.Decided = x.Request.Decided[:0]
			x.Request.Method, x.Request.Path = "GET", path
			x.Request.Head.AddString("Cookie", cookie)
			x.Started = wire.Now()
			if err := chain.Serve(x); err != nil {
				t.Fatal(err)
			}
		}
		serve()
		if x.Identity == nil {
			t.Fatal("nobody is signed in")
		}
		if n := testing.AllocsPerRun(1000, serve); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	f("a session")
	p.change(func() { p.claims = []any{"groups", strings.Repeat("clerk ", 900)} })
	f("a long session")
}
