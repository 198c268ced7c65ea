package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/proxy/auth/jwt/jwttest"
)

// TestLogin runs the binary beside a provider that is down when it starts. Somebody signs in, well and badly, and others bring tokens that the
// provider is asked about. Then everything is looked at that the gateway has said: nothing that is secret is in it.
func TestLogin(t *testing.T) {
	const client, session = "planted-client-secret", "planted-session-secret-0123456789abcdef"
	issuer := jwttest.New()
	var mu sync.Mutex
	down, nonce := true, ""
	var idToken string
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case down:
			w.WriteHeader(503)
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","introspection_endpoint":"%[1]s/introspect","jwks_uri":"%[1]s/keys"}`, issuer.URL)
		case r.URL.Path == "/introspect":
			fmt.Fprintf(w, `{"active":%t,"sub":"user-7"}`, r.FormValue("token") == "planted-opaque-token")
		case r.URL.Path == "/token" && r.FormValue("code") != "planted-code-good":
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error":"invalid_request","error_description":"what is %s, with %s?"}`, r.FormValue("code"), r.FormValue("code_verifier"))
		case r.URL.Path == "/token":
			now := time.Now().Unix()
			idToken = issuer.Sign("JWT", map[string]any{"iss": issuer.URL, "aud": "shop", "sub": "user-7", "nonce": nonce, "iat": now, "exp": now + 300})
			fmt.Fprintf(w, `{"access_token":"planted-access-token","refresh_token":"planted-refresh-token","id_token":%q,"expires_in":300}`, idToken)
		default:
			issuer.ServeHTTP(w, r)
		}
	}))
	defer provider.Close()
	issuer.URL = provider.URL
	dir := t.TempDir()
	access := filepath.Join(dir, "access.log")
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), `
version: 1
admin: { address: "127.0.0.1:0" }
log: { access: { to: `+access+` } }
listen: { web: { address: "127.0.0.1:0" } }
policies:
  signed-in: { oidc: { issuer: "`+issuer.URL+`", client_id: shop, client_secret: "${CLIENT}", session: { secrets: ["${SESSION}"] } } }
  asked: { introspection: { issuer: "`+issuer.URL+`", client_id: shop, client_secret: "${CLIENT}", strip: true } }
routes:
  a: { match: /**, use: [signed-in], respond: { text: in, headers: { X-User: $jwt.sub } } }
  asked: { match: /asked, use: [asked], respond: { text: in, headers: { X-User: $jwt.sub } } }
`)
	t.Setenv("CLIENT", client)
	t.Setenv("SESSION", session)
	p := launch(t, "run", "-c", file)
	web, admin := p.address("web"), p.address("admin")
	var cookies []string
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(path string, fields ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+web+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		response, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		for _, c := range response.Cookies() {
			cookies = append(cookies, c.Name+"="+c.Value)
		}
		return response
	}
	f := func(want int, path string, fields ...string) *http.Response {
		t.Helper()
		response := ask(path, fields...)
		if response.StatusCode != want {
			t.Errorf("%s %q: %d, want %d", path, fields, response.StatusCode, want)
		}
		return response
	}
	var said strings.Builder // everything that anybody can read
	page := func(path string) (int, string) {
		t.Helper()
		status, text := get("http://" + admin + path)
		said.WriteString(text)
		return status, text
	}
	f(503, "/")
	f(503, "/asked", "Authorization", "Bearer planted-opaque-token")
	if status, text := page("/readyz"); status != 503 || !strings.Contains(text, "nothing known of "+issuer.URL) {
		t.Errorf("without a provider /readyz says %d %q", status, text)
	}
	mu.Lock()
	down = false
	mu.Unlock()
	eventually(t, "the provider", func() bool { status, _ := get("http://" + admin + "/readyz"); return status == 200 })

	begin := func() url.Values {
		t.Helper()
		to, err := f(303, "/orders?page=2").Location()
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		nonce = to.Query().Get("nonce")
		mu.Unlock()
		return to.Query()
	}
	q := begin()
	f(502, "/oauth2/callback?code=planted-code-bad&state="+q.Get("state"), "Referer", issuer.URL+"/login?code=planted-code-bad")
	f(400, "/oauth2/callback?code=planted-code-good&state="+strings.Repeat("A", 22))
	q = begin()
	if to := f(303, "/oauth2/callback?code=planted-code-good&state="+q.Get("state")).Header.Get("Location"); to != "http://"+web+"/orders?page=2" {
		t.Errorf("the callback leads to %s", to)
	}
	cookies = cookies[len(cookies)-1:]
	if user := f(200, "/orders").Header.Get("X-User"); user != "user-7" {
		t.Errorf("signed in is %s", user)
	}
	for _, token := range []string{"planted-opaque-token", "planted-opaque-token"} {
		f(200, "/asked", "Authorization", "Bearer "+token)
	}
	f(401, "/asked", "Authorization", "Bearer planted-other-token")
	f(401, "/asked", "Authorization", "Bearer \"planted-odd-token")
	_, text := page("/metrics")
	for _, line := range []string{
		`sluice_oidc_logins_total{policy="signed-in",result="done"} 1`, `sluice_oidc_logins_total{policy="signed-in",result="failed"} 2`, `sluice_oidc_remembered{policy="signed-in"} 1`,
		`sluice_introspection_tokens_total{policy="asked",result="active"} 1`, `sluice_introspection_remembered{policy="asked"} 1`, `sluice_oauth_questions_total{from="` + issuer.URL + `",result="answered"} `,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("the metrics have no %s", line)
		}
	}
	page("/v1/routes")
	page("/v1/status")
	for _, args := range [][]string{{"check", file}, {"explain", "-c", file, "--json", "GET", "http://localhost/oauth2/callback?code=planted-code-good&state=" + q.Get("state"), "-H", "Cookie: " + cookies[0]},
		{"explain", "-c", file, "GET", "http://localhost/asked", "-H", "Authorization: Bearer planted-opaque-token"}} {
		stdout, stderr, code := sluice(t, dir, args...)
		if code != 0 {
			t.Errorf("%v: %s", args, stderr)
		}
		said.WriteString(stdout + stderr)
	}
	p.signal(os.Interrupt)
	p.exit()
	log, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	said.WriteString(p.log() + string(log))
	if !strings.Contains(string(log), "the provider answers 400 invalid_request: what is ***, with ***?") || !strings.Contains(p.log(), "does not say where its endpoints are") {
		t.Errorf("the logs do not say why somebody could not sign in, or that the provider was not there:\n%s\n%s", log, p.log())
	}
	secrets := map[string]string{"a secret": "planted", "an ID token": idToken, "a nonce": nonce, "a challenge": q.Get("code_challenge"), "a session": cookies[0][strings.IndexByte(cookies[0], '=')+1:]}
	for name, secret := range secrets {
		if secret == "" || strings.Contains(said.String(), secret) {
			t.Errorf("%s is shown, or was never there:\n%s", name, said.String())
		}
	}
}
