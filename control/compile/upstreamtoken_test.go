package compile

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/proxy/auth/jwt/jwttest"
)

// TestUpstreamTokenOrder tries the places in a chain where such a policy cannot work.
func TestUpstreamTokenOrder(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, jwttest.New().Set(), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(use, want string) {
		t.Helper()
		_, problems := New(Options{Dry: true}).Compile(parse(t, fmt.Sprintf(`
cache: { memory: 16MiB }
services: { s: http://127.0.0.1:1 }
consumers: { partners: { acme: { keys: ["sha256:%s"] } } }
policies:
  signed-in: { jwt: { issuer: https://id.example, audience: a, jwks: %q } }
  watched: { jwt: { issuer: https://id.example, audience: a, jwks: %[2]q, mode: report } }
  asked: { introspection: { issuer: https://id.example, client_id: shop, client_secret: planted-secret, audience: a } }
  key: { api_key: { consumers: partners } }
  shared: { cache: { share: true } }
  own: { upstream_token: { issuer: https://id.example, client_id: shop, client_secret: planted-secret } }
  other: { upstream_token: { issuer: https://id.example, client_id: shop, client_secret: planted-secret, scope: x } }
  for-client: { upstream_token: { grant: token_exchange, issuer: https://id.example, client_id: shop, client_secret: planted-secret } }
routes: { a: { match: /a, use: %s, to: s } }
`, strings.Repeat("ab", 32), keys, use)))
		if got := problems.Error(); want == "" && len(problems) > 0 || !strings.Contains(got, want) || strings.Contains(got, "planted") {
			t.Errorf("%s: got %s, want %s", use, got, want)
		}
	}
	f("[own]", "")
	f("[signed-in, own]", "")
	f("[signed-in, for-client]", "")
	f("[asked, for-client]", "")
	f("[signed-in, { cache: {} }, for-client]", "")
	f("[for-client]", "routes.a.use: the policy for-client exchanges the client's token, and no policy before it has verified one")
	f("[watched, for-client]", "no policy before it has verified one")
	f("[key, for-client]", "no policy before it has verified one")
	f("[for-client, signed-in]", "no policy before it has verified one")
	f("[own, signed-in]", "the policy jwt stands behind upstream_token")
	f("[own, asked]", "the policy introspection stands behind upstream_token")
	f("[own, key]", "the policy api_key stands behind upstream_token")
	f("[own, other]", "has two policies of upstream_token")
	f("[own, { cache: {} }]", "warning: routes.a.use: upstream_token stands before cache")
	f("[signed-in, shared, for-client]", "behind a cache that gives to all what it keeps")
	f("[shared, own]", "")
}

// TestUpstreamTokensOutlive tries that tokens outlive a reload for as long as their policy stays what it is, and that nothing runs on that nobody
// uses.
func TestUpstreamTokensOutlive(t *testing.T) {
	var asked atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"access_token":"planted-token","token_type":"Bearer","expires_in":3600}`)
	}))
	defer provider.Close()
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, jwttest.New().Set(), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	wantInBackground(t, 0) // of other tests
	reload := func(scope, more string) {
		t.Helper()
		r.Commit(mustCompile(t, r, fmt.Sprintf(`
services: { s: http://127.0.0.1:1 }
policies:
  signed-in: { jwt: { issuer: https://id.example, audience: a, jwks: %q } }
  own: { upstream_token: { token_url: %q, client_id: shop, client_secret: planted-secret, scope: %s } }
  for-client: { upstream_token: { grant: token_exchange, token_url: %[2]q, client_id: shop, client_secret: planted-secret } }
routes: { a: { match: /a, use: [own], to: s }, b: { match: /b, use: [own], to: s }, c: { match: /c, use: [signed-in, for-client], to: s } }
%[4]s`, keys, provider.URL, scope, more)))
	}
	reload("a", "")
	eventually(t, "a token", func() bool { return len(r.OwnTokens()) == 1 && r.OwnTokens()[0].Fetched == 1 && r.Unready() == "" })
	reload("a", "defaults: { errors: text }")
	if s := r.OwnTokens(); asked.Load() != 1 || s[0].Name != "own" || s[0].Fetched != 1 {
		t.Errorf("after a reload the provider was asked %d times: %+v", asked.Load(), s)
	}
	wantInBackground(t, 2)
	r.Discard(mustCompile(t, r, "services: { s: http://127.0.0.1:1 }\nroutes: { a: { match: /a, to: s } }"))
	wantInBackground(t, 2)
	reload("b", "")
	eventually(t, "another token", func() bool { return asked.Load() == 2 && inBackground() == 2 && r.Unready() == "" })
	r.Commit(mustCompile(t, r, "services: { s: http://127.0.0.1:1 }\nroutes: { a: { match: /a, to: s } }"))
	wantInBackground(t, 0)
	if len(r.OwnTokens()) != 0 || len(r.ExchangedTokens()) != 0 || r.Unready() != "" {
		t.Error("what is gone is still shown")
	}
}

// TestUpstreamTokenExplained tries what is said of a token that is not fetched, and that no secret is shown.
func TestUpstreamTokenExplained(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), `
services: { s: http://127.0.0.1:1 }
policies:
  own: { upstream_token: { token_url: https://id.example/token, client_id: shop, client_secret: planted-secret } }
routes: { a: { match: /a, use: [own], to: s } }
`)
	e, err := p.Explain(http.MethodGet, "/a", [][2]string{{"Authorization", "Bearer planted-token"}}, nil, netip.MustParseAddr("127.0.0.1"))
	if err != nil || e.Status != 503 || e.RefusedBy != "own" || !strings.Contains(e.Outcome, "none is fetched here") {
		t.Errorf("got %+v, %v", e, err)
	}
	if got := fmt.Sprintf("%+v", e); strings.Contains(got, "planted") {
		t.Errorf("a secret is shown: %s", got)
	}
}
