package proxytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// shownTo is an origin that keeps what it was shown last, and may refuse it.
type shownTo struct {
	*httptest.Server
	asked         atomic.Int64
	authorization atomic.Value
	fields        atomic.Value
	status        atomic.Int64
}

func startShown(t *testing.T, fields ...string) *shownTo {
	t.Helper()
	o := &shownTo{}
	o.status.Store(200)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		o.authorization.Store(strings.Join(r.Header.Values("Authorization"), "|"))
		o.fields.Store(r.Header.Clone())
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(int(o.status.Load()))
		fmt.Fprintf(w, "answer %d", o.asked.Load())
	}))
	t.Cleanup(o.Close)
	return o
}

// ValidateTokenExchangeRequest lets everybody have their own tokens exchanged: the provider as it comes lets administrators alone.
func (p *provider) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	r.SetCurrentScopes(r.GetScopes())
	return nil
}

// TestUpstreamTokenAtProvider gets tokens of a real provider: one of the gateway's own, which another policy then finds to be good, and one for a
// client's, which says nothing to anybody but the provider. What is remembered is shown when the provider has gone.
func TestUpstreamTokenAtProvider(t *testing.T) {
	t.Parallel()
	p, server := startProvider(t)
	defer server.Close()
	origin := startShown(t)
	token := opaqueTokenOf(t, p, server.URL)
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: [%q] } }
policies:
  own: { upstream_token: { issuer: %[2]q, client_id: sid1, client_secret: verysecret, scope: [openid] } }
  signed-in: { introspection: { issuer: %[2]q, client_id: shop, client_secret: %[3]q, remember: 1h, strip: true } }
  for-client: { upstream_token: { grant: token_exchange, issuer: %[2]q, client_id: shop, client_secret: %[3]q, audience: shop } }
  stranger: { upstream_token: { grant: token_exchange, issuer: %[2]q, client_id: shop, client_secret: wrong } }
  its-own: { jwt: { issuer: %[2]q, audience: sid1 } }
routes:
  own: { match: /own, use: [own], to: origin }
  client: { match: /client, use: [signed-in, for-client], to: origin }
  stranger: { match: /stranger, use: [signed-in, stranger], to: origin }
  check: { match: /check, use: [its-own], respond: { status: 200, headers: { X-User: $jwt.sub } } }
`, origin.URL, server.URL, shopSecret))
	f := func(path, token string, want int) string {
		t.Helper()
		before := origin.asked.Load()
		status, _ := asked(t, gw.Addr, path, token)
		if status != want || (want == 200) != (origin.asked.Load() > before) {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
		shown, _ := origin.authorization.Load().(string)
		return shown
	}
	own := f("/own", "planted-token-of-a-client", 200)
	if status, fields := asked(t, gw.Addr, "/check", strings.TrimPrefix(own, "Bearer ")); status != 200 || fields.Get("X-User") != "sid1" {
		t.Errorf("the token %s: %d, of %s", own, status, fields.Get("X-User"))
	}
	if again := f("/own", "", 200); again != own {
		t.Errorf("the next request has another token")
	}
	exchanged := f("/client", token, 200)
	if !strings.HasPrefix(exchanged, "Bearer ") || exchanged == "Bearer "+token || exchanged == own {
		t.Errorf("got %s for %s", exchanged, token)
	}
	// What was got is one of the same person's.
	if again := f("/client", strings.TrimPrefix(exchanged, "Bearer "), 200); again == exchanged {
		t.Error("one token is got for two")
	}
	f("/client", "", 401)
	f("/client", token[1:], 401)
	f("/stranger", token, 503)
	eventually(t, "that it says so", func() bool { return strings.Contains(gw.Runtime.Unready(), "no exchange of tokens at "+server.URL) })

	server.CloseClientConnections()
	server.Close()
	if again := f("/client", token, 200); again != exchanged {
		t.Errorf("without the provider: %s", again)
	}
	if again := f("/own", "", 200); again != own {
		t.Errorf("without the provider: %s", again)
	}
	for _, s := range gw.Runtime.OwnTokens() {
		if s.Name != "own" || s.Fetched != 1 || s.Rejected != 0 || s.Refused != 0 || time.Until(s.Ends) <= 0 {
			t.Errorf("the status is %+v", s)
		}
	}
	if s := gw.Runtime.ExchangedTokens(); len(s) != 2 || s[0].Name != "for-client" || s[0].Exchanged != 2 || s[0].Remembered != 2 || s[1].Failed != 1 {
		t.Errorf("the status is %+v", s)
	}
}

// handsOut is a token endpoint as RFC 6749 and RFC 8693 describe it, as little of it as a test needs. It may break.
type handsOut struct {
	*httptest.Server
	asked  atomic.Int64
	broken atomic.Bool
}

func startHandsOut(t *testing.T) *handsOut {
	t.Helper()
	h := &handsOut{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := h.asked.Add(1)
		id, secret, _ := r.BasicAuth()
		w.Header().Set("Cache-Control", "no-store")
		fail := func(status int, code string) { w.WriteHeader(status); fmt.Fprintf(w, `{"error":%q}`, code) }
		switch {
		case h.broken.Load():
			w.WriteHeader(503)
		case r.Method != http.MethodPost || id != "gateway" || secret != "planted-secret":
			fail(401, "invalid_client")
		case r.PostFormValue("grant_type") == "client_credentials":
			fmt.Fprintf(w, `{"access_token":"own-%d","token_type":"Bearer","expires_in":3600}`, n)
		case r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
			fail(400, "unsupported_grant_type")
		case r.PostFormValue("subject_token_type") != "urn:ietf:params:oauth:token-type:access_token" || r.PostFormValue("subject_token") == "":
			fail(400, "invalid_request")
		case r.PostFormValue("audience") != "orders":
			fail(400, "invalid_target")
		default:
			fmt.Fprintf(w, `{"access_token":"for-%d","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`, n)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// TestUpstreamTokenDown tries that routes are closed while there was never a token, say so, and open when there is one; other routes do not care.
func TestUpstreamTokenDown(t *testing.T) {
	t.Parallel()
	from, origin := startHandsOut(t), startShown(t)
	from.broken.Store(true)
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: [%q] } }
policies: { own: { upstream_token: { token_url: "%s/token?tenant=planted-tenant", client_id: gateway, client_secret: planted-secret } } }
routes:
  own: { match: /own, use: [own], to: origin }
  free: { match: /free, to: origin }
