package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/loadtest/origin"
	"sluice/proxy/auth/jwt/jwttest"
)

// scenario is a situation in which the proxies are compared. A new one is an entry below, and whatever the proxies need to
// be configured for it in peers/.
type scenario struct {
	name  string
	about string // what it shows, in a few words
	path  string
	load  load // wrk with 64 connections if nil

	// with makes each peer run twice, without and with what the word stands for, to tell what that costs. The files in
	// peers/ look for it.
	with string

	// needs are words that each peer always has: what cannot be left out of the scenario.
	needs string

	answer  string   // the body that is expected, where it is not the origin's
	status  int      // 200 if zero
	without []string // programs that cannot do it
	large   bool     // nginx-64k and haproxy-splice take part: with large bodies buffers decide
	also    []string // further peers that take part in the thorough run
	calls   bool     // system calls are counted
	often   bool     // twice as many rounds: the one that most depends on
	slow    bool     // part of the thorough run only
}

var scenarios = []scenario{
	{name: "proxy-1k", about: "1 KiB proxied", path: "/1k", often: true, calls: true, also: []string{"nginx-same", "haproxy-same"}},
	{name: "browser", about: "1 KiB proxied, with the fields that a browser sends", path: "/1k", load: wrk{fields: browser}},
	{name: "proxy-100k", about: "100 KiB proxied", path: "/100k", large: true},
	{name: "proxy-1m", about: "1 MiB proxied", path: "/1m", large: true},
	{name: "cache-1k", about: "1 KiB from the cache", path: "/1k", needs: "cache", calls: true, large: true},
	{name: "cache-100k", about: "100 KiB from the cache", path: "/100k", needs: "cache", large: true},
	{name: "static", about: "a fixed answer", path: "/static", answer: `{"ok":true}`, calls: true},
	{name: "redirect", about: "a redirect", path: "/moved", answer: anything, status: 308, slow: true},
	{name: "post-4k", about: "4 KiB uploaded", path: "/upload", load: wrk{body: 4 << 10}, answer: `{"received":4096}`},
	{name: "post-1m", about: "1 MiB uploaded", path: "/upload", load: wrk{body: 1 << 20}, answer: `{"received":1048576}`, large: true, slow: true},
	{name: "routes", about: "1 KiB, 10,000 routes instead of 1", path: "/tenants/t7777/items/1k", with: "routes", without: []string{"varnishd"}, slow: true},
	{name: "log", about: "1 KiB, with an access log in JSON", path: "/1k", with: "log", without: []string{"varnishd"}},
	{name: "scrape", about: "1 KiB, metrics read every second", path: "/1k", with: "scrape", without: []string{"varnishd"}, slow: true},
	{name: "policies", about: "1 KiB, address list, header edits, a rewrite", path: "/shop/1k", with: "policies", without: []string{"varnishd"}, slow: true},
	{name: "perimeter", about: "1 KiB, called by a page of another origin, with all that guards browsers", path: "/1k", with: "perimeter",
		load: wrk{fields: browser}, without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "compress", about: "a page of a list in JSON, compressed with gzip", path: "/page", with: "compress",
		load: wrk{fields: []string{"Accept-Encoding=gzip"}}, without: []string{"varnishd"}, slow: true},
	{name: "jwt", about: "1 KiB, a browser's fields, the token verified", path: "/1k", load: wrk{fields: signedIn}, with: "jwt",
		without: []string{"varnishd", "nginx", "haproxy"}},
	{name: "api-key", about: "1 KiB, a browser's fields, a key looked up and taken away", path: "/1k", load: wrk{fields: withKey}, with: "api-key",
		without: []string{"varnishd", "nginx", "haproxy"}},
	{name: "forward-auth", about: "1 KiB, a browser's fields, a decision of another service remembered", path: "/1k", load: wrk{fields: browser}, with: "forward-auth",
		without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "authorize", about: "1 KiB, a browser's fields, a token verified, an expression over method, path and claims", path: "/1k", load: wrk{fields: signedIn},
		needs: "jwt", with: "jwt+authorize", without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "limits", about: "1 KiB, three limits of rates", path: "/1k", with: "limits", without: []string{"varnishd"}, slow: true},
	{name: "limits-across", about: "1 KiB, three limits of rates that hosts share", path: "/1k", with: "limits+across", without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "quota", about: "1 KiB, a browser's fields, a key looked up, a quota of its consumer", path: "/1k", load: wrk{fields: withKey},
		needs: "api-key", with: "api-key+quota", without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "doors", about: "1 KiB, a new connection for each request, counted for its client", path: "/1k", load: wrk{fields: []string{"Connection=close"}},
		with: "doors", without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "guarded", about: "1 KiB, a browser's fields, a token, three limits and an access log, beside proxies without", path: "/1k", load: wrk{fields: signedIn},
		with: "jwt+limits+log", without: []string{"varnishd"}, slow: true},
	{name: "websocket", about: "64 bytes there and back over a WebSocket", path: "/socket", load: echo{}, answer: anything},
	{name: "churn", about: "1 KiB, a new connection for each request", path: "/1k", load: wrk{fields: []string{"Connection=close"}}},
	{name: "tls", about: "1 KiB, over TLS", path: "/1k", with: "tls", without: []string{"varnishd"}},
	{name: "handshake", about: "a fixed answer, a TLS handshake for each", path: "/static", answer: `{"ok":true}`, needs: "tls",
		load: wrk{fields: []string{"Connection=close"}}, without: []string{"varnishd"}},
	{name: "h2", about: "1 KiB over HTTP/2 and TLS, 10 streams on each connection", path: "/1k", needs: "tls+h2",
		load: h2load{options: []string{"-m10"}}, without: []string{"varnishd"}},
	{name: "h3", about: "1 KiB over HTTP/3, 10 requests at a time on each connection", path: "/1k", needs: "tls+h3", load: h3load{streams: 10},
		without: []string{"varnishd", "nginx", "haproxy"}, slow: true},
	{name: "tcp", about: "1 KiB over connections that are passed on, which nobody reads", path: "/1k", needs: "tcp", without: []string{"nginx", "varnishd"}, slow: true},
	{name: "h2load", about: "1 KiB, the load from h2load", path: "/1k", load: h2load{options: []string{"--h1"}}, slow: true},
	{name: "idle", about: "18,000 keep-alive connections that wait", path: "/1k", load: hold{connections: 18_000}},
	{name: "idle-tls", about: "4,000 keep-alive connections that wait, over TLS", path: "/1k", load: hold{connections: 4_000}, needs: "tls",
		without: []string{"varnishd"}},
	{name: "idle-h2", about: "4,000 connections of HTTP/2 and TLS that wait", path: "/1k", load: hold{connections: 4_000}, needs: "tls+h2",
		without: []string{"varnishd"}},
}

