//go:build !race && !invariants

package proxytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/proxy/auth/jwt/jwttest"
)

// TestJWTAllocates counts what a request costs that brings a token: it is found, judged, told to the origin and taken away, and nothing is
// allocated, whatever becomes of it.
func TestJWTAllocates(t *testing.T) {
	issuer := jwttest.New()
	issuer.URL = "https://id.example"
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, issuer.Set(), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := Canned(t, "HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
policies:
  signed-in: { jwt: { issuer: "https://id.example", audience: shop-api, jwks: %q, require: { scope: orders.read, email_verified: true } } }
  told: { jwt: { issuer: "https://id.example", audience: shop-api, jwks: %q, forward: { X-User: sub }, strip: true } }
  session: { jwt: { issuer: "https://id.example", audience: shop-api, jwks: %q, from: { cookie: session }, strip: true } }
  claims: { headers: { request: { set: { X-Claims: "$jwt.sub $jwt.scope" } } } }
routes:
  a: { match: /a, use: [signed-in], to: origin }
  told: { match: /told, use: [told, claims], to: origin }
  session: { match: /session, use: [session, claims], to: origin }
  poor: { match: /poor, use: [{ jwt: { issuer: "https://id.example", audience: shop-api, jwks: %q, require: { scope: orders.write } } }], to: origin }
`, origin, keys, keys, keys, keys))
	without := func(name string) string {
		var kept strings.Builder
		for line := range strings.Lines(fields) {
			if !strings.HasPrefix(line, name+":") {
				kept.WriteString(line)
			}
		}
		return kept.String()
	}
	token := issuer.Token()
	get := func(target, fields, more string) string {
		return "GET " + target + " HTTP/1.1\r\n" + fields + more + "\r\n"
	}
	bearer := "Authorization: Bearer " + token + "\r\n"
	checkAllocations(t, gw, 200, "hello", get("/a", without("Authorization"), bearer))
	checkAllocations(t, gw, 200, "hello", get("/told", without("Authorization"), bearer+"X-User: admin\r\n"))
	checkAllocations(t, gw, 200, "hello", get("/session", without("Cookie"), "Cookie: theme=dark; session="+token+"\r\n"))
	checkAllocations(t, gw, 403, "insufficient_scope", get("/poor", without("Authorization"), bearer))
	checkAllocations(t, gw, 401, "token_required", get("/a", without("Authorization"), ""))
}
