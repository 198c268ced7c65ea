package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/proxy/auth/jwt/jwttest"
)

// TestJWT runs the binary with an issuer that is down when it starts, and looks at everything that it says: what is missing, what it
// has, who is admitted without a reason, and nothing that is secret.
func TestJWT(t *testing.T) {
	const planted = "planted-secret-0123456789abcdefghij"
	issuer := jwttest.Start()
	defer issuer.Close()
	issuer.Break(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	dir := t.TempDir()
	keys := writeFile(t, filepath.Join(dir, "keys.json"), string(jwttest.New().Set()))
	access := filepath.Join(dir, "access.log")
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), `
version: 1
admin: { address: "127.0.0.1:0" }
log: { access: { to: `+access+` } }
listen: { web: { address: "127.0.0.1:0" } }
policies:
  signed-in: { jwt: { issuer: "`+issuer.URL+`", audience: shop-api, require: { scope: orders.read } } }
  internal: { jwt: { issuer: shop, audience: shop-api, secret: "${PLANTED}" } }
  elsewhere: { jwt: { issuer: shop, audience: shop-api, jwks: "`+issuer.URL+`/keys?key=`+planted+`" } }
  watched: { jwt: { issuer: shop, audience: shop-api, jwks: `+keys+`, mode: report } }
routes:
  a: { match: /a, use: [signed-in], respond: { json: { in: true }, headers: { X-User: $jwt.sub } } }
  internal: { match: /internal, use: [internal], respond: { text: in } }
  elsewhere: { match: /elsewhere, use: [elsewhere], respond: { text: in } }
  watched: { match: /watched, use: [watched], respond: { text: in } }
`)
	t.Setenv("PLANTED", planted)
	p := launch(t, "run", "-c", file)
	web, admin := p.address("web"), p.address("admin")
	token := issuer.Token()
	var user string
	ask := func(path, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+web+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		user = response.Header.Get("X-User")
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	var said strings.Builder // everything that anybody can read
	page := func(path string) (int, string) {
		t.Helper()
		status, text := get("http://" + admin + path)
		said.WriteString(text)
		return status, text
	}
	if status, body := ask("/a", token); status != 503 || !strings.Contains(body, "keys_unavailable") {
		t.Errorf("without keys: %d %s", status, body)
	}
	if status, text := page("/readyz"); status != 503 || !strings.Contains(text, "no keys of "+issuer.URL) {
		t.Errorf("without keys /readyz says %d %q", status, text)
	}
	metrics := func(lines ...string) bool {
		_, text := page("/metrics")
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line) {
				return false
			}
		}
		return true
	}
	if !metrics(`sluice_jwt_keys{from="`+issuer.URL+`"} 0`, `sluice_identity_unenforced{policy="watched"} 1`) {
		t.Error("metrics do not say that there are no keys, or that a policy is not enforced")
	}

	issuer.Break(nil)
	eventually(t, "keys", func() bool { status, _ := get("http://" + admin + "/readyz"); return status == 200 })
	for range 2 {
		if status, _ := ask("/a", token); status != 200 || user != "user-7" {
			t.Errorf("a good token: %d %s", status, user)
		}
	}
	if status, body := ask("/a", issuer.Token("scope", "openid")); status != 403 || !strings.Contains(body, "insufficient_scope") {
		t.Errorf("a token without the scope: %d %s", status, body)
	}
	for _, path := range []string{"/internal", "/elsewhere"} {
		if status, body := ask(path, token); status != 401 || strings.Contains(body, "signature") || strings.Contains(body, "algorithm") {
			t.Errorf("%s with a token of somebody else: %d %s", path, status, body)
		}
	}
	if status, _ := ask("/watched", "nonsense"); status != 200 {
		t.Errorf("in the mode report: %d", status)
	}
	// Two tokens were verified for signed-in: one that is good, and one that is that, but does not allow it.
	if !metrics(`sluice_jwt_keys{from="`+issuer.URL+`"} 1`, `sluice_jwt_key_fetches_total{from="`+issuer.URL+`",result="failed"} `,
		`sluice_jwt_verified_total{policy="signed-in"} 2`, `sluice_jwt_remembered{policy="signed-in"} 2`, `sluice_jwt_revoked_list_failing 0`) {
		_, text := page("/metrics")
		t.Errorf("metrics: %s", text)
	}
	page("/v1/routes")
	page("/v1/status")
	eventually(t, "the access log", func() bool {
		text, err := os.ReadFile(access)
		return err == nil && strings.Contains(string(text), `"would_refuse":"watched"`) && strings.Contains(string(text), `"cause":"the token`)
	})
	text, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	said.Write(text)
	for _, args := range [][]string{{"check", file}, {"explain", "-c", file, "GET", "/internal", "-H", "Authorization: Bearer " + token},
		{"explain", "-c", file, "--json", "GET", "/watched", "-H", "Authorization: Bearer " + token}} {
		stdout, stderr, code := sluice(t, dir, args...)
		if code != 0 {
			t.Errorf("%v: %s", args, stderr)
		}
		said.WriteString(stdout + stderr)
	}
	p.signal(os.Interrupt)
	p.exit()
	said.WriteString(p.log())
	if !strings.Contains(p.log(), "EVERYBODY IS ADMITTED") || !strings.Contains(p.log(), "were not fetched") {
		t.Errorf("the log says not that everybody is admitted, or that there were no keys:\n%s", p.log())
	}
	escaped, err := json.Marshal(planted)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{"a secret": strings.Trim(string(escaped), `"`), "a token": token, "a signature": token[strings.LastIndexByte(token, '.')+1:]} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s is shown:\n%s", name, said.String())
		}
	}
}
