//go:build !race && !invariants

package proxytest

import (
	"fmt"
	"testing"
)

// TestForwardAuthAllocates counts what a request costs whose like was decided about before.
func TestForwardAuthAllocates(t *testing.T) {
	origin := Canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	admits := Canned(t, "HTTP/1.1 200 OK\r\nX-User: anne\r\nContent-Length: 0\r\n\r\n")
	refuses := Canned(t, "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 4\r\n\r\nmove")
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] }, admits: { to: ["http://%s"] }, refuses: { to: ["http://%s"] } }
policies:
  asked: { forward_auth: { service: admits, forward: [X-User], identity: X-User, cookies: [session], remember: 1h } }
  kept-out: { forward_auth: { service: refuses, remember: 1h, remember_refused: 1h } }
routes:
  a: { match: /a, use: [asked], to: origin }
  b: { match: /b, use: [kept-out], to: origin }
`, origin, admits, refuses))
	checkAllocations(t, gw, 200, "hello", "GET /a HTTP/1.1\r\n"+fields+"X-User: admin\r\n\r\n")
	checkAllocations(t, gw, 302, "move", "GET /b?c=d HTTP/1.1\r\n"+fields+"\r\n")
}

// TestAuthorizeAllocates bounds what a request costs that an expression decides about: a few values of 16 bytes, one for each that it compares.
func TestAuthorizeAllocates(t *testing.T) {
	origin := Canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
routes:
  a: { match: /a, use: [{ authorize: { when: 'request.method == "GET" && request.path == "/a" && request.host == "shop.example"' } }], to: origin }
`, origin))
	r := gw.Repeat(200, "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	warm(t, r)
	const n, most = 2000, 4
	got := mallocs(t, n, r)
	for round := 1; round < 4 && got > most*n; round++ {
		got = mallocs(t, n, r)
	}
	if got > most*n {
		t.Errorf("%v allocations per request", float64(got)/n)
	}
}
