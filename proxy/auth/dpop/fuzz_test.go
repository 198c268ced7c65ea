package dpop

import (
	"testing"
	"time"
)

// FuzzProof: whatever is sent, nothing but what the client has signed is accepted, and that once.
func FuzzProof(f *testing.F) {
	c := newES256()
	print := c.print()
	sent := c.proof(token)
	f.Add([]byte(sent))
	f.Add([]byte(c.proof(token, "nonce", "a")))
	f.Add([]byte(newEd25519().proof(token)))
	f.Add([]byte(newES256().proof(token, "header.jwk", c.JWK())))
	f.Add([]byte("a.b.c"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, proof []byte) {
		x := asking(string(proof))
		defer x.Release()
		j := judge(Options{Window: 10 * time.Minute})
		err := j.Check(x, []byte(token), print)
		if err == nil && string(proof) != sent {
			// The fuzzer has no key: the proof would have to be one of the seeds that the client has signed.
			if p, again := read(proof); again != nil || !p.token.Verify(p.key) || p.key.Thumbprint() != *print {
				t.Fatalf("%q is accepted", proof)
			}
		}
		if err == nil {
			y := asking(string(proof))
			defer y.Release()
			if j.Check(y, []byte(token), print) == nil {
				t.Fatalf("%q is accepted twice", proof)
			}
		}
	})
}

// FuzzTarget: what is taken for the URL has its scheme, its host and its path in it.
func FuzzTarget(f *testing.F) {
	f.Add("https://shop.example/orders")
	f.Add("https://shop.example:443/a/../%6frders?b#c")
	f.Add("https://u@shop.example/orders")
	f.Fuzz(func(t *testing.T, htu string) {
		x := asking()
		defer x.Release()
		if !isTarget(htu, x) {
			return
		}
		x.Request.Host = []byte("evil.example")
		if isTarget(htu, x) {
			t.Fatalf("%q is the URL of two hosts", htu)
		}
		x.Request.Host, x.Request.Scheme = []byte("shop.example"), "http"
		if isTarget(htu, x) {
			t.Fatalf("%q is the URL of two schemes", htu)
		}
	})
}
