//go:build !race && !invariants

// What it finds does not depend on the build.

package proxytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// callsOfPage makes calls of the gateway in the page's place, and tells the page's own server what it could see of them.
const callsOfPage = `<!doctype html><script>
const gateway = %q, calls = %s;
async function see(c) {
	try {
		const r = await fetch(gateway + c.path, c.init);
		const text = await r.text();
		return r.status + ' ' + (text.match(/"code":"(\w+)"/) || [, text])[1] + ' ' + r.headers.get('X-Total') + ' ' + r.headers.get('X-Hidden');
	} catch (e) {
		return 'unseen';
	}
}
(async () => {
	const seen = {};
	for (const c of calls) seen[c.name] = await see(c);
	await fetch('/seen', { method: 'POST', body: JSON.stringify({ page: location.hostname, seen }) });
})();
</script>`

// TestPagesInChromium: what a page of another origin can do and see, as a browser has it. Two pages call: one that is admitted, and inside it
// one that is not.
func TestPagesInChromium(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium, whose pages call, is missing: `make test` installs it")
	}
	type call struct {
		Name string         `json:"name"`
		Path string         `json:"path"`
		Init map[string]any `json:"init"`
	}
	calls, err := json.Marshal([]call{
		{"read", "/read", nil},
		{"with credentials", "/read", map[string]any{"credentials": "include"}},
		{"a field of its own", "/read", map[string]any{"headers": map[string]string{"X-A": "1"}}},
		{"write", "/write", map[string]any{"method": "PUT", "body": "{}", "headers": map[string]string{"Content-Type": "application/json"}}},
		{"a method that no route takes", "/write", map[string]any{"method": "DELETE"}},
		{"a field that is not listed", "/strict", map[string]any{"headers": map[string]string{"X-B": "1"}}},
		{"refused", "/refused", map[string]any{"method": "PUT"}},
		{"nothing", "/nothing", nil},
		{"closed", "/closed", nil},
		{"closed, and asked about", "/closed", map[string]any{"method": "PUT"}},
		{"across sites", "/safe", map[string]any{"method": "POST", "body": "a=b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	type report struct {
		Page string            `json:"page"`
		Seen map[string]string `json:"seen"`
	}
	reports := make(chan report, 2)
	var gateway *Gateway
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/seen" {
			var seen report
			if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &seen) != nil {
				t.Errorf("a page reports %q (%v)", body, err)
			}
			reports <- seen
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, callsOfPage, "http://"+gateway.Addr, calls)
		if host, port, _ := strings.Cut(r.Host, ":"); host == "localhost" {
			fmt.Fprintf(w, "<iframe src=http://127.0.0.1:%s/inside></iframe>", port)
		}
	}))
	defer pages.Close()
	_, port, err := net.SplitHostPort(pages.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	gateway = Start(t, `
policies: { nobody: { addresses: { deny: 0.0.0.0/0 } } }
defaults: { cors: { origins: ["http://localhost:`+port+`"], credentials: true, expose: [X-Total] } }
routes:
  read: { match: GET /read, respond: { text: read, headers: { X-Total: "7", X-Hidden: "8" } } }
  write: { match: GET|PUT /write, respond: { text: written } }
  strict: { match: /strict, respond: { text: strict }, cors: { origins: ["http://localhost:`+port+`"], headers: [X-A] } }
  refused: { match: PUT /refused, use: [nobody], respond: { text: refused } }
  closed: { match: /closed, respond: { text: closed }, cors: off }
  safe: { match: POST /safe, use: [{ csrf: {} }], respond: { text: done } }
`)
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	browser := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+profile, "--remote-debugging-port=0", "http://localhost:"+port+"/page")
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = browser.Process.Kill() // how it ends says nothing
		_ = browser.Wait()
		// Its children end when they notice, and may write meanwhile.
		err := os.RemoveAll(profile)
		for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); err = os.RemoveAll(profile) {
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Error(err)
		}
	}()

	want := map[string]map[string]string{
		"localhost": {
			"read":                         "200 read 7 null",
			"with credentials":             "200 read 7 null",
			"a field of its own":           "200 read 7 null",
			"write":                        "200 written null null",
			"a method that no route takes": "unseen",
			"a field that is not listed":   "unseen",
			"refused":                      "403 address_denied null null",
			"nothing":                      "404 no_route null null",
			"closed":                       "unseen",
			"closed, and asked about":      "unseen",
			"across sites":                 "403 cross_site null null",
		},
		"127.0.0.1": {},
	}
	for name := range want["localhost"] {
		want["127.0.0.1"][name] = "unseen"
	}
	for range want {
		select {
		case r := <-reports:
			if diff := cmp.Diff(want[r.Page], r.Seen); diff != "" {
				t.Errorf("a page of %s (- expected, + got):\n%s", r.Page, diff)
			}
		case <-time.After(90 * time.Second):
			t.Fatal("the pages do not report")
		}
	}
}
