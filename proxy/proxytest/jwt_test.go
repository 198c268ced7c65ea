package proxytest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy/auth/jwt/jwttest"
)

// asked is a client that brings a token, over connections that it keeps.
func asked(t *testing.T, addr, path, token string) (status int, fields http.Header) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	return response.StatusCode, response.Header
}

func signedIn(issuer string, more string) string {
	return fmt.Sprintf(`
services: { nowhere: { to: http://127.0.0.1:1 } }
policies: { signed-in: { jwt: { issuer: %q, audience: shop-api, require: { scope: orders.read }%s } } }
routes:
  a: { match: /a, use: [signed-in], respond: { status: 200, headers: { X-User: $jwt.sub } } }
  hurried: { match: /hurried, use: [signed-in], timeout: 300ms, to: nowhere }
`, issuer, more)
}

// TestJWTRotation lets the issuer change its key again and again while tokens come from several clients, of the old key and of the new one,
// beside a flood of tokens that nobody has signed: no good one is refused.
func TestJWTRotation(t *testing.T) {
	t.Parallel()
	issuer := jwttest.Start()
	defer issuer.Close()
	begin := time.Now()
	gw := Start(t, signedIn(issuer.URL, ""))
	var group sync.WaitGroup
	var stop atomic.Bool
	var good, flood atomic.Int64
	var current atomic.Pointer[string]
	sign := func() { token := issuer.Token("sub", fmt.Sprint("user-", good.Load())); current.Store(&token) }
	sign()
	for range 4 {
		group.Go(func() {
			for !stop.Load() {
				if status, _ := asked(t, gw.Addr, "/a", *current.Load()); status != 200 {
					t.Errorf("a good token: %d", status)
				}
				good.Add(1)
			}
		})
	}
	stranger := jwttest.New() // whose keys have the same names, and later ones others
	for range 5 {
		stranger.Rotate()
	}
	strange := stranger.Token("iss", issuer.URL)
	for range 2 {
		group.Go(func() {
			for !stop.Load() {
				if status, _ := asked(t, gw.Addr, "/a", strange); status != 401 {
					t.Errorf("a stranger's token: %d", status)
				}
				flood.Add(1)
			}
		})
	}
	for n := range 2 {
		after := good.Load() + 20
		for good.Load() < after && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		// It signs with the new key at once: nobody was told before.
		issuer.Rotate()
		sign()
		after = good.Load() + 20
		for good.Load() < after && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		if status, fields := asked(t, gw.Addr, "/a", issuer.Token("sub", "fresh")); status != 200 || fields.Get("X-User") != "fresh" {
			t.Errorf("after %d changes: %d", n+1, status)
		}
	}
	stop.Store(true)
	group.Wait()
	// Once at the start, then not before two seconds have passed since the last time, however many ask.
	if n := issuer.Asked.Load(); n < 3 || n > 2+int64(time.Since(begin)/(2*time.Second)) {
		t.Errorf("the issuer was asked %d times, in a flood of %d", n, flood.Load())
	}
}

// TestJWTIssuerBroken tries that the last good keys serve while the issuer is down, slow or lies, and that routes are closed while there
// were never any.
func TestJWTIssuerBroken(t *testing.T) {
	t.Parallel()
	issuer := jwttest.Start()
	defer issuer.Close()
	hold := make(chan struct{})
	defer close(hold)
	broken := map[string]http.HandlerFunc{
		"down": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"slow": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
					return
				}
			}
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Sign in</html>") },
		"keys of others": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				_, _ = w.Write(jwttest.New().Set())
				return
			}
			fmt.Fprintf(w, `{"issuer":"https://evil.example","jwks_uri":"http://%s/keys"}`, r.Host)
		},
	}
	for name, h := range broken {
		issuer.Break(h)
		gw := Start(t, signedIn(issuer.URL, ""))
		if status, fields := asked(t, gw.Addr, "/hurried", issuer.Token()); status != 503 || fields.Get("Retry-After") == "" {
			t.Errorf("%s, and never any keys: %d", name, status)
		}
		if !strings.Contains(gw.Runtime.Unready(), issuer.URL) {
			t.Errorf("%s: unready is %q", name, gw.Runtime.Unready())
		}
		gw.Stop()

		issuer.Break(nil)
		gw = Start(t, signedIn(issuer.URL, ""))
		token := issuer.Token()
		if status, _ := asked(t, gw.Addr, "/a", token); status != 200 || gw.Runtime.Unready() != "" {
			t.Fatalf("a good token: %d, and unready is %q", status, gw.Runtime.Unready())
		}
		issuer.Break(h)
		stranger := jwttest.New()
		stranger.Rotate()
		if status, _ := asked(t, gw.Addr, "/hurried", stranger.Token("iss", issuer.URL)); status != 401 { // which makes keys be fetched
			t.Errorf("%s: a stranger's token: %d", name, status)
		}
		for _, token := range []string{token, issuer.Token("sub", "another")} {
			if status, _ := asked(t, gw.Addr, "/a", token); status != 200 {
				t.Errorf("%s: a good token: %d", name, status)
			}
		}
		gw.Stop()
	}
}
