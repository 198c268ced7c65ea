//go:build !race && !invariants

package proxytest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestConsumersAllocate counts what a request costs that brings a key, or a password that is remembered: nothing is allocated, whatever
// becomes of it.
func TestConsumersAllocate(t *testing.T) {
	origin := Canned(t, "HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
consumers:
  partners:
    acme: { keys: [{ hash: "sha256:%x", prefix: sk }], scopes: [orders.read], plan: gold }
    anne: { passwords: "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4" }
policies:
  key: { api_key: { consumers: partners, require: { scope: orders.read } } }
  anywhere: { api_key: { consumers: partners, query: key, cookie: key } }
  writers: { api_key: { consumers: partners, require: { scope: orders.write } } }
  staff: { basic_auth: { consumers: partners } }
  tell: { headers: { request: { set: { X-Consumer: "$consumer $consumer.plan" } } } }
routes:
  a: { match: /a, use: [key, tell], to: origin }
  anywhere: { match: /anywhere, use: [anywhere, tell], to: origin }
  write: { match: /write, use: [writers], to: origin }
  staff: { match: /staff, use: [staff, tell], to: origin }
`, origin, sha256.Sum256([]byte("sk_acme_one"))))
	var plain strings.Builder // the fields of a browser without what others would be
	for line := range strings.Lines(fields) {
		if !strings.HasPrefix(line, "Authorization:") && !strings.HasPrefix(line, "Cookie:") {
			plain.WriteString(line)
		}
	}
	get := func(target, more string) string {
		return "GET " + target + " HTTP/1.1\r\n" + plain.String() + more + "\r\n"
	}
	checkAllocations(t, gw, 200, "hello", get("/a", "X-Api-Key: sk_acme_one\r\n"))
	checkAllocations(t, gw, 200, "hello", get("/anywhere?a=b&key=sk_acme_one&c=d", ""))
	checkAllocations(t, gw, 200, "hello", get("/anywhere", "Cookie: theme=dark; key=sk_acme_one\r\n"))
	checkAllocations(t, gw, 200, "hello", get("/staff", "Authorization: Basic YW5uZTpwYXNzd29yZA==\r\n"))
	checkAllocations(t, gw, 401, "key_invalid", get("/a", "X-Api-Key: sk_acme_two\r\n"))
	checkAllocations(t, gw, 401, "key_required", get("/a", ""))
	checkAllocations(t, gw, 403, "insufficient_scope", get("/write", "X-Api-Key: sk_acme_one\r\n"))
}
