package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sluice/proxy"
)

// endpoint is a server that answers with whatever a test wants, and a provider that has it as its token endpoint.
func endpoint(t *testing.T) (answer *http.HandlerFunc, p *Provider) {
	t.Helper()
	answer = new(http.HandlerFunc)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer)(w, r) }))
	t.Cleanup(server.Close)
	p = NewProvider(ProviderOptions{Known: Metadata{Token: server.URL + "/token?tenant=planted-tenant", TokenAuth: []string{"client_secret_post"}, IntrospectionAuth: []string{}}})
	t.Cleanup(p.Stop)
	return answer, p
}

// TestCredentials: how the gateway says who it is, in each of the ways.
func TestCredentials(t *testing.T) {
	t.Parallel()
	answer, p := endpoint(t)
	f := func(c Credentials, want string) {
		t.Helper()
		var got string
		*answer = func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "tenant=planted-tenant" {
				t.Errorf("%s %s, %v", r.Method, r.URL, err)
			}
			user, password, basic := r.BasicAuth()
			got = fmt.Sprintf("%t %s %s|%s %s|%s %t", basic, user, password, r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), r.PostForm.Get("a"), r.PostForm.Has("client_assertion"))
			fmt.Fprint(w, "{}")
		}
		if text, err := NewClient(p, c).Post(context.Background(), TokenEndpoint, url.Values{"a": {"b c&d"}}); err != nil || string(text) != "{}" {
			t.Errorf("got %q, %v", text, err)
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(Credentials{ID: "shop", Secret: "s"}, "false  |shop s|b c&d false") // which is all that the provider takes
	f(Credentials{ID: "shop", Secret: "s", Method: Post}, "false  |shop s|b c&d false")
	f(Credentials{ID: "shop:1", Secret: "a b+ü", Method: Basic}, "true shop%3A1 a+b%2B%C3%BC| |b c&d false")
	f(Credentials{ID: "shop"}, "false  |shop |b c&d false")

	for _, key := range []any{must(rsa.GenerateKey(rand.Reader, 2048)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), newEd25519()} {
		text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
		signing, err := ParseSigningKey(text, "k")
		if err != nil {
			t.Fatal(err)
		}
		f(Credentials{ID: "shop", Key: signing}, "false  |shop |b c&d true")
		assertion := must(signing.assertion("shop", "https://id.example/token", time.Now()))
		signed, err := jose.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
		if err != nil {
			t.Fatal(err)
		}
		claims, err := signed.Verify(signing.signer.Public())
		if err != nil {
			t.Fatalf("%T: %v", key, err)
		}
		var said struct {
			Issuer   string `json:"iss"`
			Subject  string `json:"sub"`
			Audience string `json:"aud"`
			ID       string `json:"jti"`
		}
		if err := json.Unmarshal(claims, &said); err != nil || said.Issuer != "shop" || said.Subject != "shop" || said.Audience != "https://id.example/token" || said.ID == "" {
			t.Errorf("%s, %v", claims, err)
		}
	}
	for _, text := range []string{
		"", "planted-secret", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("planted-secret")})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))))})),
	} {
		if _, err := ParseSigningKey([]byte(text), ""); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func newEd25519() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestAnswers: what comes of an answer, good or bad. Nothing that was sent is in an error.
func TestTokenAnswers(t *testing.T) {
	t.Parallel()
	answer, p := endpoint(t)
	f := func(name string, status int, text, want string) {
		t.Helper()
		*answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) }
		c := NewClient(p, Credentials{ID: "shop", Secret: "planted-secret"})
		token, err := c.Token(context.Background(), url.Values{"grant_type": {"authorization_code"}, "code": {"planted-code"}})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%+v", *token)
		}
		if !strings.Contains(got, want) || strings.Contains(got, "planted") {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if s := c.Status(); (s.Failed == 1) != (err != nil && !strings.Contains(want, "token endpoint")) || strings.Contains(s.Problem, "planted") {
			t.Errorf("%s: the status is %+v", name, s)
		}
	}
	f("all", 200, `{"access_token":"a","token_type":"Bearer","refresh_token":"r","id_token":"i","scope":"s","expires_in":60}`, "{Access:a Kind:Bearer Refresh:r ID:i Scope:s Expires:1m0s}")
	f("text for seconds", 200, `{"access_token":"a","expires_in":"60"}`, "Expires:1m0s")
	f("no seconds", 200, `{"access_token":"a","expires_in":null}`, "Expires:0s")
	f("too many seconds", 200, `{"access_token":"a","expires_in":1e300}`, "Expires:8784h0m0s")
	f("wrong seconds", 200, `{"access_token":"a","expires_in":-1}`, "token endpoint says not in seconds")
	f("words for seconds", 200, `{"access_token":"a","expires_in":"soon"}`, "token endpoint says not in seconds")
	f("no token", 200, `{}`, "token endpoint has no access_token")
	f("a page", 200, `<html>planted`, "token endpoint is not the object")
	f("an error", 400, `{"error":"invalid_grant","error_description":"the code planted-code of planted-secret\r\n has ended"}`, "400 invalid_grant: the code *** of *** has ended")
	f("no error", 500, `<html>planted`, "the provider answers 500")
	f("a strange error", 401, `{"error":"a \"b\""}`, "the provider answers 401")
	f("a redirect", 302, ``, "the provider answers 302")
	f("a long one", 200, strings.Repeat(" ", answerBytesMax+1), "longer than")
	f("a long error", 400, `{"error":"`+strings.Repeat("a", 500)+`"}`, strings.Repeat("a", 64))
}

