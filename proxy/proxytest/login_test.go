//go:build !race && !invariants

// What a browser does with it does not depend on the build.

package proxytest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"
)

// pageOfShop tells the service what it can do, and signs out: by a form, as a page does that has such a button.
const pageOfShop = `<!doctype html><title>Shop</title><form method=post action=/oauth2/logout></form><script>
(async () => {
	const api = await fetch('/api');
	await fetch('/report', { method: 'POST', body: 'page ' + location.pathname + location.search + ' ' + api.status + ' cookies ' + document.cookie });
	if (location.search != '?again') {
		document.forms[0].submit();
		return;
	}
	await fetch('/wait');
	const later = await fetch('/api');
	await fetch('/report', { method: 'POST', body: 'later ' + later.status });
})();
</script>`

// pageOfGoodbye finds that nothing is left, and comes back.
const pageOfGoodbye = `<!doctype html><title>Goodbye</title><script>
(async () => {
	const api = await fetch('/api');
	await fetch('/report', { method: 'POST', body: 'goodbye ' + api.status });
	location = '/shop?again';
})();
</script>`

// TestLoginInChromium signs in at a real provider with a real browser: it comes back to the page that was asked for, scripts of the page have the
// session and cannot see it, signing out leads over the provider, and then signing in is asked for again. In between the provider changes its
// key, and in the end it goes away, which nobody notices who has signed in.
func TestLoginInChromium(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium, which signs in, is missing: `make test` installs it")
	}
	p, server := startProvider(t)
	defer server.Close()
	reports := make(chan string, 8)
	gone := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/shop":
			reports <- fmt.Sprintf("service %s %s %q", r.Header.Get("X-User"), r.Header.Get("X-Mail"), r.Header.Get("Cookie"))
			fmt.Fprint(w, pageOfShop)
		case "/goodbye":
			fmt.Fprint(w, pageOfGoodbye)
		case "/report":
			text := make([]byte, 1000)
			n, _ := r.Body.Read(text)
			reports <- string(text[:n])
		case "/wait":
			select {
			case <-gone:
			case <-r.Context().Done():
			}
		}
	}))
	defer service.Close()
	gw := Start(t, fmt.Sprintf(`
services: { shop: { to: %q } }
policies:
  signed-in:
    oidc:
      issuer: %q
      client_id: shop
      client_secret: %q
      scopes: [email]
      after_logout: /goodbye
      forward: { X-User: sub, X-Mail: email }
      session: { secrets: ["planted-secret-0123456789abcdef-0123"] }
routes:
  all: { match: "/**", use: [signed-in], to: shop }
  api: { match: /api, use: [signed-in], respond: { json: [] } }
  goodbye: { match: GET /goodbye, to: shop }
  report: { match: POST /report, to: shop }
  wait: { match: GET /wait, to: shop, timeout: 2m }
`, service.URL, server.URL, shopSecret))
	_, port, err := net.SplitHostPort(gw.Addr)
	if err != nil {
		t.Fatal(err)
	}
	at := "http://localhost:" + port // the provider, at 127.0.0.1, is another site
	p.servesPageAt(at)
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	browser := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+profile, "--remote-debugging-port=0", at+"/shop?page=2")
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = browser.Process.Kill() // how it ends says nothing
		_ = browser.Wait()
		err := os.RemoveAll(profile) // its children end when they notice, and may write meanwhile
		for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); err = os.RemoveAll(profile) {
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	for i, want := range []string{
		`service id2 test-user2@zitadel.ch ""`, "page /shop?page=2 200 cookies ", "goodbye 401", `service id2 test-user2@zitadel.ch ""`, "page /shop?again 200 cookies ", "later 200",
	} {
		select {
		case got := <-reports:
			if got != want {
				t.Fatalf("report %d: got %s, want %s", i, got, want)
			}
		case <-time.After(90 * time.Second):
			t.Fatalf("report %d does not come", i)
		}
		switch i {
		case 1: // before it signs in again
			p.rotate(t)
		case 4:
			server.CloseClientConnections()
			server.Close()
			close(gone)
		}
	}
	if s := gw.Runtime.LoginPolicies(); len(s) != 1 || s[0].Logins != 2 || s[0].Logouts != 1 || s[0].Failed != 0 {
		t.Errorf("%+v", s)
	}
}
