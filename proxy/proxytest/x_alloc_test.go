//go:build !race && !invariants

// Under the race detector and with the tag invariants pools forget on purpose, and every forgotten buffer is an
// allocation.

package proxytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// fields are what a browser sends, more or less: ten fields, one of them a cookie.
const fields = "Host: shop.example\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://shop.example/start?token=abc\r\n" +
	"Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n" +
	"Cookie: theme=dark; sluice=b123456; session=0123456789abcdef\r\n" +
	"X-Debug: yes\r\n" +
	"Cache-Control: no-cache\r\n"

// policies do real work on every route: the client's address is looked up, fields of the request and of the response
// are set from variables and removed, and the route rewrites the path and more fields.
const policies = `
policies:
  inside: { addresses: { allow: [127.0.0.0/8, 10.0.0.0/8], deny: [127.0.9.0/24] } }
  tag:
    headers:
      request: { set: { X-Client: "$client.ip via $request.scheme", X-Agent: $header.User-Agent }, remove: [X-Debug] }
      response: { set: { X-Kind: "$path.kind $response.status" }, remove: [Server] }
defaults: { use: [inside, route, tag] }
`

// allocationsMax is per request, and stands for none: a Date line per second and the like are not the request's.
const allocationsMax = 0.01

// warmUp is how many requests go ahead of those that are counted.
const warmUp = 200

