package compile

import (
	"strings"
	"testing"
)

// TestLimitsNeedIdentity: who is asking must have been found out before it is counted by.
func TestLimitsNeedIdentity(t *testing.T) {
	f := func(use, want string) {
		t.Helper()
		c := parse(t, `
policies:
  partners: { client_cert: {} }
  watched: { client_cert: { mode: report } }
routes: { r: { match: /r, use: `+use+`, respond: {} } }
`)
		plan, problems := newRuntime(t).Compile(c)
		got := ""
		for _, p := range problems {
			if !p.Warning {
				got += p.Message
			}
		}
		if want == "" && (got != "" || plan == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
	f("[partners, { rate_limit: { allow: 1/s per consumer } }]", "")
	f("[partners, { concurrency: { max: 5 per claim.sub } }]", "")
	f("[{ rate_limit: { allow: 1/s per consumer } }, partners]", "the policy rate_limit counts per consumer, and no policy before it finds out who that is")
	f("[watched, { rate_limit: { allow: [1/s, 1/s per claim.a.b and ip] } }]", "counts per claim")
	f("[{ concurrency: { max: [5, 1 per consumer] } }]", "the policy concurrency counts per consumer")
	f("[{ rate_limit: { allow: 1/s per ip } }]", "")
}

// TestCacheOrder: what guards stands before a cache, and so does what tells its keys apart.
func TestCacheOrder(t *testing.T) {
	f := func(use, want string) {
		t.Helper()
		c := parse(t, "policies: { partners: { client_cert: {} }, inside: { addresses: { allow: [10.0.0.0/8] } } }\n"+
			"routes: { r: { match: /r, use: "+use+", respond: {} } }\n")
		_, problems := newRuntime(t).Compile(c)
		got := ""
		for _, p := range problems {
			got += p.Message
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
	f("[partners, inside, { cache: { key: { claims: [sub] } } }, { compress: {} }, { headers: { request: { remove: [A] } } }]", "")
	f("[{ cache: {} }, partners]", "the policy client_cert stands behind cache")
	f("[{ cache: {} }, inside]", "the policy addresses stands behind cache")
	f("[{ cache: {} }, { cache: {} }]", "two caches")
	f("[{ cache: { key: { claims: [sub] } } }]", "holds claims")
	f("[{ compress: {} }, { cache: {} }]", "compress stands before cache")
	f("[{ cache: {} }, { compress: { secrets: true } }]", "compress with secrets stands behind cache")
	f("[{ compress: { secrets: true } }, { cache: {} }]", "")
	f("[{ compress: { secrets: true } }, { compress: {} }]", "a response is compressed once")
	f("[{ compress: { secrets: true } }, { cache: {} }, { compress: {} }]", "a response is compressed once")
}

// TestCacheKey: what makes the answer depend on a request belongs to the key of the cache before it.
func TestCacheKey(t *testing.T) {
	f := func(cache, behind, want string) {
		t.Helper()
		if !strings.Contains(behind, "respond:") && !strings.Contains(behind, "redirect:") {
			behind += ", to: s"
		}
		use, behind, more := strings.Cut(behind, "; ")
		if !more {
			use, behind = "", use
		}
		c := parse(t, `
services: { s: "http://127.0.0.1:1" }
policies: { partners: { client_cert: {} }, lang: { headers: { request: { set: { X-L: $header.X-Lang } } } }, told: { headers: { response: { add: { X-C: $client.ip } } } } }
routes: { r: { match: "/r/{id}", use: [partners, { cache: { `+cache+` } }`+use+`], `+behind+` } }
`)
		_, problems := newRuntime(t).Compile(c)
		got := ""
		for _, p := range problems {
			if !strings.Contains(p.Message, "nothing uses") {
				got += p.Path + ": " + p.Message + "; " + p.Hint
			}
			if p.Warning {
				got += " (a warning)"
			}
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s, %s: got %q, want %q", cache, behind, got, want)
		}
	}
	const lang = "routes.r.use: holds $header.X-Lang behind a cache whose key does not"
	f("", ", lang; rewrite: { path: /a }", lang)
	f("", ", lang; rewrite: { path: /a }", "vary: [X-Lang]")
	f("vary: [x-lang]", ", lang; rewrite: { path: /a }", "")
	f("vary: [x-lang]", ", told; respond: {}", "routes.r.use: holds $client.ip")

	f("", `rewrite: { headers: { set: { X: "$request.id $route $service $path.id $query.q $request.uri $request.host $consumer" } } }`, "")
	f("", "rewrite: { headers: { set: { X-Client: $client.ip } } }", "routes.r.rewrite.headers.set.X-Client: tells the service $client.ip behind a cache")
	f("", "rewrite: { headers: { set: { X-Client: $client.ip } } }", "(a warning)")
	f("", "rewrite: { response: { add: { X-Client: $client.ip } } }", "routes.r.rewrite.response.add.X-Client: holds $client.ip")
	f("", "rewrite: { path: /x/$cookie.c }", "routes.r.rewrite.path: holds $cookie.c behind a cache whose key does not")
	f("key: { cookies: [c] }", "rewrite: { path: /x/$cookie.c }", "")
	f("vary: [Cookie]", "rewrite: { path: /x/$cookie.c }", "")
	f("", "rewrite: { host: $header.X-Shop }", "vary: [X-Shop]")
	f("", "redirect: { to: \"https://$header.X-To/\" }", "routes.r.redirect.to: holds $header.X-To")
	f("", "redirect: { to: \"https://x/$header.Host/$path.id\" }", "")
	f("", "respond: { headers: { X-A: $header.A } }", "routes.r.respond.headers.X-A: holds $header.A")
	f("key: { query: [a] }", "redirect: { to: \"https://x/$query.a\" }", "")
	f("key: { query: [a] }", "redirect: { to: \"https://x/$query.b\" }", "key: { query: [b] }")
	f("key: { query: none }", "redirect: { to: \"https://x$request.uri\" }", "key: { query: all }")
	f("share: true", "rewrite: { headers: { set: { X: $consumer } } }", "leave out share: true")
	f("share: true, key: { claims: [scope] }", "rewrite: { headers: { set: { X: $jwt.scope } } }", "no policy")
}
