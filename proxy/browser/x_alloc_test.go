//go:build !race

package browser

import (
	"testing"

	"sluice/proxy"
)

// allocates serves requests by a policy, over and over in one exchange, and wants no memory to be taken for it.
func allocates(t *testing.T, p proxy.Policy, meet func(*proxy.Exchange), method, request, response string) {
	t.Helper()
	chain := proxy.NewChain(proxy.Link{Name: "p", Policy: p}, proxy.Link{Name: "service", Policy: answers(response)})
	n := testing.AllocsPerRun(1000, func() {
		x := call(method, request)
		if meet != nil {
			meet(x)
		}
		_ = chain.Serve(x) // a refusal is an outcome like others
		x.EditHead()
		x.Release()
	})
	bare := testing.AllocsPerRun(1000, func() {
		x := call(method, request)
		_ = answers(response)(x)
		x.EditHead()
		x.Release()
	})
	if n > bare {
		t.Errorf("%s %s: %v allocations, and %v without the policy", method, request, n, bare)
	}
}

func TestCORSAllocates(t *testing.T) {
	c := NewCORS(CORSOptions{Origins: []string{"https://shop.example", "https://*.shop.example"}, Expose: []string{"X-Total"}, Credentials: true})
	f := func(method, request string) {
		t.Helper()
		allocates(t, c, c.Meet, method, request, "Content-Type: text/plain; Vary: Accept; Access-Control-Allow-Origin: *")
	}
	f("GET", "")
	f("GET", "Origin: https://shop.example")
	f("PUT", "Origin: https://www.shop.example")
	f("PUT", "Origin: https://evil.example")
	f("OPTIONS", "Origin: https://www.shop.example; Access-Control-Request-Method: PUT; Access-Control-Request-Headers: x-a, x-b")
}

func TestOthersAllocate(t *testing.T) {
	headers := NewHeaders([]Field{{"X-Frame-Options", "DENY"}, {"Referrer-Policy", "no-referrer"}}, []Field{{"Strict-Transport-Security", "max-age=1"}}, true)
	allocates(t, headers, nil, "GET", "", "x-frame-options: SAMEORIGIN")
	allocates(t, NewCookies(true, true, "Lax", []string{"a"}), nil, "GET", "", "Set-Cookie: a=b; Set-Cookie: c=d; Set-Cookie: e=f;secure")
	csrf := proxy.Guarded("csrf", NewCSRF([]string{"https://*.shop.example"}), proxy.Enforce, nil)
	allocates(t, csrf, nil, "POST", "Origin: https://evil.example; Sec-Fetch-Site: cross-site", "")
	allocates(t, csrf, nil, "POST", "Origin: https://www.shop.example", "")
}
