package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/proxy/auth/jwt/jwttest"
)

// TestTokens runs the binary with clients that prove their keys, and services that are shown tokens which a provider hands out that is down at
// first. It looks at everything that the binary says: what is missing, what was refused and why, and nothing that is secret.
func TestTokens(t *testing.T) {
	const planted, nonces = "planted-secret-0123456789", "planted-nonce-secret-0123456789abcdef"
	var up atomic.Bool
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, secret, _ := r.BasicAuth(); {
		case !up.Load():
			w.WriteHeader(503)
		case secret != planted:
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":"invalid_client"}`)
		case r.PostFormValue("grant_type") == "client_credentials":
			fmt.Fprint(w, `{"access_token":"planted-own-token","token_type":"Bearer","expires_in":3600}`)
		case strings.Count(r.PostFormValue("subject_token"), ".") != 2:
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error":"invalid_request","error_description":"%s is none of ours"}`, r.PostFormValue("subject_token"))
		default:
			fmt.Fprint(w, `{"access_token":"planted-exchanged-token","token_type":"Bearer","expires_in":3600}`)
		}
	}))
	defer provider.Close()
	var shown atomic.Value
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown.Store(r.Header.Get("Authorization")) }))
	defer origin.Close()
	issuer := jwttest.New()
	dir := t.TempDir()
	keys := writeFile(t, filepath.Join(dir, "keys.json"), string(issuer.Set()))
	access := filepath.Join(dir, "access.log")
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), `
version: 1
admin: { address: "127.0.0.1:0" }
log: { access: { to: `+access+` } }
listen: { web: { address: "127.0.0.1:0" } }
services: { origin: { to: ["`+origin.URL+`"] } }
policies:
  bound: { jwt: { issuer: shop, audience: shop-api, jwks: `+keys+`, dpop: { nonce: true, nonce_secret: "${NONCES}" } } }
  own: { upstream_token: { token_url: "`+provider.URL+`/token?tenant=planted-tenant", client_id: gateway, client_secret: "${PLANTED}" } }
  for-client: { upstream_token: { grant: token_exchange, token_url: "`+provider.URL+`/token", client_id: gateway, client_secret: "${PLANTED}" } }
routes:
  own: { match: /own, use: [own], to: origin }
  client: { match: /client, use: [bound, for-client], to: origin }
`)
	t.Setenv("PLANTED", planted)
	t.Setenv("NONCES", nonces)
	p := launch(t, "run", "-c", file)
	web, admin := p.address("web"), p.address("admin")
	holder := jwttest.NewHolder()
	token := issuer.Token("iss", "shop", "cnf", holder.Confirmation())
	ask := func(path, authorization, proof string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+web+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
			r.Header.Set("DPoP", proof)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
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
	eventually(t, "the routes to be closed", func() bool { return ask("/own", "", "").StatusCode == 503 })
	if status, text := page("/readyz"); status != 503 || !strings.Contains(text, "no token for services of "+provider.URL+"/token") {
		t.Errorf("without a token /readyz says %d %q", status, text)
	}
	proof := func(nonce string) string { return holder.Proof("GET", "http://"+web+"/client", token, "nonce", nonce) }
	first := ask("/client", "DPoP "+token, proof(""))
	nonce := first.Header.Get("DPoP-Nonce")
	if first.StatusCode != 401 || nonce == "" || !strings.Contains(first.Header.Get("WWW-Authenticate"), "use_dpop_nonce") {
		t.Errorf("without a nonce: %d %v", first.StatusCode, first.Header)
	}
	if status := ask("/client", "DPoP "+token, proof(nonce)).StatusCode; status != 503 {
		t.Errorf("a good proof, while the provider is down: %d", status)
	}
	eventually(t, "both to be missed", func() bool {
		_, text := page("/readyz")
		return strings.Contains(text, "no exchange of tokens at "+provider.URL)
	})

	up.Store(true)
	eventually(t, "tokens", func() bool { status, _ := get("http://" + admin + "/readyz"); return status == 200 })
	used := proof(nonce)
	for _, one := range []struct {
		path, authorization, proof string
		status                     int
		shown                      string
	}{
		{"/own", "Bearer " + token, "", 200, "Bearer planted-own-token"},
		{"/client", "DPoP " + token, used, 200, "Bearer planted-exchanged-token"},
		{"/client", "DPoP " + token, used, 401, ""},
		{"/client", "Bearer " + token, proof(nonce), 401, ""},
		{"/client", "DPoP " + token, jwttest.NewHolder().Proof("GET", "http://"+web+"/client", token, "nonce", nonce), 401, ""},
	} {
		shown.Store("")
		if status := ask(one.path, one.authorization, one.proof).StatusCode; status != one.status || shown.Load() != one.shown {
			t.Errorf("%s: %d, and the service was shown %q; want %d, %q", one.path, status, shown.Load(), one.status, one.shown)
		}
	}
	_, text := page("/metrics")
	for _, line := range []string{
		`sluice_dpop_proofs_total{policy="bound",result="accepted"} 2`, `sluice_dpop_proofs_total{policy="bound",result="replayed"} 1`, `sluice_dpop_proofs_total{policy="bound",result="excess"} 0`, "sluice_dpop_proofs_remembered 2",
		"sluice_dpop_proof_overflows_total 0", `sluice_upstream_token_fetches_total{policy="own",result="fetched"} 1`,
		`sluice_upstream_token_expiry_timestamp_seconds{policy="own"} `, `sluice_upstream_token_exchanges_total{policy="for-client",result="exchanged"} 1`,
		`sluice_upstream_token_remembered{policy="for-client"} 1`, `sluice_upstream_token_refused_total{policy="for-client",reason="unavailable"} 1`,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	page("/v1/routes")
	page("/v1/status")
	eventually(t, "the access log", func() bool {
		text, err := os.ReadFile(access)
		return err == nil && strings.Contains(string(text), `"cause":"the proof was used before"`) && strings.Contains(string(text), `"cause":"the proof is of another key`)
	})
	log, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	said.Write(log)
	explained := []string{"explain", "-c", file, "GET", "http://" + web + "/client", "-H", "Authorization: DPoP " + token, "-H", "DPoP: " + proof(nonce)}
	for _, args := range [][]string{{"check", file}, explained, append(explained, "--json"), {"explain", "-c", file, "GET", "/own", "-H", "DPoP: " + used}} {
		stdout, stderr, code := sluice(t, dir, args...)
		if code != 0 {
			t.Errorf("%v: %s", args, stderr)
		}
		if len(args) == len(explained) && !strings.Contains(stdout, "its policy for-client would show the service a token") { // with hosts' secret, their nonces are good here
			t.Errorf("explain says %s", stdout)
		}
		said.WriteString(stdout + stderr)
	}
	p.signal(os.Interrupt)
	p.exit()
	said.WriteString(p.log())
	for name, secret := range map[string]string{
		"a secret of the configuration": "planted", "a token": token, "a signature": token[strings.LastIndexByte(token, '.')+1:], "a proof": used,
		"a proof's signature": used[strings.LastIndexByte(used, '.')+1:],
	} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s is shown:\n%s", name, said.String())
		}
	}
}
