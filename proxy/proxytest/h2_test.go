package proxytest

import (
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
	// A client has the answer before the exchange is over.
	eventually(t, "the upload is counted", func() bool { return scrape(t, gw)[`sluice_requests_total{route="upload",class="2xx"}`] == 1 })
	ask("/nowhere", 404, "no_route")
	client.CloseIdleConnections()
	gw.Stop()
	log, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	// Whether the body of the one that was refused has come by then is chance.
	want := regexp.MustCompile(`^HTTP/2\.0\|upload\|200\|5\|1\|\nHTTP/2\.0\|-\|404\|[05]\|\|no_route\n$`)
	if !want.Match(log) {
		t.Errorf("the log says\n%s, want\n%s", log, want)
	}
}

// TestH2_origin: what either client sends reaches a service that speaks HTTP/2, and what it answers comes back, piece by piece.
func TestH2_origin(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Saw", fmt.Sprintf("%s %s %s te=%s via=%s", r.Proto, r.Host, r.RequestURI, r.Header.Get("Te"), r.Header.Get("Via")))
		b := make([]byte, 1000)
		for {
			n, err := r.Body.Read(b)
			if _, err := w.Write(b[:n]); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"Sum", "all")
	})}
	origin.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() { served <- origin.Serve(l) }()
	t.Cleanup(func() {
		if err := origin.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	gw := Start(t, listen2(fmt.Sprintf(`
services: { origin: { to: ["h2c://%s/base"] } }
routes: { all: { match: "/**", to: origin } }
`, l.Addr())))
	f := func(client http.RoundTripper, te, want string) {
		t.Helper()
		in, out := io.Pipe()
		req, err := http.NewRequest("POST", "http://"+gw.Addr+"/p?q", in)
		if err != nil {
			t.Fatal(err)
		}
		hints := 0
		req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
				if status == 103 && h.Get("Link") == "</a>; rel=preload" {
					hints++
				}
				return nil
			},
		}))
		req.Host = "shop.example"
		if te != "" {
			req.Header.Set("Te", te)
		}
		go func() {
			if _, err := io.WriteString(out, "first"); err != nil {
				t.Error(err)
			}
		}()
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("Saw"); got != want || hints != 1 {
			t.Errorf("the service saw %q, want %q; %d early hints", got, want, hints)
		}
		// Each piece is answered before the next is sent.
		b := make([]byte, 100)
		for _, piece := range []string{"first", "second", "third"} {
			if piece != "first" {
				if _, err := io.WriteString(out, piece); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.ReadFull(resp.Body, b[:len(piece)]); err != nil || string(b[:len(piece)]) != piece {
				t.Fatalf("got %q, %v", b[:len(piece)], err)
			}
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || resp.Trailer.Get("Sum") != "all" {
			t.Errorf("the end is %q, %v, trailers %v", rest, err, resp.Trailer)
		}
	}
	h1 := &http.Transport{DisableCompression: true}
	t.Cleanup(h1.CloseIdleConnections)
	f(client2(t, false), "trailers", "HTTP/2.0 shop.example /base/p?q te=trailers via=2.0 sluice")
	f(client2(t, false), "", "HTTP/2.0 shop.example /base/p?q te= via=2.0 sluice")
	f(h1, "gzip, Trailers", "HTTP/2.0 shop.example /base/p?q te=trailers via=1.1 sluice")
	f(h1, "gzip", "HTTP/2.0 shop.example /base/p?q te= via=1.1 sluice")
}
