//go:build !race && !invariants

package proxytest

import (
	"fmt"
	"strings"
	"testing"
)

// TestUpstreamTokenAllocates counts what a request costs whose service is shown another token than the client has sent: nothing is allocated.
func TestUpstreamTokenAllocates(t *testing.T) {
	from := startHandsOut(t)
	issuer, keys := fixedIssuer(t)
	origin := Canned(t, "HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
policies:
  signed-in: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %q } }
  own: { upstream_token: { token_url: %[3]q, client_id: gateway, client_secret: planted-secret } }
  for-client: { upstream_token: { grant: token_exchange, token_url: %[3]q, client_id: gateway, client_secret: planted-secret, audience: orders } }
routes:
  own: { match: /own, use: [own], to: origin }
  client: { match: /client, use: [signed-in, for-client], to: origin }
`, origin, keys, from.URL))
	var without strings.Builder
	for line := range strings.Lines(fields) {
		if !strings.HasPrefix(line, "Authorization:") {
			without.WriteString(line)
		}
	}
	token := "Authorization: Bearer " + issuer.Token("iss", "https://id.example") + "\r\n"
	checkAllocations(t, gw, 200, "hello", "GET /own HTTP/1.1\r\n"+without.String()+"\r\n")
	checkAllocations(t, gw, 200, "hello", "GET /own HTTP/1.1\r\n"+without.String()+token+"\r\n")
	checkAllocations(t, gw, 200, "hello", "GET /client HTTP/1.1\r\n"+without.String()+token+"\r\n")
}
