package compile

import (
	"net/netip"
	"strings"
	"testing"

	"sluice/control/config"
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
		c := parse(t, "state: "+t.TempDir()+"\npolicies: { partners: { client_cert: {} }, inside: { addresses: { allow: [10.0.0.0/8] } } }\n"+
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
	f("[{ cache: {} }, { rate_limit: { allow: 100/d, cost: { size: 1KiB } } }]", "the policy rate_limit counts the bytes that clients get, and stands behind cache")
	f("[{ cache: {} }, { quota: { allow: 100/day, cost: { size: 1KiB } } }]", "the policy quota counts the bytes that clients get, and stands behind cache")
	f("[{ rate_limit: { allow: 100/d, cost: { size: 1KiB } } }, { cache: {} }, { rate_limit: { allow: 100/d, cost: 2 } }]", "")
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
		r := newRuntime(t)
		plan, problems := r.Compile(c)
		if plan != nil {
			r.Discard(plan)
		}
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

// TestLimitsOfOpenRoutes: a limit per consumer that all routes have does not keep those from being open to everybody.
func TestLimitsOfOpenRoutes(t *testing.T) {
	const yaml = `
policies:
  partners: { client_cert: {} }
  fair: { rate_limit: { allow: [100/s per consumer, 20/s per ip] } }
  mine: { rate_limit: { allow: 5/s per claim.sub } }
  few: { concurrency: { max: [2 per consumer, 10 per ip, 50] } }
defaults: { use: [route, fair, mine, few] }
routes:
  known: { match: /known, use: [partners], respond: { status: 204 } }
  open: { match: /open, respond: { status: 204 } }
  skips: { match: /skips, skip: [fair, mine, few], respond: { status: 204 } }
`
	r := New(Options{Dry: true})
	plan, problems := r.Compile(parse(t, yaml))
	if plan == nil {
		t.Fatal(problems)
	}
	got := ""
	for _, p := range problems {
		if p.Path == "routes.open" {
			got += p.Message[:strings.Index(p.Message, ", and")] + "; " + p.Hint + "\n"
		} else if strings.HasPrefix(p.Path, "routes.") {
			t.Errorf("%s: %s", p.Path, p.Message)
		}
	}
	if want := "the policy fair of defaults.use counts per consumer; skip: [fair]\nthe policy mine of defaults.use counts per claim; skip: [mine]\n" +
		"the policy few of defaults.use counts per consumer; skip: [few]\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	f := func(path string, policies, limits string) {
		t.Helper()
		e, err := plan.Explain("GET", path, nil, nil, netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(e.Policies, " "); got != policies {
			t.Errorf("%s: the policies are %s, want %s", path, got, policies)
		}
		if got := strings.Join(e.Limits, "\n"); limits != "" && got != limits {
			t.Errorf("%s: the limits are\n%s\nwant\n%s", path, got, limits)
		}
	}
	f("/known", "partners fair mine few respond", "")
	f("/skips", "respond", "")
	f("/open", "fair few respond", "fair: 20/s per ip, counted as 192.0.2.1\nfew: 10 per ip at the same time, counted as 192.0.2.1\nfew: 50 at the same time, counted with all others")

	// What the route itself wants is an error.
	_, problems = r.Compile(parse(t, strings.Replace(yaml, "/open,", "/open, use: [fair], skip: [fair],", 1)))
	if !problems.HasErrors() || !strings.Contains(problems.Error(), "routes.open.use: the policy fair counts per consumer") {
		t.Error(problems)
	}
}

// TestLimitsOfOpenRoutesServe: what is left of a policy counts on all of its routes together.
func TestLimitsOfOpenRoutesServe(t *testing.T) {
	plan := mustCompile(t, newRuntime(t), `
policies: { fair: { rate_limit: { allow: [1/h burst 1 per consumer, 3/h burst 3 per ip] } } }
defaults: { use: [fair] }
routes:
  a: { match: /a, respond: { status: 204 } }
  b: { match: /b, respond: { status: 204 } }
`)
	for i, path := range []string{"/a", "/b", "/a", "/b", "/a"} {
		e, err := plan.Explain("GET", path, nil, nil, netip.MustParseAddr("192.0.2.1"))
		want := 204
		if i >= 3 {
			want = 429
		}
		if err != nil || e.Status != want {
			t.Errorf("request %d: got %+v, %v; want %d", i, e, err, want)
		}
	}
}

// TestExplainCache: what a cache tells requests apart by, and whose its answers are.
func TestExplainCache(t *testing.T) {
	f := func(use, want string) {
		t.Helper()
		p := mustCompile(t, New(Options{Dry: true}), `
policies:
  partners: { client_cert: {} }
  watched: { client_cert: { mode: report } }
  ignored: { client_cert: { mode: off } }
  key: { api_key: { header: X-Api-Key, consumers: shops } }
  signed-in: { jwt: { issuer: https://id.shop.example, audience: shop, mode: report, secret: "a secret for tests, 0123456789abcdef" } }
  asked: { forward_auth: { service: auth } }
  named: { forward_auth: { service: auth, identity: X-User } }
  pages: { cache: {} }
services: { auth: { to: http://127.0.0.1:1 } }
consumers: { shops: { acme: { keys: [{ prefix: sk_acme_, hash: "sha256:1528b61a159faa728bda3a736e7933bfd213a5b0c64aeff124a2f06d2c4e33e3" }] } } }
routes: { r: { match: /r, use: [`+use+`], respond: { status: 204 } } }
`)
		e, err := p.Explain("GET", "/r", nil, nil, netip.MustParseAddr("192.0.2.1"))
		if got := strings.Join(e.Caches, "\n"); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", use, got, err, want)
		}
	}
	const vary = "; and the fields that Vary of the answer names; "
	f("pages", "pages: by scheme, host, path, query"+vary+"one copy for all clients")
	f("partners, pages", "pages: by scheme, host, path, query"+vary+"each client has a copy of its own")
	f("watched, pages", "pages: by scheme, host, path, query"+vary+"each client that is known has a copy of its own, all others have one")
	f("ignored, pages", "pages: by scheme, host, path, query"+vary+"one copy for all clients")
	f("key, pages", "pages: by scheme, host, path, query"+vary+"each client has a copy of its own")
	f("key, named, pages", "pages: by scheme, host, path, query"+vary+"each client has a copy of its own: one that differs by api_key or forward_auth is another")
	f("asked, key, pages", "pages: by scheme, host, path, query"+vary+"each client has a copy of its own: one that differs by forward_auth or api_key is another")
	f("asked, pages", "pages: by scheme, host, path, query"+vary+"whoever shows and wants the same before the service that decides has one copy")
	f("signed-in, asked, pages", "pages: by scheme, host, path, query"+vary+"whoever shows and wants the same before the service that decides has one copy: one that differs by jwt or forward_auth is another")
	f("signed-in, watched, pages", "pages: by scheme, host, path, query"+vary+"each client that is known has a copy of its own, all others have one: one that differs by jwt or client_cert is another")
	f("partners, { cache: { share: true, vary: [X-A, X-B], key: { query: [p, q], cookies: [c], claims: [sub] } } }",
		"cache: by scheme, host, path; of the query p, q; the fields X-A, X-B; the cookies c; the claims sub"+vary+"one copy for all clients, whoever they are")
	f("{ cache: { key: { query: none } } }", "cache: by scheme, host, path"+vary+"one copy for all clients")
	f("partners", "")

	asks := config.TLS{ClientCerts: config.List[config.ClientCerts]{{}}}
	b := &builder{config: &config.Config{TLS: config.Named[config.TLS]{{Name: "edge", Value: asks}}}}
	if got := b.whoseCopy(new(config.CachePolicy)); got != "each client that is known has a copy of its own, all others have one" {
		t.Errorf("where listeners ask for certificates: %s", got)
	}
	b.at.before = []*config.Policy{{OIDC: new(config.OIDC)}}
	if got := b.whoseCopy(new(config.CachePolicy)); got != "each client has a copy of its own: one that differs by oidc or its certificate is another" {
		t.Errorf("the same with a policy that identifies: %s", got)
	}
}
