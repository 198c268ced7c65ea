package proxytest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSignatures signs requests as a client of every protocol over TCP does, and looks at what reaches the service.
func TestSignatures(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	var served atomic.Int64
	var body atomic.Value
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body.Store(string(b))
		w.Header().Set("X-Seen", r.Header.Get("X-User"))
	}))
	t.Cleanup(origin.Close)
	config := `
listen: { web: { address: "127.0.0.1:8080", http: [h1, h2] } }
services: { origin: { to: ["` + origin.URL + `"] } }
consumers: { partners: { acme: { plan: gold, signing_keys: { key-1: { secret: "` + secret + `" } } } } }
policies:
  signed: { signature: { consumers: partners, body_up_to: 4KiB } }
  once: { signature: { consumers: partners, nonce: required } }
  tell: { headers: { request: { set: { X-User: "$consumer $consumer.plan" } } } }
routes:
  a: { match: "/a/**", use: [signed, tell], rewrite: { path: /elsewhere }, to: origin }
  once: { match: /once, use: [once, tell], to: origin }
`
	gw := Start(t, config)

	// The base is put together here by hand: what the gateway makes of the request is what is tried.
	type message struct {
		method, target, body string
		parameters           string
		wrong                func(r *http.Request)
		chunked              bool
	}
	ask := func(client *http.Client, m message, want int, wantServed bool) {
		t.Helper()
		sum := sha256.Sum256([]byte(m.body))
		digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		parameters := `("@method" "@target-uri" "content-digest");created=` + fmt.Sprint(time.Now().Unix()) + `;keyid="key-1"` + m.parameters
		base := fmt.Sprintf("\"@method\": %s\n\"@target-uri\": http://%s%s\n\"content-digest\": %s\n\"@signature-params\": %s", m.method, gw.Addr, m.target, digest, parameters)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(base))
		var content io.Reader = strings.NewReader(m.body)
		if m.chunked {
			content = io.MultiReader(content, bytes.NewReader(nil)) // whose length is not known
		}
		r, err := http.NewRequest(m.method, "http://"+gw.Addr+m.target, content)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Digest", digest)
		r.Header.Set("Signature-Input", "s="+parameters)
		r.Header.Set("Signature", "s=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
		if m.wrong != nil {
			m.wrong(r)
		}
		before := served.Load()
		response, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Error(err)
		}
		if response.StatusCode != want || (served.Load() > before) != wantServed {
			t.Errorf("%s %s: %d, served: %v; want %d, %v", m.method, m.target, response.StatusCode, served.Load() > before, want, wantServed)
		}
		if wantServed && (body.Load() != m.body || response.Header.Get("X-Seen") != "acme gold") {
			t.Errorf("%s %s: the service got %q of %q", m.method, m.target, body.Load(), response.Header.Get("X-Seen"))
		}
	}
	for version := range 2 {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(version == 0)
		transport.Protocols.SetUnencryptedHTTP2(version == 1)
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		ask(client, message{method: "GET", target: "/a/b?c=d%20e"}, 200, true)
		ask(client, message{method: "GET", target: "/a/./b/../%7Ec?"}, 200, true)
		ask(client, message{method: "POST", target: "/a/b", body: `{"hello": "world"}`}, 200, true)
		ask(client, message{method: "POST", target: "/a/b", body: strings.Repeat("x", 4000), chunked: true}, 200, true)
		ask(client, message{method: "POST", target: "/a/b", body: strings.Repeat("x", 5000)}, 413, false)
		ask(client, message{method: "POST", target: "/a/b", body: strings.Repeat("x", 5000), chunked: true}, 413, false)
		ask(client, message{method: "GET", target: "/a/b", wrong: func(r *http.Request) { r.URL.Path = "/a/c" }}, 401, false)
		ask(client, message{method: "GET", target: "/a/b", wrong: func(r *http.Request) { r.Method = "DELETE" }}, 401, false)
		ask(client, message{method: "GET", target: "/a/b", wrong: func(r *http.Request) { r.Host = "other.example" }}, 401, false)
		ask(client, message{method: "POST", target: "/a/b", body: "one", wrong: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("two"))
		}}, 400, false)
		ask(client, message{method: "GET", target: "/once"}, 401, false)
		nonce := fmt.Sprintf(`;nonce="n%d"`, version)
		ask(client, message{method: "GET", target: "/once", parameters: nonce}, 200, true)
		ask(client, message{method: "GET", target: "/once", parameters: nonce}, 401, false)
		// A reload forgets none of them.
		gw.Reload(config + "defaults: { errors: text }\n")
		ask(client, message{method: "GET", target: "/once", parameters: nonce}, 401, false)
		gw.Reload(config)
		ask(client, message{method: "GET", target: "/once", parameters: nonce}, 401, false)
	}
}

// TestSignedTargets: in whatever form a target comes, what is signed is what the service is asked for.
func TestSignedTargets(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Seen", r.RequestURI) }))
	t.Cleanup(origin.Close)
	gw := Start(t, `
listen: { web: { address: "127.0.0.1:8080" } }
services: { origin: { to: ["`+origin.URL+`"] } }
consumers: { partners: { acme: { signing_keys: { key-1: { secret: "`+secret+`" } } } } }
policies: { signed: { signature: { consumers: partners, components: ["@method", "@target-uri", "@path", "@query"] } } }
routes: { a: { match: "/**", use: [signed], to: origin } }
`)
	// It is refused if signed is not what the service would be asked for.
	f := func(method, target, signed, want string) {
		t.Helper()
		path, query, _ := strings.Cut(signed, "?")
		parameters := `("@method" "@target-uri" "@path" "@query");created=` + fmt.Sprint(time.Now().Unix()) + `;keyid="key-1"`
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "\"@method\": %s\n\"@target-uri\": http://%s%s\n\"@path\": %s\n\"@query\": ?%s\n\"@signature-params\": %s", method, gw.Addr, signed, path, query, parameters)
		c, err := net.Dial("tcp", gw.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nSignature-Input: s=%s\r\nSignature: s=:%s:\r\n\r\n", method, strings.ReplaceAll(target, "HOST", gw.Addr), gw.Addr,
			parameters, base64.StdEncoding.EncodeToString(mac.Sum(nil))); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("X-Seen"); got != want || (response.StatusCode == 200) != (want != "") {
			t.Errorf("%s %s, signed for %s: %d, and the service was asked for %q, want %q", method, target, signed, response.StatusCode, got, want)
		}
	}
	f("GET", "/", "/", "/")
	f("GET", "/?admin=1", "/", "")
	f("GET", "http://HOST", "/", "/")
	f("GET", "http://HOST?admin=1", "/", "")
	f("GET", "http://HOST?admin=1", "/?admin=1", "/?admin=1")
	f("GET", "http://HOST/?admin=1", "/", "")
	f("GET", "HTTP://HOST/a?b=http://c/d?e", "/a?b=http://c/d?e", "/a?b=http://c/d?e")
	f("OPTIONS", "http://HOST", "/", "")
	f("OPTIONS", "http://HOST/", "/", "/")
}
