package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestH3_logAndMetrics: a request over HTTP/3 is logged and counted as any other, and the log tells what its client is.
func TestH3_logAndMetrics(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d %v via %s for %s", r.Proto, n, err, r.Header.Get("Via"), r.Header.Get("Forwarded"))
	})
	access := filepath.Join(t.TempDir(), "access.log")
	gw := Start(t, listenTLS(fmt.Sprintf(`
log: { access: { to: %q, format: "$proto|$route|$response.status|$bytes_in|$attempts|$error|$sni|$tls_fingerprint" } }
services: { origin: { to: ["http://%s"] } }
routes: { upload: { match: "POST /upload", to: origin } }
`, access, origin), "[h1, h3]"))
	client := client3(t)
	ask := func(path string, status int, want string) {
		t.Helper()
		req, err := http.NewRequest("POST", "https://"+gw.Addr+path, strings.NewReader("12345"))
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
	ask("/upload", 200, `HTTP/1.1 5 <nil> via 3.0 sluice for for=127.0.0.1;host="127.0.0.1:`)
	// A client has the answer before the exchange is over.
	eventually(t, "the upload is counted", func() bool { return scrape(t, gw)[`sluice_requests_total{route="upload",class="2xx"}`] == 1 })
	ask("/nowhere", 404, "no_route")
	client.Close()
	gw.Stop()
	log, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^HTTP/3\.0\|upload\|200\|5\|1\|\|script\.localhost\|q13d\w+h3_\w{12}_\w{12}\nHTTP/3\.0\|-\|404\|\d\|\|no_route\|script\.localhost\|q13d.*\n$`)
	if !want.Match(log) {
		t.Errorf("the log says\n%s", log)
	}
}

// TestH3_hintsAndTrailers: interim responses reach the client before the response, and trailers pass both ways.
func TestH3_hintsAndTrailers(t *testing.T) {
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"); err != nil {
			t.Error(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer := fmt.Sprintf("%s %s", body, r.Trailer.Get("X-Sum"))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-Sum: down\r\n\r\n", len(answer), answer)
	})
	gw := Start(t, listenTLS(fmt.Sprintf("services: { origin: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: origin } }\n", origin), "[h1, h3]"))
	hint := ""
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hint = fmt.Sprint(code, h.Get("Link"))
		return nil
	}})
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "POST", "https://"+gw.Addr+"/", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TE", "trailers")
	req.Trailer = http.Header{"X-Sum": nil}
	go func() {
		_, _ = io.WriteString(w, "body") // the response shows whether it arrived
		req.Trailer.Set("X-Sum", "up")
		w.Close()
	}()
	resp, err := client3(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "body up" || resp.Trailer.Get("X-Sum") != "down" || hint != "103</a.css>" {
		t.Errorf("got %q, %v, trailers %v, after %q", body, err, resp.Trailer, hint)
	}
}
