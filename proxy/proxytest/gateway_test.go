package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestGateway sends a request through everything: routing, rewriting, a policy, a service and back.
func TestGateway(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Origin", "yes")
		fmt.Fprintf(w, "%s %s kind=%s body=%d", r.Method, r.URL, r.Header.Get("X-Kind"), len(body))
	})
	gw := Start(t, fmt.Sprintf(`
services:
  origin: { to: ["http://%s"] }
policies:
  tag: { headers: { response: { set: { X-Tag: "$path.kind" } } } }
routes:
  find: { match: "/search/{kind}", use: [tag], to: origin, rewrite: { path: "/find/{kind}", headers: { set: { X-Kind: $path.kind } } } }
  teapot: { match: GET /teapot, respond: { status: 418, json: { short: stout } } }
`, origin))
	f := func(method, path, body string, status int, want, tag string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+gw.Addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || !strings.Contains(string(got), want) || resp.Header.Get("X-Tag") != tag {
			t.Fatalf("%s %s: got %d %q %v", method, path, resp.StatusCode, got, resp.Header)
		}
	}
	f("GET", "/search/cats?q=1", "", 200, "GET /find/cats?q=1 kind=cats body=0", "cats")
	f("POST", "/search/dogs", "woof", 200, "POST /find/dogs kind=dogs body=4", "dogs")
	f("GET", "/teapot", "", 418, `{"short":"stout"}`, "")
	f("POST", "/teapot", "", 405, `"code":"method_not_allowed"`, "")
	f("GET", "/nothing", "", 404, `"type":"urn:sluice:problem:no_route"`, "")
}
