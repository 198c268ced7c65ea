package proxytest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// provider is an OpenID provider of others' making, with keys that can be changed: the one that they come with has a single one.
type provider struct {
	*storage.Storage
	mu      sync.Mutex
	keys    []*providerKey // the last one signs
	gateway string         // where the web page is that signs people in: http://127.0.0.1:1234
}

// shop is a web page that is known to the provider: it signs people in.
type shop struct {
	*storage.Client
	at string
}

const shopSecret = "planted-client-secret"

// IDTokenUserinfoClaimsAssertion lets ID tokens hold what a scope asks for.
func (shop) IDTokenUserinfoClaimsAssertion() bool { return true }

func (s shop) RedirectURIs() []string           { return []string{s.at + "/oauth2/callback"} }
func (s shop) PostLogoutRedirectURIs() []string { return []string{s.at + "/goodbye"} }

func (p *provider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	if id != "shop" {
		return p.Storage.GetClientByClientID(ctx, id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return shop{storage.WebClient("shop", shopSecret), p.gateway}, nil
}

func (p *provider) AuthorizeClientIDSecret(ctx context.Context, id, secret string) error {
	if id == "shop" && secret == shopSecret {
		return nil
	}
	return p.Storage.AuthorizeClientIDSecret(ctx, id, secret)
}

// servesPageAt says where the shop's page is.
func (p *provider) servesPageAt(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gateway = url
}

// loginPage is what a person sees, who has her name and password filled in and the button pressed by the browser.
const loginPage = `<!doctype html><title>Sign in</title><form method=post action=/login/username>
<input name=id value=%q><input name=username value=test-user2><input name=password type=password value=verysecure></form>
<script>document.forms[0].submit()</script>`

func (p *provider) login(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, loginPage, r.FormValue("authRequestID"))
		return
	}
	id := r.FormValue("id")
	if err := p.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	http.Redirect(w, r, "/authorize/callback?id="+url.QueryEscape(id), http.StatusFound)
}

type providerKey struct {
	id      string
	private *rsa.PrivateKey
	public  bool // it is shown so
}

func (k *providerKey) ID() string                                  { return k.id }
func (k *providerKey) Use() string                                 { return "sig" }
func (k *providerKey) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (k *providerKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k *providerKey) Key() any {
	if k.public {
		return &k.private.PublicKey
	}
	return k.private
}

func (p *provider) rotate(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, &providerKey{id: fmt.Sprint("key-", len(p.keys)), private: private})
}

func (p *provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[len(p.keys)-1], nil
}

// KeySet shows the last two keys.
func (p *provider) KeySet(context.Context) ([]op.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var shown []op.Key
	for _, k := range p.keys[max(0, len(p.keys)-2):] {
		shown = append(shown, &providerKey{k.id, k.private, true})
	}
	return shown, nil
}

func (p *provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// client is one whose tokens are JWT.
type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (p *provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := p.Storage.ClientCredentials(ctx, id, secret)
	return client{c}, err
}

// startProvider returns a provider and where it answers.
func startProvider(t *testing.T) (*provider, *httptest.Server) {
	t.Helper()
	var handler http.Handler
	var p *provider
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login/username" {
			p.login(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	p = &provider{Storage: storage.NewStorage(storage.NewUserStore(server.URL))}
	p.rotate(t)
	var err error
	handler, err = op.NewProvider(&op.Config{CryptoKey: sha256.Sum256([]byte("test")), GrantTypeRefreshToken: true}, p, op.StaticIssuer(server.URL), op.WithAllowInsecure())
	if err != nil {
		t.Fatal(err)
	}
	return p, server
}

// tokenOf asks the provider for a token, as a program does that calls an API (RFC 6749 section 4.4).
func tokenOf(t *testing.T, issuer string) string {
	t.Helper()
	response, err := http.PostForm(issuer+"/oauth/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"sid1"}, "client_secret": {"verysecret"}, "scope": {"openid"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("the provider answers %s %q, %v", response.Status, answer.Error, err)
	}
	return answer.Token
}

// opaqueTokenOf signs a person in, as the shop's page does, and returns the token that it gets: one that says nothing.
func opaqueTokenOf(t *testing.T, p *provider, issuer string) string {
	t.Helper()
	p.servesPageAt("http://127.0.0.1:1")
	browser := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Port() == "1" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	do := func(response *http.Response, err error) (*http.Response, []byte) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, body
	}
	asks, _ := do(browser.Get(issuer + "/authorize?" + url.Values{
		"client_id": {"shop"}, "response_type": {"code"}, "redirect_uri": {"http://127.0.0.1:1/oauth2/callback"}, "scope": {"openid email"}, "state": {"s"},
	}.Encode()))
	back, _ := do(browser.PostForm(issuer+"/login/username", url.Values{
		"id": {asks.Request.URL.Query().Get("authRequestID")}, "username": {"test-user2"}, "password": {"verysecure"},
	}))
	to, err := back.Location()
	if err != nil {
		t.Fatal(err)
	}
	answer, body := do(http.PostForm(issuer+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1:1/oauth2/callback"},
		"client_id": {"shop"}, "client_secret": {shopSecret},
	}))
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &token); err != nil || token.Access == "" {
		t.Fatalf("the provider answers %s %s", answer.Status, body)
	}
	return token.Access
}

