//go:build !race && !invariants

package signature

import "testing"

// TestChecksAllocateNothing: a signature by a shared secret costs no memory, right or wrong, with a body or without one.
func TestChecksAllocateNothing(t *testing.T) {
	f := func(o Options, message, input, key string, want error) {
		t.Helper()
		x := request(t, message)
		defer x.Release()
		sign(t, x, input+`;keyid="`+key+`"`)
		g := newGuard(t, o)
		if err := g.Check(x); err != want {
			t.Fatalf("%s: got %v, want %v", input, err, want)
		}
		if want != nil {
			return
		}
		if n := testing.AllocsPerRun(200, func() { _ = g.Check(x) }); n != 0 {
			t.Errorf("%s: %v allocations", input, n)
		}
	}
	const get = "GET /a?b=c HTTP/1.1\nHost: www.example.com\nX-Dict: a=1, b=2\nPriority: u=1"
	const key = "test-shared-secret"
	f(Options{Components: []string{"@method", "@target-uri"}}, get, `("@method" "@target-uri" "@authority" "@path" "@query" "@query-param";name="b");created=1618884473;alg="hmac-sha256"`, key, nil)
	f(Options{}, get, `("x-dict" "x-dict";bs "x-dict";key="b" "priority";sf "host");created=1618884473`, key, nil)
	const post = "POST / HTTP/1.1\nHost: a\nContent-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\n\n{\"hello\": \"world\"}"
	f(Options{}, post, `("@method" "content-digest");created=1618884473`, key, nil)
}

// TestRefusalsAllocateNothing: whoever is refused after a computation of hmac-sha256 costs none either, but for the place in which Accept-Signature is remembered.
func TestRefusalsAllocateNothing(t *testing.T) {
	x := request(t, "GET / HTTP/1.1\nHost: a")
	defer x.Release()
	sign(t, x, `("@method");created=1618884473;keyid="nobody";alg="hmac-sha256"`)
	g := newGuard(t, Options{})
	s := states.Get().(*state)
	defer s.free()
	if n := testing.AllocsPerRun(200, func() {
		if err := g.check(x, s); err != errUnknown {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