`, origin.URL, from.URL))
	eventually(t, "a question", func() bool { return from.asked.Load() > 0 })
	response, err := http.Get("http://" + gw.Addr + "/own")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "urn:sluice:problem:upstream_token_unavailable") {
		t.Errorf("%d %s, %v", response.StatusCode, body, err)
	}
	if why := gw.Runtime.Unready(); why != "no token for services of "+from.URL+"/token" {
		t.Errorf("unready is %q", why)
	}
	if status, _ := asked(t, gw.Addr, "/free", "mine"); status != 200 || origin.authorization.Load() != "Bearer mine" {
		t.Errorf("another route: %d, %s", status, origin.authorization.Load())
	}
	from.broken.Store(false)
	eventually(t, "a token", func() bool { status, _ := asked(t, gw.Addr, "/own", "mine"); return status == 200 })
	if why := gw.Runtime.Unready(); why != "" || !strings.HasPrefix(origin.authorization.Load().(string), "Bearer own-") {
		t.Errorf("unready is %q; the service was shown %s", why, origin.authorization.Load())
	}
	// A reload keeps the token, and another policy gets its own.
	n := from.asked.Load()
	before := origin.authorization.Load()
	gw.Reload(fmt.Sprintf(`
services: { origin: { to: [%q] } }
policies:
  own: { upstream_token: { token_url: "%s/token?tenant=planted-tenant", client_id: gateway, client_secret: planted-secret } }
  other: { upstream_token: { token_url: "%[2]s/token", client_id: gateway, client_secret: planted-secret, scope: other } }
routes:
  own: { match: /own, use: [own], to: origin }
  other: { match: /other, use: [other], to: origin }
