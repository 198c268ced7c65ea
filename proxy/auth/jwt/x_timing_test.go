package jwt

import (
	"fmt"
	"sync"
	"testing"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

// BenchmarkGuard is what a check costs: of a token that was seen before, among as many others as there are, and of one that is new.
func BenchmarkGuard(b *testing.B) {
	s := newRS256("a")
	run := func(name string, o Options, tokens int) {
		// To sign tokens takes long, and testing calls a case several times before it knows b.N.
		prepared := sync.OnceValues(func() (*Guard, []*proxy.Exchange) {
			o.Keys = FixedKeys(setOf(s))
			g := guard(b, o)
			exchanges := make([]*proxy.Exchange, tokens)
			for i := range exchanges {
				exchanges[i] = bearing(s.token(claims("sub", fmt.Sprint("user-", i))))
			}
			return g, exchanges
		})
		b.Run(name, func(b *testing.B) {
			g, exchanges := prepared()
			for _, x := range exchanges { // remembered, if they are
				x.Started = wire.Now()
				if err := g.Check(x); err != nil {
					b.Fatal(err)
				}
			}
			now := wire.Now()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				x := exchanges[i%tokens]
				x.Started = now
				if err := g.Check(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	require := []Requirement{{"scope", []Want{{jose.String, "orders.read"}}}, {"email_verified", []Want{{jose.Bool, "true"}}}}
	run("remembered/one-token", Options{Issuer: "https://id.example", Audiences: []string{"shop-api"}, Require: require, Remember: 10000}, 1)
	run("remembered/1000-tokens", Options{Issuer: "https://id.example", Audiences: []string{"shop-api"}, Require: require, Remember: 10000}, 1000)
	run("new/RS256", Options{Issuer: "https://id.example", Audiences: []string{"shop-api"}, Require: require}, 1)

	g := guard(b, Options{Keys: FixedKeys(setOf(s)), Remember: 10000})
	token := s.token(claims())
	b.Run("remembered/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			x := bearing(token)
			for pb.Next() {
				x.Started = wire.Now()
				if err := g.Check(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
