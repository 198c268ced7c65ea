package compile

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"sluice/control/config"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt/jwttest"
)

// TestAlgorithmsAgree holds the two planes to the same algorithms.
func TestAlgorithmsAgree(t *testing.T) {
	f, ok := reflect.TypeFor[config.JWT]().FieldByName("Algorithms")
	var want []string
	for _, a := range jose.Algorithms {
		want = append(want, string(a))
	}
	if got := f.Tag.Get("enum"); !ok || got != strings.Join(want, ",") {
		t.Errorf("config knows %s, package jose %s", got, strings.Join(want, ","))
	}
}

// inBackground counts the goroutines that fetch keys and tokens, look at lists and probe providers.
func inBackground() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("created by sluice/proxy/auth/background."))
}

// wantInBackground waits for that many: one that has ended, and was waited for, may be counted for a moment.
func wantInBackground(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d goroutines in the background", want), func() bool { return inBackground() == want })
}

// TestTokensOutlive tries that what was verified, and the keys, outlive a reload for as long as the policy stays what it is, and that nothing
// else runs on.
func TestTokensOutlive(t *testing.T) {
	issuer := jwttest.Start()
	defer issuer.Close()
	revoked := filepath.Join(t.TempDir(), "revoked")
	if err := os.WriteFile(revoked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	wantInBackground(t, 0) // of other tests
	policy := func(more string) string {
		return fmt.Sprintf("{ jwt: { issuer: %q, audience: shop-api%s } }", issuer.URL, more)
	}
	of := func(policies ...string) string {
		yaml := "policies:\n"
		var names []string
		for i, p := range policies {
			yaml += fmt.Sprintf("  p%d: %s\n", i, p)
			names = append(names, fmt.Sprintf("p%d", i))
		}
		return yaml + "routes: { a: { match: /a, use: [" + strings.Join(names, ", ") + "], respond: { status: 204 } } }\n"
	}
	serves := func(p *Plan, n int) {
		t.Helper()
		// A dry plan would have no keys: this one fetches.
		e, err := p.Explain(http.MethodGet, "/a", [][2]string{{"Authorization", "Bearer " + issuer.Token()}}, nil, netip.MustParseAddr("127.0.0.1"))
		if err != nil || e.Status != 204 {
			t.Fatalf("got %+v, %v", e, err)
		}
		var verified int
		for _, s := range r.TokenPolicies() {
			verified += int(s.Verified)
		}
		if verified != n {
			t.Errorf("%d tokens were verified, want %d", verified, n)
		}
	}
	reload := func(yaml string) *Plan {
		t.Helper()
		p := mustCompile(t, r, yaml)
		r.Commit(p)
		return p
	}
	token := issuer.Token()
	p := reload(of(policy("")))
	ask := func(p *Plan) {
		t.Helper()
		e, err := p.Explain(http.MethodGet, "/a", [][2]string{{"Authorization", "Bearer " + token}}, nil, netip.MustParseAddr("127.0.0.1"))
		if err != nil || e.Status != 204 || e.Client != "jwt user-7 of "+issuer.URL {
			t.Fatalf("got %+v, %v", e, err)
		}
	}
	ask(p)
	ask(p)
	p = reload(of(policy("")) + "defaults: { errors: text }\n")
	ask(p)
	if s := r.TokenPolicies(); len(s) != 1 || s[0].Name != "p0" || s[0].Verified != 1 || s[0].Remembered != 1 {
		t.Errorf("after a reload: %+v", s)
	}
	// Another rule: it is judged anew, with the same keys.
	p = reload(of(policy(", require: { scope: orders.read }"), policy("")))
	ask(p)
	if n := issuer.Asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	wantInBackground(t, 1)
	serves(p, 4)

	// What is discarded leaves no trace, and what runs goes on.
	d := mustCompile(t, r, of(policy(", revoked: "+revoked), `{ jwt: { issuer: "http://127.0.0.1:1", audience: a } }`))
	r.Discard(d)
	ask(p)
	wantInBackground(t, 1)
	p = reload(of(policy(", revoked: " + revoked)))
	ask(p)
	wantInBackground(t, 2) // of keys and of a list
	reload("routes: { a: { match: /a, respond: { status: 204 } } }")
	wantInBackground(t, 0)
	if len(r.KeySources()) != 0 || len(r.TokenPolicies()) != 0 || r.Unready() != "" {
		t.Error("what is gone is still shown")
	}
}

// TestKeySources tries that policies whose keys seem to have the same source are one series, and that /readyz names each.
func TestKeySources(t *testing.T) {
	issuer := jwttest.Start()
	defer issuer.Close()
	issuer.Break(http.NotFoundHandler())
	r := newRuntime(t)
	r.Commit(mustCompile(t, r, fmt.Sprintf(`
policies:
  a: { jwt: { issuer: a, audience: a, jwks: "%[1]s/keys?a=1" } }
  b: { jwt: { issuer: a, audience: a, jwks: "%[1]s/keys?b=2" } }
  c: { jwt: { issuer: "%[1]s", audience: a } }
routes: { a: { match: /a, use: [a, b, c], respond: { status: 204 } } }
`, issuer.URL)))
	eventually(t, "three fetches", func() bool {
		s := r.KeySources()
		return len(s) == 2 && s[0].Source == issuer.URL && s[0].Failed > 0 && s[1].Source == issuer.URL+"/keys" && s[1].Failed > 1 && s[1].Keys == 0
	})
	if got, want := r.Unready(), "no keys of "+issuer.URL+"; no keys of "+issuer.URL+"/keys"; got != want {
		t.Errorf("unready is %q, want %q", got, want)
	}
	issuer.Break(nil)
	eventually(t, "keys of both", func() bool {
		s := r.KeySources()
		return r.Unready() == "" && len(s) == 2 && s[0].Keys == 1 && s[1].Keys == 1 && s[1].Fetched > 1
	})
}

func TestJWT_problems(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	keys := write("keys.json", string(jwttest.New().Set()))
	skipped := write("skipped.json", strings.Replace(string(jwttest.New().Set()), `{"keys":[`, `{"keys":[{"kty":"oct","k":"cGxhbnRlZC1zZWNyZXQ"},`, 1))
	f := func(jwt, rest, want string) {
		t.Helper()
		if rest == "" {
			rest = "routes: { a: { match: /a, use: [p], respond: { status: 204 } } }"
		}
		_, problems := New(Options{Dry: true}).Compile(parse(t, "policies: { p: { jwt: { "+jwt+" } } }\n"+rest))
		if got := problems.Error(); want == "" && len(problems) > 0 || !strings.Contains(got, want) || strings.Contains(got, "cGxhbnRlZC1zZWNyZXQ") {
			t.Errorf("%s: got %s, want %s", jwt, got, want)
		}
	}
	f("issuer: a, audience: a, jwks: "+keys, "", "")
	f("issuer: a, audience: a, jwks: "+skipped, "", "warning: key 1 is left out: it is a secret of HMAC")
	f("issuer: a, audience: a, jwks: "+write("empty.json", `{"keys":[]}`), "", "policies.p: the set has no keys")
	f("issuer: a, audience: a, jwks: "+write("page.json", `<html>`), "", "policies.p: the set of keys cannot be read")
	f("issuer: a, audience: a, jwks: "+keys+", revoked: "+filepath.Join(dir, "none"), "", "policies.p: cannot read the list of revoked tokens")
	f("issuer: a, audience: a, jwks: "+keys+", revoked: "+write("revoked", "jti:x"), "", "line 1")
	f("issuer: a, audience: a, jwks: "+keys+`, require: { scope: 'a"b' }`, "", "is no scope")

	const late = "asks for claims of a token that no policy"
	ask := "{ headers: { request: { set: { X-User: $jwt.sub } } } }"
	f("issuer: a, audience: a, jwks: "+keys, "routes: { a: { match: /a, use: [p, "+ask+"], respond: { status: 204 } } }", "")
	f("issuer: a, audience: a, jwks: "+keys, "routes: { a: { match: /a, use: ["+ask+", p], respond: { status: 204 } } }", late)
	f("issuer: a, audience: a, jwks: "+keys, "services: { s: http://127.0.0.1:1 }\nroutes: { b: { match: /b, to: s, rewrite: { headers: { set: { X-User: $jwt.sub } } } }, a: { match: /a, use: [p], respond: { status: 204 } } }", late)
	f("issuer: a, audience: a, jwks: "+keys, "services: { s: http://127.0.0.1:1 }\nroutes: { b: { match: /b, use: [p], to: s, rewrite: { headers: { set: { X-User: $jwt.sub } } } } }", "")
}

// TestIdentified tries the question that policies ask which need to know who the client is.
func TestIdentified(t *testing.T) {
	c := parse(t, `
policies:
  signed-in: { jwt: { issuer: https://id.example, audience: a } }
  watched: { jwt: { issuer: https://id.example, audience: a, mode: report } }
  tidy: { headers: { response: { remove: [Server] } } }
defaults: { use: [tidy, route] }
routes:
  a: { match: /a, use: [signed-in], respond: { status: 204 } }
  b: { match: /b, use: [watched], respond: { status: 204 } }
  c: { match: /c, use: [{ jwt: { issuer: https://id.example, audience: a } }, tidy], skip: [tidy], respond: { status: 204 } }
`)
	f := func(route string, n int, want bool) {
		t.Helper()
		r, _ := c.Routes.Get(route)
		if got := c.Identified(c.Chain(r), n); got != want {
			t.Errorf("%s, before %d: got %v", route, n, got)
		}
	}
	f("a", 0, false)
	f("a", 1, false)
	f("a", 2, true)
	f("b", 2, false)
	f("c", 0, false)
	f("c", 1, true)
}

// TestJWTExplained tries what is said of a policy whose keys are elsewhere, and that no token is shown.
func TestJWTExplained(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), `
policies: { signed-in: { jwt: { issuer: https://id.example, audience: a } } }
routes: { a: { match: /a, use: [signed-in], respond: { status: 204 } } }
`)
	e, err := p.Explain(http.MethodGet, "/a", [][2]string{{"Authorization", "Bearer planted-token"}}, nil, netip.MustParseAddr("127.0.0.1"))
	if err != nil || e.Status != 503 || e.RefusedBy != "signed-in" || !strings.Contains(e.Outcome, "nothing is fetched here") {
		t.Errorf("got %+v, %v", e, err)
	}
	if got := fmt.Sprintf("%+v", e); strings.Contains(got, "planted-token") {
		t.Errorf("the token is shown: %s", got)
	}
}