// TestIntrospectionAtProvider asks a real provider about tokens: where it is asked is found by discovery; what is remembered is good without it.
func TestIntrospectionAtProvider(t *testing.T) {
	t.Parallel()
	p, server := startProvider(t)
	defer server.Close()
	token := opaqueTokenOf(t, p, server.URL)
	gw := Start(t, fmt.Sprintf(`
policies:
  signed-in: { introspection: { issuer: %q, client_id: shop, client_secret: %q, require: { scope: email, email_verified: true }, remember: 1h } }
  written: { introspection: { issuer: %[1]q, client_id: shop, client_secret: %[2]q, require: { scope: orders.write } } }
  stranger: { introspection: { issuer: %[1]q, client_id: shop, client_secret: wrong } }
routes:
  a: { match: /a, use: [signed-in], respond: { status: 200, headers: { X-User: $jwt.sub, X-Mail: $jwt.email } } }
  write: { match: /write, use: [written], respond: { status: 200 } }
  stranger: { match: /stranger, use: [stranger], respond: { status: 200 } }
`, server.URL, shopSecret))
	if status, fields := asked(t, gw.Addr, "/a", token); status != 200 || fields.Get("X-User") != "id2" || fields.Get("X-Mail") != "test-user2@zitadel.ch" {
		t.Errorf("a good token: %d, %q", status, fields)
	}
	f := func(path, token string, want int) {
		t.Helper()
		if status, _ := asked(t, gw.Addr, path, token); status != want {
			t.Errorf("%s %s: %d, want %d", path, token, status, want)
		}
	}
	f("/write", token, 403)
	f("/a", token[1:], 401)
	f("/a", "", 401)
	f("/stranger", token, 503) // the provider does not answer whom it does not know
	for deadline := time.Now().Add(time.Minute); !strings.Contains(gw.Runtime.Unready(), "no introspection at "+server.URL); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("unready is %q", gw.Runtime.Unready())
		}
	}
	server.CloseClientConnections()
	server.Close()
	f("/a", token, 200)
	f("/a", "another", 503)
}

// TestOpenIDProvider runs against a real provider, as far as one can run in a test: its keys are found by discovery; it changes them while
// tokens of the old and the new one come, and no good one is refused; it goes away, and its last keys serve.
func TestOpenIDProvider(t *testing.T) {
	t.Parallel()
	p, server := startProvider(t)
	defer server.Close()
	issuer := server.URL
	gw := Start(t, fmt.Sprintf(`
policies: { signed-in: { jwt: { issuer: %q, audience: sid1 } } }
routes: { a: { match: /a, use: [signed-in], respond: { status: 200, headers: { X-User: $jwt.sub } } } }
`, issuer))
	var mu sync.Mutex
	tokens := []string{tokenOf(t, issuer)}
	some := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(tokens[max(0, len(tokens)-2):])
	}
	var stop atomic.Bool
	var asks atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for !stop.Load() {
				for _, token := range some() {
					if status, fields := asked(t, gw.Addr, "/a", token); status != 200 || fields.Get("X-User") != "sid1" {
						t.Errorf("a good token: %d", status)
						stop.Store(true)
					}
					asks.Add(1)
				}
			}
		})
	}
	for range 2 {
		for after := asks.Load() + 50; asks.Load() < after && !stop.Load(); {
			time.Sleep(time.Millisecond)
		}
		p.rotate(t)
		token := tokenOf(t, issuer)
		mu.Lock()
		tokens = append(tokens, token)
		mu.Unlock()
	}
	for after := asks.Load() + 50; asks.Load() < after && !stop.Load(); {
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	group.Wait()
	fresh := tokenOf(t, issuer)
	server.Close()
	for _, token := range append(some(), fresh) {
		if status, _ := asked(t, gw.Addr, "/a", token); status != 200 {
			t.Errorf("without the provider: %d", status)
		}
	}
	if status, _ := asked(t, gw.Addr, "/a", fresh[:len(fresh)-4]+"AAAA"); status != 401 {
		t.Errorf("a token that was changed: %d", status)
	}
}
