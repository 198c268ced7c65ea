package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestH2_logAndMetrics: a request over HTTP/2 is logged and counted as any other.
func TestH2_logAndMetrics(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d %v via %s", r.Proto, n, err, r.Header.Get("Via"))
	})
	access := filepath.Join(t.TempDir(), "access.log")
	gw := Start(t, listen2(fmt.Sprintf(`
log: { access: { to: %q, format: "$proto|$route|$response.status|$bytes_in|$attempts|$error" } }
services: { origin: { to: ["http://%s"] } }
routes: { upload: { match: "POST /upload", to: origin } }
`, access, origin)))
	client := client2(t, false)
	ask := func(path string, status int, want string) {
		t.Helper()
		req, err := http.NewRequest("POST", "http://"+gw.Addr+path, strings.NewReader("12345"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(got), want) {
			t.Errorf("got %d %q, %v; want %d %q", resp.StatusCode, got, err, status, want)
		}
	}
	ask("/upload", 200, "HTTP/1.1 5 <nil> via 2.0 sluice")
	ask("/nowhere", 404, "no_route")
	client.CloseIdleConnections()
	m := scrape(t, gw)
	m.want(t, `sluice_requests_total{route="upload",class="2xx"}`, 1)
	gw.Stop()
	log, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	want := "HTTP/2.0|upload|200|5|1|\nHTTP/2.0|-|404|5||no_route\n"
	if string(log) != want {
		t.Errorf("the log says\n%s, want\n%s", log, want)
	}
}
