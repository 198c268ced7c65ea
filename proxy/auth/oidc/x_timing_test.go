package oidc

import (
	"testing"

	"sluice/proxy"
)

// BenchmarkSession is what a session costs: one that is remembered, and one that is opened anew.
func BenchmarkSession(b *testing.B) {
	p := startProvider(b)
	f := func(name string, remember int) {
		g := p.gateway(b, func(_ *SessionsOptions, o *Options) { o.Remember = remember })
		person := newBrowser()
		person.signIn(b, p, g, "/a")
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Head.AddString("Cookie", "__Host-s="+person.cookies["__Host-s"])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found := g.s.names.find(x)
				if g.session(x, &found) == nil {
					b.Fatal("there is no session")
				}
			}
		})
	}
	f("remembered", 100)
	f("anew", 0)
}