`, origin.URL, from.URL))
	if status, _ := asked(t, gw.Addr, "/own", ""); status != 200 || origin.authorization.Load() != before {
		t.Errorf("after a reload: %d, %s", status, origin.authorization.Load())
	}
	if status, _ := asked(t, gw.Addr, "/other", ""); status != 200 || origin.authorization.Load() == before || from.asked.Load() != n+1 {
		t.Errorf("another policy: %d, %s", status, origin.authorization.Load())
	}
}

// TestUpstreamTokenCached tries whose answers a cache keeps, in front of such a policy and behind it.
func TestUpstreamTokenCached(t *testing.T) {
	t.Parallel()
	from := startHandsOut(t)
	signed := `{ jwt: { issuer: https://id.example, audience: shop-api, jwks: %q } }`
	issuer, keys := fixedIssuer(t)
	silent, public := startShown(t, "Cache-Control", "max-age=60"), startShown(t, "Cache-Control", "public, max-age=60")
	varies := startShown(t, "Cache-Control", "max-age=60", "Vary", "Authorization")
	gw := Start(t, fmt.Sprintf(`
cache: { memory: 16MiB }
services: { silent: { to: [%q] }, public: { to: [%q] }, varies: { to: [%q] } }
policies:
  signed-in: `+fmt.Sprintf(signed, keys)+`
  kept: { cache: {} }
  own: { upstream_token: { token_url: "%[4]s", client_id: gateway, client_secret: planted-secret } }
  for-client: { upstream_token: { grant: token_exchange, token_url: "%[4]s", client_id: gateway, client_secret: planted-secret, audience: orders } }
routes:
  open: { match: /open, use: [kept, own], to: silent }
  varies: { match: /varies, use: [kept, own], to: varies }
  before: { match: /before, use: [own, kept], to: silent }
  public: { match: /public, use: [own, kept], to: public }
  mine: { match: /mine, use: [signed-in, kept, for-client], to: silent }
  own: { match: /own, use: [signed-in, kept, own], to: silent }
  behind: { match: /behind, use: [signed-in, for-client, kept], to: silent }
`, silent.URL, public.URL, varies.URL, from.URL))
	ann, bob := issuer.Token("iss", "https://id.example", "sub", "ann"), issuer.Token("iss", "https://id.example", "sub", "bob")
	f := func(path, token string, want bool) {
		t.Helper()
		count := func() int64 { return silent.asked.Load() + public.asked.Load() + varies.asked.Load() }
		before := count()
		if status, _ := asked(t, gw.Addr, path, token); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
		if hit := count() == before; hit != want {
			t.Errorf("%s: a copy: %v, want %v", path, hit, want)
		}
	}
	// What nobody has asked for with a token of their own is for all who may ask.
	f("/open", "", false)
	f("/open", "", true)
	f("/open", "whatever", true) // the answer does not depend on it: the service has never seen it
	f("/varies", "", false)
	f("/varies", "", false) // it says that it does, and the cache cannot tell how
	// Behind the policy the cache sees an Authorization that says nothing about the client.
	f("/before", "", false)
	f("/before", "", false)
	f("/public", "", false)
	f("/public", "", true)
	// With a client that is known, each has its own.
	f("/mine", ann, false)
	f("/mine", ann, true)
	f("/mine", bob, false)
	f("/mine", bob, true)
	f("/own", ann, false)
	f("/own", ann, true)
	f("/own", bob, false)
	f("/behind", ann, false)
	f("/behind", ann, false)
}

// TestUpstreamTokenRejected tries that the origin's 401 goes back as it is, once, and that a proof of the client's does not go on.
func TestUpstreamTokenRejected(t *testing.T) {
	t.Parallel()
	from, origin := startHandsOut(t), startShown(t, "WWW-Authenticate", "Bearer")
	issuer, keys := fixedIssuer(t)
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: [%q] } }
policies:
  signed-in: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %q, strip: true } }
  elsewhere: { upstream_token: { grant: token_exchange, token_url: %[3]q, client_id: gateway, client_secret: planted-secret, audience: others } }
  own: { upstream_token: { token_url: %[3]q, client_id: gateway, client_secret: planted-secret } }
  for-client: { upstream_token: { grant: token_exchange, token_url: %[3]q, client_id: gateway, client_secret: planted-secret, audience: orders } }
routes:
  own: { match: /own, use: [own], to: origin }
  client: { match: /client, use: [signed-in, for-client], to: origin }
  elsewhere: { match: /elsewhere, use: [signed-in, elsewhere], to: origin }
`, origin.URL, keys, from.URL))
	token := issuer.Token("iss", "https://id.example")
	origin.status.Store(401)
	for i, path := range []string{"/own", "/client"} {
		r, err := http.NewRequest(http.MethodPost, "http://"+gw.Addr+path, strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("DPoP", "planted-proof")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != 401 || origin.asked.Load() != int64(i+1) {
			t.Errorf("%s: %d, and the origin was asked %d times", path, response.StatusCode, origin.asked.Load())
		}
		if shown := origin.authorization.Load().(string); strings.Contains(shown, token) || !strings.HasPrefix(shown, "Bearer ") || strings.Contains(shown, "|") {
			t.Errorf("%s: the origin was shown %s", path, shown)
		}
		if fields := origin.fields.Load().(http.Header); fields.Get("DPoP") != "" {
			t.Errorf("%s: the proof goes on", path)
		}
	}
	n := origin.asked.Load()
	if status, _ := asked(t, gw.Addr, "/elsewhere", token); status != 403 || origin.asked.Load() != n {
		t.Errorf("a service that the token is not for: %d", status)
	}
}