// mallocs returns how many allocations n requests cost the whole process.
func mallocs(t *testing.T, n int, r *Repeater) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if _, err := r.Do(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// warm lets pools, scratch and goroutines reach their sizes, after the garbage that the configuration left behind is
// collected: a collection later on would empty the pools.
func warm(t *testing.T, r *Repeater) {
	t.Helper()
	runtime.GC()
	mallocs(t, warmUp, r)
}

// checkAllocations wants this status, an answer that holds want, and no allocation per request.
func checkAllocations(t *testing.T, gw *Gateway, status int, want string, writes ...string) {
	t.Helper()
	r := gw.Repeat(status, writes...)
	m, err := r.Do()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(m, []byte(want)) {
		t.Fatalf("got %.300q, want it to hold %q", m, want)
	}
	warm(t, r)
	// A pool may still grow when a connection's goroutine first moves to another core. What every request allocates
	// is in all the rounds.
	const n = 2000
	got := mallocs(t, n, r)
	for round := 1; round < 12 && float64(got) > allocationsMax*n; round++ {
		got = mallocs(t, n, r)
	}
	if float64(got) > allocationsMax*n {
		t.Errorf("%q: %v allocations per request", writes[0][:strings.IndexByte(writes[0], '\r')], float64(got)/n)
	}
}

// TestPathAllocates counts what a request costs from the client's bytes to the client's bytes, the upstream and the
// goroutine that sends an upload included.
func TestPathAllocates(t *testing.T) {
	page := strings.Repeat("x", 1<<10)
	sized := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	large := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 100*len(page), strings.Repeat(page, 100)))
	chunked := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", len(page), page, len(page), page))
	empty := Canned(t, "HTTP/1.1 204 No Content\r\n\r\n")
	gw := Start(t, fmt.Sprintf(`
log: { access: { to: %q } }
services:
  sized: { to: ["http://%s"] }
  large: { to: ["http://%s"] }
  chunked: { to: ["http://%s"] }
  empty: { to: ["http://%s"] }
  nowhere: { to: ["http://127.0.0.1:1"] }
  hashed: { to: ["http://%s", "http://%s"], balance: { by: hash, on: cookie session } }
  least: { to: ["http://%s", "http://%s"], balance: least-request }
`, filepath.Join(t.TempDir(), "access.log"), sized, large, chunked, empty, sized, chunked, sized, chunked)+policies+`
routes:
  find:     { match: "/find/{kind}", to: sized, rewrite: { path: "/search/{kind}", headers: { set: { X-Query: $query.q } } } }
  split:    { match: "/split/{kind}", to: { sized: 50, chunked: 50 }, sticky: cookie sluice, rewrite: { path: "/search/{kind}" } }
  drawn:    { match: "/drawn/{kind}", to: { sized: 50, chunked: 50 }, sticky: cookie other }
  large:    { match: "/large/{kind}", to: large }
  chunked:  { match: "/chunked/{kind}", to: chunked, rewrite: { strip: /chunked } }
  empty:    { match: "/empty/{kind}", to: empty, rewrite: { replace: { from: /empty, to: /e } } }
  hashed:   { match: "/hashed/{kind}", to: hashed }
  least:    { match: "/least/{kind}", to: least }
  picky:    { match: { path: "/picky/{kind}", method: GET, headers: { Accept: prefix text/html }, query: { q: present }, cookies: { theme: dark } }, to: sized }
  json:     { match: { path: "/json/{kind}", json: { user.country: de } }, to: sized }
  respond:  { match: "GET /respond/{kind}", respond: { status: 200, json: { answer: 42 } } }
  redirect: { match: "/redirect/{kind}", redirect: { to: "https://$request.host/find/$path.kind?q=$query.q", status: 308 } }
  refused:  { match: "/refused/{kind}", use: [ { addresses: { deny: [127.0.0.1] } } ], respond: { status: 200 } }
`)
	f := func(status int, want string, writes ...string) {
		t.Helper()
		checkAllocations(t, gw, status, want, writes...)
	}
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + fields + "\r\n" }
	post := func(target string, n int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n", target, fields, n)
	}
	body := strings.Repeat("y", 4<<10)

	f(200, "\r\nX-Kind: cats 200\r\n", get("/find/cats?q=a%20b"))
	f(200, page, get("/split/cats"))
	f(200, "\r\nSet-Cookie: other=b", get("/drawn/cats"))
	f(200, page, get("/large/cats"))
	f(200, "\r\nTransfer-Encoding: chunked\r\n", get("/chunked/cats"))
	f(204, "\r\nX-Kind: cats 204\r\n", get("/empty/cats"))
	f(200, "\r\nX-Kind: cats 200\r\n", get("/hashed/cats"))
	f(200, "\r\nX-Kind: cats 200\r\n", get("/least/cats"))
	f(200, page, get("/picky/cats?p=1&q=2"))

	f(200, page, post("/find/cats", 1<<10)+body[:1<<10])
	f(200, page, post("/find/cats", len(body))+body)
	f(200, page, post("/find/cats", len(body)), body)
	f(200, page, post("/find/cats", len(body))+body[:100], body[100:])
	f(200, page, post("/split/cats", 16*len(body)), strings.Repeat(body, 16))
	f(204, "", "POST /empty/cats HTTP/1.1\r\n"+fields+"Transfer-Encoding: chunked\r\n\r\n1000\r\n"+body+"\r\n", "0\r\n\r\n")
	document := `{"user":{"country":"de"},"n":[1,2,3]}`
	f(200, page, "POST /json/cats HTTP/1.1\r\n"+fields+"Content-Type: application/json\r\n"+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(document))+document)

	f(200, `{"answer":42}`, get("/respond/cats"))
	f(308, "\r\nLocation: https://shop.example/find/cats?q=a", get("/redirect/cats?q=a"))
	f(403, `<!doctype html>`, get("/refused/cats"))
	f(404, `<!doctype html>`, get("/none"))
	f(404, `"code":"no_route"`, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
	f(405, "\r\nAllow: ", post("/respond/cats", 0))
	f(204, "\r\nAllow: ", "OPTIONS /respond/cats HTTP/1.1\r\n"+fields+"\r\n")
	f(400, `"code":"bad_path"`, "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n")
}

