package jwt

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestFetch asks servers that behave, and those that do not: over TLS, as it will be.
func TestFetch(t *testing.T) {
	s := newSigner("a")
	var answer atomic.Pointer[http.HandlerFunc] // who has given up may have left a request behind, which comes late
	answers := func(h http.HandlerFunc) { answer.Store(&h) }
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) }))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	fetch := func(o KeysOptions, timeout time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		set, hold, err := newFetcher(o).keys(ctx)
		if err == nil && set.Len() != 1 {
			t.Errorf("got %d keys", set.Len())
		}
		return hold, err
	}
	at := KeysOptions{URL: server.URL + "/keys?secret=planted-secret", RootCAs: pool}
	f := func(name string, o KeysOptions, want string, h http.HandlerFunc) {
		t.Helper()
		answers(h)
		_, err := fetch(o, 20*time.Second)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "planted-secret") {
			t.Errorf("%s: the error holds a secret: %v", name, err)
		}
	}
	keys := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(setText(s)) }
	f("keys", at, "", keys)
	f("keys as text", at, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		keys(w, r)
	})
	f("somebody else's certificate", KeysOptions{URL: server.URL + "/keys?secret=planted-secret"}, "certificate", keys)
	f("not found", at, "404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	f("an error with keys", at, "500", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); keys(w, r) })
	f("a redirect", at, "302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", 302) })
	f("nothing", at, "cannot be read", func(http.ResponseWriter, *http.Request) {})
	f("a page", at, "cannot be read", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Sign in</html>") })
	f("no keys", at, "no keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) })
	f("a secret", at, "no key that can be used", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"oct","k":%q}]}`, b64(make([]byte, 64)))
	})
	f("two lists", at, "twice", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[],"keys":[]}`) })
	f("without end", at, "longer than", func(w http.ResponseWriter, _ *http.Request) {
		for range 10000 {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
				return
			}
		}
		t.Error("it was read to its end")
	})
	f("broken off", at, "broke off", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(setText(s)[:100])
	})
	f("headers without end", at, "cannot fetch", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 100<<10))
		keys(w, r)
	})

	hold := func(want time.Duration, fields ...string) {
		t.Helper()
		answers(func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Add(fields[i], fields[i+1])
			}
			keys(w, r)
		})
		if got, err := fetch(at, 20*time.Second); err != nil || got != want {
			t.Errorf("%q: got %s, %v; want %s", fields, got, err, want)
		}
	}
	hold(refreshDefault)
	hold(time.Hour, "Cache-Control", "public, max-age=3600, must-revalidate")
	hold(time.Hour, "Cache-Control", "public", "Cache-Control", `Max-Age="3600"`)
	hold(50*time.Minute, "Cache-Control", "max-age=3600", "Age", "600")
	hold(time.Hour, "Cache-Control", "max-age=3600", "Age", "x")
	hold(refreshDefault, "Cache-Control", "max-age=-1")
	hold(refreshDefault, "Cache-Control", "max-age=99999999999999999999")
	hold(0, "Cache-Control", "max-age=0")

	// Slow: the whole time counts, not that of each byte.
	answers(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write([]byte(" ")); err != nil || r.Context().Err() != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	if _, err := fetch(at, 100*time.Millisecond); err == nil {
		t.Error("who sends a byte now and then is waited for")
	}

	// Discovery.
	issuer := KeysOptions{Issuer: server.URL, RootCAs: pool}
	document := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/.well-known/openid-configuration" {
				fmt.Fprint(w, strings.ReplaceAll(text, "SELF", server.URL))
				return
			}
			keys(w, r)
		}
	}
	f("discovery", issuer, "", document(`{"issuer":"SELF","jwks_uri":"SELF/k","authorization_endpoint":"x"}`))
	f("an issuer with a path", KeysOptions{Issuer: server.URL + "/realms/shop/", RootCAs: pool}, "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/realms/shop/.well-known/openid-configuration" {
			fmt.Fprintf(w, `{"issuer":"%s/realms/shop/","jwks_uri":"%s/k"}`, server.URL, server.URL)
			return
		}
		if r.URL.Path != "/k" {
			t.Errorf("it asks for %s", r.URL.Path)
		}
		keys(w, r)
	})
	f("another issuer", issuer, "calls itself", document(`{"issuer":"https://id.example","jwks_uri":"SELF/k"}`))
	f("an issuer with a slash", issuer, "calls itself", document(`{"issuer":"SELF/","jwks_uri":"SELF/k"}`))
	f("no issuer", issuer, "calls itself", document(`{"jwks_uri":"SELF/k"}`))
	f("no keys", issuer, "no URL of https", document(`{"issuer":"SELF"}`))
	f("keys over http", issuer, "http is for this machine alone", document(`{"issuer":"SELF","jwks_uri":"http://id.example/k"}`))
	f("keys in a file", issuer, "no URL of https", document(`{"issuer":"SELF","jwks_uri":"file:///etc/passwd"}`))
	f("a document that is none", issuer, "not the document", document(`<html>`))
	f("a document without end", issuer, "longer than", document(strings.Repeat(" ", 300<<10)+"{}"))
}

// TestShownURL tries that no secret of a URL is shown.
func TestShownURL(t *testing.T) {
	f := func(o KeysOptions, want string) {
		t.Helper()
		if got := NewKeys(o).Status().Source; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(KeysOptions{URL: "https://id.example/keys?token=secret", Issuer: "https://id.example"}, "https://id.example/keys")
	f(KeysOptions{Issuer: "https://id.example/realm"}, "https://id.example/realm")
}
