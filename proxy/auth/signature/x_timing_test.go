package signature

import "testing"

// BenchmarkCheck is what a request costs that is signed, by algorithm; of ed25519 with the message of RFC 9421 appendix B.2.6.
func BenchmarkCheck(b *testing.B) {
	run := func(name string, g *Guard, fill func(b *testing.B) (release func(), check func() error)) {
		b.Run(name, func(b *testing.B) {
			release, check := fill(b)
			defer release()
			b.ReportAllocs()
			for b.Loop() {
				if err := check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	g := newGuard(b, Options{AnyBody: true})
	run("hmac-sha256", g, func(b *testing.B) (func(), func() error) {
		x := request(b, "GET /orders?a=b HTTP/1.1\nHost: api.shop.example\nUser-Agent: test\nAccept: */*")
		sign(b, x, `("@method" "@target-uri");created=1618884473;keyid="test-shared-secret"`)
		return x.Release, func() error { return g.Check(x) }
	})
	run("ed25519", g, func(b *testing.B) (func(), func() error) {
		x := rfcRequest(b, `Signature-Input: sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			`Signature: sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:`)
		return x.Release, func() error { return g.Check(x) }
	})
}