// TestPerimeterAllocates: neither do pages of other origins, nor what is done for those who look at them.
func TestPerimeterAllocates(t *testing.T) {
	sized := Canned(t, "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d; Secure\r\nX-Frame-Options: DENY\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 1\r\n\r\nx")
	list := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(list, []byte(strings.Repeat("10.0.0.1\n10.9.0.0/16\n2001:db8::/32\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	gw := Start(t, fmt.Sprintf(`
services: { sized: { to: ["http://%s"] } }
defaults:
  cors: { origins: [https://shop.example, "https://*.shop.example"], credentials: true, expose: [X-Total] }
  use: [{ addresses: { deny_file: %q } }, { security_headers: { csp: default-src 'self' } }, { cookies: { except: [c] } }, { csrf: { origins: [https://www.shop.example] } }]
routes: { all: { match: "/**", to: sized } }
`, sized, list))
	f := func(status int, want, method, extra string) {
		t.Helper()
		checkAllocations(t, gw, status, want, method+" /a HTTP/1.1\r\n"+fields+extra+"\r\n")
	}
	f(200, "\r\nContent-Security-Policy: default-src 'self'\r\n", "GET", "")
	f(200, "\r\nAccess-Control-Allow-Origin: https://shop.example\r\n", "GET", "Origin: https://shop.example\r\n")
	f(200, "\r\nSet-Cookie: a=b; Secure; HttpOnly; SameSite=Lax\r\n", "POST", "Origin: https://www.shop.example\r\nContent-Length: 0\r\n")
	f(403, "", "POST", "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n")
	f(204, "\r\nAccess-Control-Allow-Headers: x-a, x-b\r\n", "OPTIONS",
		"Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a,x-b\r\n")
}

// TestTrustedAllocates: what a trusted proxy says about the client is read without an allocation.
func TestTrustedAllocates(t *testing.T) {
	origin := Canned(t, "HTTP/1.1 204 No Content\r\n\r\n")
	gw := Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", trust: [127.0.0.0/8, 10.0.0.0/8, "2001:db8:1::/48"] } }
services: { origin: { to: ["http://%s"] } }
routes:
  a: { match: /a, to: origin, rewrite: { response: { set: { X-Client: $client.ip } } } }
`, origin))
	f := func(forwarded, client string) {
		t.Helper()
		checkAllocations(t, gw, 204, "\r\nX-Client: "+client+"\r\n",
			"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "+forwarded+"\r\nX-Forwarded-Proto: https\r\nX-Request-Id: 0123456789\r\n\r\n")
	}
	f("192.0.2.9, 10.0.0.1", "192.0.2.9")
	f("192.0.2.9:4711, 10.0.0.1:80", "192.0.2.9")
	f("2001:db8::1, [2001:db8:1::2], [2001:db8:1::3]:99", "2001:db8::1")
}

// TestLongRunAllocates is the promise at length: with access log, rewriting and a sticky split, a request costs the
// whole process a hundredth of an allocation at most.
func TestLongRunAllocates(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 requests take some seconds")
	}
	const n = 100_000
	page := strings.Repeat("x", 1<<10)
	origin := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	access := filepath.Join(t.TempDir(), "access.log")
	gw := Start(t, fmt.Sprintf(`
log: { access: { to: %q } }
limits: { requests_per_connection: off }
services:
  a: { to: ["http://%s"] }
  b: { to: ["http://%s"] }
`, access, origin, origin)+policies+`
routes:
  find: { match: "/find/{kind}", to: { a: 70, b: 30 }, sticky: cookie sluice, rewrite: { path: "/search/{kind}", headers: { set: { X-Query: $query.q } } } }
`)
	r := gw.Repeat(200, "GET /find/cats?q=1 HTTP/1.1\r\n"+fields+"\r\n")
	warm(t, r)
	if got := float64(mallocs(t, n, r)) / n; got > allocationsMax {
		t.Errorf("%v allocations per request", got)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := gw.Server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	dropped := gw.Runtime.AccessLogDropped() // where the disk is slow
	gw.Stop()
	lines, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	if got := uint64(bytes.Count(lines, []byte("\n"))); got+dropped != n+warmUp {
		t.Errorf("%d lines in the access log and %d dropped, want %d", got, dropped, n+warmUp)
	}
	first, _, _ := bytes.Cut(lines, []byte("\n"))
	if !json.Valid(first) {
		t.Errorf("the first line of the access log is no JSON: %s", first)
	}
}

// TestCacheAllocates: a hit costs no allocation, small or large, and neither do the answers that are made of one.
func TestCacheAllocates(t *testing.T) {
	page := strings.Repeat("x", 1<<10)
	small := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"a\"\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	large := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: %d\r\n\r\n%s", 100*len(page), strings.Repeat(page, 100)))
	varied := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nVary: Accept-Language, Accept-Encoding\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	gw := Start(t, fmt.Sprintf(`
log: { access: { to: %q } }
services:
  small: { to: ["http://%s"] }
  large: { to: ["http://%s"] }
  varied: { to: ["http://%s"] }
`, filepath.Join(t.TempDir(), "access.log"), small, large, varied)+policies+`
routes:
  small:  { match: "/small/{kind}", use: [{ cache: { share: true, vary: [User-Agent] } }], to: small }
  large:  { match: "/large/{kind}", use: [{ cache: { share: true, vary: [User-Agent] } }], to: large }
  varied: { match: "/varied/{kind}", use: [{ cache: { vary: [Accept, User-Agent], key: { query: [q], cookies: [theme] } } }], to: varied }
`)
	get := func(path, more string) string {
		return "GET " + path + " HTTP/1.1\r\n" + fields[:strings.Index(fields, "Authorization")] + more + "\r\n"
	}
	for _, path := range []string{"/small/a?q=1", "/large/a", "/varied/a?q=1&r=2"} {
		more := ""
		if path[1] == 'v' {
			more = "Cookie: theme=dark\r\n"
		}
		if _, err := gw.Repeat(200, get(path, more)).Do(); err != nil { // the miss
			t.Fatal(err)
		}
	}
	checkAllocations(t, gw, 200, "sluice; hit", get("/small/a?q=1", ""))
	checkAllocations(t, gw, 200, "sluice; hit", get("/large/a", ""))
	checkAllocations(t, gw, 200, "sluice; hit", get("/varied/a?q=1&r=2", "Cookie: theme=dark\r\n"))
	checkAllocations(t, gw, 304, "sluice; hit", get("/small/a?q=1", "If-None-Match: \"a\"\r\n"))
	checkAllocations(t, gw, 206, "sluice; hit", get("/large/a", "Range: bytes=100-1000\r\n"))
	checkAllocations(t, gw, 206, "sluice; hit", get("/large/a", "Range: bytes=70000-90000\r\n"))
}

// TestLimitsAllocate: with three limits of rates and one of concurrency on, what is let in and what is refused allocates nothing.
func TestLimitsAllocate(t *testing.T) {
	origin := Canned(t, "HTTP/1.1 204 No Content\r\n\r\n")
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
policies:
  fair-use: { rate_limit: { allow: [1000000/s per ip, 1000000/s per header Authorization and path.kind, 1000000/s], cost: { header: X-Cost, status: { 5xx: 5 } } } }
  daily: { rate_limit: { allow: 1/d per cookie session } }
  few: { concurrency: { max: [100, 10 per ip] } }
defaults: { use: [few, fair-use] }
routes:
  find: { match: "/find/{kind}", to: origin }
  refused: { match: "/refused/{kind}", use: [daily], to: origin }
`, origin))
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + fields + "\r\n" }
	checkAllocations(t, gw, 204, "\r\nRateLimit: \"fair-use-1\";r=999999;t=1, \"fair-use-2\";r=", get("/find/cats"))
	if _, err := gw.Repeat(204, get("/refused/cats")).Do(); err != nil {
		t.Fatal(err) // the first request of the day
	}
	checkAllocations(t, gw, 429, "\r\nRetry-After: 8", get("/refused/cats"))
}
