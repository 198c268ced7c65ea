package proxytest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// TestPassedOnNeverEndsHere: a name whose connections are passed on is not served from here: not to clients that have made their
// connection for another name of the same certificate, as browsers do, and not over QUIC, which is not passed on.
func TestPassedOnNeverEndsHere(t *testing.T) {
	gw := Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:8080", tls: self-signed, http: [h1, h2, h3], passthrough: { db.test: db, "*.legacy.test": db } } }
services: { db: { to: ["tcp://%s"] } }
routes: { all: { match: "/**", respond: { text: "here" } } }
`, shout(t)))
	over2 := func(name string) http.RoundTripper {
		t2 := &http2.Transport{DialTLSContext: func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"h2"}}}
			return d.DialContext(ctx, network, gw.Addr)
		}}
		t.Cleanup(t2.CloseIdleConnections)
		return t2
	}
	over3 := func(name string) http.RoundTripper {
		t3 := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name}}
		t.Cleanup(func() { t3.Close() })
		return t3
	}
	f := func(what string, over http.RoundTripper, host, want string) {
		t.Helper()
		request, err := http.NewRequest("GET", "https://"+gw.Addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		got := ""
		if response, err := over.RoundTrip(request); err != nil {
			got = err.Error()
		} else {
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil {
				t.Error(err)
			}
			got = fmt.Sprint(response.StatusCode, " ", string(body))
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s, host %s: got %s, want %s", what, host, got, want)
		}
	}
	for what, over := range map[string]http.RoundTripper{"HTTP/2": over2("open.test"), "HTTP/3": over3("open.test")} {
		f(what, over, "open.test", "200 here")
		f(what, over, "legacy.test", "200 here") // a wildcard is for what is below
		for _, host := range []string{"db.test", "DB.test", "db.test:443", "a.legacy.test", "a.b.legacy.test"} {
			f(what, over, host, `421 {"type":"urn:sluice:problem:misdirected_request"`)
		}
	}
	f("HTTP/3", over3("db.test"), "db.test", "CRYPTO_ERROR")
	f("HTTP/3", over3("DB.test"), "open.test", "CRYPTO_ERROR")
	f("HTTP/3", over3("a.legacy.test"), "a.legacy.test", "CRYPTO_ERROR")
}
