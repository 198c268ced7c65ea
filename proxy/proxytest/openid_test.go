package proxytest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
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
	mu   sync.Mutex
	keys []*providerKey // the last one signs
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
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	p := &provider{Storage: storage.NewStorage(storage.NewUserStore(server.URL))}
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