// TestRepeated: whatever of a question a provider repeats in its refusal, no secret of it is in an error.
func TestRepeated(t *testing.T) {
	t.Parallel()
	answer, p := endpoint(t)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(newEd25519()))})
	key := must(ParseSigningKey(text, ""))
	f := func(c Credentials, repeat func(*http.Request) string, want string) {
		t.Helper()
		*answer = func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "got " + repeat(r) + "."})
		}
		client := NewClient(p, c)
		_, err := client.Token(context.Background(), url.Values{"hint": {"code"}, "code": {"planted-code-of-one"}, "a": {"b"}})
		if got := fmt.Sprint(err); got != "the provider answers 400 invalid_client: got "+want+"." || client.Status().Problem != got {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	value := func(name string) func(*http.Request) string {
		return func(r *http.Request) string { return r.PostFormValue(name) }
	}
	f(Credentials{ID: "shop", Key: key}, value("client_assertion"), "***")
	f(Credentials{ID: "shop", Key: key}, value("client_id"), "shop") // which helps
	f(Credentials{ID: "shop"}, value("code"), "***")                 // not torn by the hint, which is a part of it
	f(Credentials{ID: "shop", Secret: "s", Method: Post}, value("client_secret"), "***")
	f(Credentials{ID: "shop", Secret: "planted ü", Method: Basic}, func(r *http.Request) string { _, s, _ := r.BasicAuth(); return s }, "***")
	f(Credentials{ID: "shop", Secret: "planted ü", Method: Basic}, func(r *http.Request) string { return r.Header.Get("Authorization") }, "Basic ***")
}

// TestCooling: a provider that does not answer is not asked again at once, one that refuses is.
func TestCooling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testCooling) // a machine that stands still for a moment is not to pass for a provider that has cooled down
}

// without answers in the place of a network.
type without func() *http.Response

func (w without) RoundTrip(*http.Request) (*http.Response, error) { return w(), nil }

func testCooling(t *testing.T) {
	asked := 0
	status := 400
	p := NewProvider(ProviderOptions{Known: Metadata{Token: "https://id.example/token"}})
	p.http.Transport = without(func() *http.Response {
		asked++
		return &http.Response{StatusCode: status, Body: http.NoBody}
	})
	c := NewClient(p, Credentials{ID: "shop"})
	post := func() error {
		_, err := c.Post(context.Background(), TokenEndpoint, url.Values{})
		return err
	}
	for range 3 {
		var refusal *Refusal
		if err := post(); !errors.As(err, &refusal) {
			t.Fatal(err)
		}
	}
	status = 503
	if err := post(); err == nil || asked != 4 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	if err := post(); !errors.Is(err, ErrCooling) || asked != 4 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	status = 200
	time.Sleep(coolMin - 1)
	if err := post(); !errors.Is(err, ErrCooling) || asked != 4 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	time.Sleep(1)
	if err := post(); err != nil {
		t.Fatal(err)
	}
	if s := c.Status(); s.Problem != "" || asked != 5 || s.Asked != 5 || s.Failed != 4 {
		t.Errorf("%+v, asked %d times", s, asked)
	}
	if _, err := c.Post(context.Background(), IntrospectionEndpoint, nil); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	nobody := NewClient(NewProvider(ProviderOptions{Issuer: "https://id.example", Idle: true}), Credentials{})
	if _, err := nobody.Post(context.Background(), TokenEndpoint, nil); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// TestProvider: where endpoints are is asked in the background, in both places, until there is an answer; requests wait for the first one.
func TestProvider(t *testing.T) {
	t.Parallel()
	f := func(name, path, document string, known Metadata, want string) {
		t.Helper()
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, strings.ReplaceAll(document, "SELF", server.URL+"/realm"))
		}))
		defer server.Close()
		p := NewProvider(ProviderOptions{Issuer: server.URL + "/realm", Known: known})
		if p.Unready() == "" {
			t.Errorf("%s: it is ready before it was asked", name)
		}
		p.Start()
		defer p.Stop()
		x := proxy.Acquire()
		defer x.Release()
		m := p.Await(x)
		got := p.Status().Problem
		if m != nil {
			got = strings.ReplaceAll(m.Token, server.URL, "")
		}
		if !strings.Contains(got, want) || (m == nil) != (p.Unready() != "") {
			t.Errorf("%s: got %s, want %s; unready is %q", name, got, want, p.Unready())
		}
	}
	const openid, plain = "/realm/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realm"
	f("OpenID", openid, `{"issuer":"SELF","token_endpoint":"SELF/t"}`, Metadata{}, "/realm/t")
	f("OAuth", plain, `{"issuer":"SELF","token_endpoint":"SELF/t"}`, Metadata{}, "/realm/t")
	f("known", openid, `{"issuer":"SELF","token_endpoint":"SELF/t"}`, Metadata{Token: "https://id.example/t"}, "https://id.example/t")
	f("nowhere", "/", ``, Metadata{}, "404")
	f("another issuer", openid, `{"issuer":"https://evil.example"}`, Metadata{}, "calls itself")
	f("an endpoint over http", openid, `{"issuer":"SELF","token_endpoint":"http://id.example/t"}`, Metadata{}, "no URL of https")
	f("a page", openid, `<html>`, Metadata{}, "not the document")
}
