package compile

import (
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/router"
)

// TestSecurityHeaders: what a policy says of HSTS, where it says nothing, and where listeners do.
func TestSecurityHeaders(t *testing.T) {
	const tlsSet = "tls: { edge: { certificates: self-signed, hsts: 30d } }\nlisten: { web: { address: \"127.0.0.1:8443\", tls: edge } }\n"
	f := func(top, policy, want string) {
		t.Helper()
		r := newRuntime(t)
		p := mustCompile(t, r, top+"routes: { a: { match: /a, use: [{ security_headers: "+policy+" }], respond: {} } }\n")
		r.Commit(p)
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Method, x.Request.Scheme = "GET", "https"
		x.Lookup = router.Request{Method: []byte("GET"), Host: []byte("a"), Path: []byte("/a"), Values: x}
		route, _ := p.Snapshot.Table.Lookup(&x.Lookup, &x.Match)
		if err := route.Chain.Serve(x); err != nil {
			t.Fatal(err)
		}
		x.EditHead()
		if got := string(x.Response.Head.Get("strict-transport-security")); got != want {
			t.Errorf("%s: got %q, want %q", policy, got, want)
		}
	}
	f("", "{}", "max-age=31536000")
	f("", "{ hsts: 1h }", "max-age=3600")
	f("", "{ hsts: off }", "")
	f(tlsSet, "{}", "")
	f(tlsSet, "{ hsts: 1h }", "max-age=3600")
}

// TestCrossed: cors and csrf that contradict one another.
func TestCrossed(t *testing.T) {
	f := func(match, cors, csrf string, warned bool) {
		t.Helper()
		r := newRuntime(t)
		p, problems := r.Compile(parse(t, "routes: { a: { match: "+match+", cors: "+cors+", use: [{ csrf: "+csrf+" }], respond: {} } }\n"))
		if p == nil || (len(problems) == 1) != warned || len(problems) > 1 {
			t.Errorf("%s %s: %v", cors, csrf, problems)
		}
		if p != nil {
			r.Discard(p)
		}
	}
	f("/a", "{ origins: https://a.example }", "{}", true)
	f("/a", "{ origins: [https://a.example, https://b.example] }", "{ origins: https://a.example }", true)
	f("/a", "{ origins: '*' }", "{ origins: https://a.example }", true)
	f("/a", "{ origins: https://a.example }", "{ origins: https://a.example }", false)
	f("/a", "{ origins: https://a.example }", "{ mode: report }", false)
	f("/a", "{ origins: https://a.example, methods: [get, head] }", "{}", false)
	f("GET /a", "{ origins: https://a.example }", "{}", false)
	f("/a", "off", "{}", false)
}

// TestBehindCache: what must see every response, or every request, does not stand behind a cache.
func TestBehindCache(t *testing.T) {
	f := func(policy, want string, isError bool) {
		t.Helper()
		r := newRuntime(t)
		p, problems := r.Compile(parse(t, "routes: { a: { match: /a, use: [{ cache: {} }, { "+policy+": {} }], respond: {} } }\n"))
		if p != nil {
			r.Discard(p)
		}
		if !strings.Contains(problems.Error(), want) || problems.HasErrors() != isError || len(problems) == 0 {
			t.Errorf("%s: %v", policy, problems)
		}
	}
	f("security_headers", "stands behind cache", false)
	f("cookies", "stands behind cache", false)
	f("csrf", "the policy csrf stands behind cache", true)
}