// browser are the fields of a page's call of an API, with a token. What a gateway does with a head depends on its size, and that of
// wrk, one field, is nobody's.
var browser = []string{
	"User-Agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"Accept=application/json, text/plain, */*", "Accept-Encoding=gzip, deflate, br, zstd", "Accept-Language=en-US,en;q=0.9",
	"Referer=https://shop.example/orders", "Origin=https://shop.example", "Sec-Fetch-Mode=cors", "Sec-Fetch-Site=same-site",
	"Authorization=Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJlc2ln",
}

// issuer makes the token that every request of the scenario jwt has.
var issuer = func() *jwttest.Issuer {
	i := jwttest.New()
	i.URL = "https://id.shop.example"
	return i
}()

// signedIn are the same fields with a token that is good for a day.
var signedIn = append(slices.Clone(browser[:len(browser)-1]), "Authorization=Bearer "+issuer.Token("exp", time.Now().Add(24*time.Hour).Unix()))

// withKey are the same fields with a key, which peers/sluice.yaml has the hash of.
var withKey = append(slices.Clone(browser[:len(browser)-1]), "X-Api-Key=sk_load_5hJp3vXcQ0mZr8tYwB1nKdLsEa7uFgVi2oRxTqC4bMz")

// anything is the answer of a scenario that leaves it to the proxy.
const anything = "*"

// expected is the body that a request of the scenario gets.
func (s scenario) expected() string {
	if s.answer != "" {
		return s.answer
	}
	name := s.path[strings.LastIndexByte(s.path, '/')+1:]
	if name == "page" {
		return string(origin.Page)
	}
	if size, ok := origin.Sizes[name]; ok {
		return string(origin.Body(size))
	}
	return anything
}

// generator is the load of the scenario.
func (s scenario) generator() load {
	if s.load == nil {
		return wrk{}
	}
	return s.load
}

// unit of the cost.
func (s scenario) unit() string {
	if _, ok := s.load.(hold); ok {
		return "KiB"
	}
	return "µs"
}

// pick finds scenarios by their names; a name ending in * stands for all that begin so.
func pick(names []string, thorough bool) ([]scenario, error) {
	var picked []scenario
	if len(names) == 0 {
		for _, s := range scenarios {
			if thorough || !s.slow {
				picked = append(picked, s)
			}
		}
		return picked, nil
	}
	for _, name := range names {
		prefix, open := strings.CutSuffix(name, "*")
		found := false
		for _, s := range scenarios {
			if s.name != name && !(open && strings.HasPrefix(s.name, prefix)) {
				continue
			}
			found = true
			if !slices.ContainsFunc(picked, func(p scenario) bool { return p.name == s.name }) {
				picked = append(picked, s)
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no scenario %q (there are %s)", name, strings.Join(scenarioNames(), ", "))
		}
	}
	return picked, nil
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}
