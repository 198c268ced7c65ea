package introspect

import (
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jwt"
)

// BenchmarkGuard is the look-up of a token that was asked about.
func BenchmarkGuard(b *testing.B) {
	i := startIssuer(b)
	i.says("good", `{"active":true,"sub":"user-7"}`)
	g := i.guard(b, Options{For: time.Hour}, jwt.Options{})
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Head.AddString("Authorization", "Bearer good")
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Check(x); err != nil {
			b.Fatal(err)
		}
	}
}
