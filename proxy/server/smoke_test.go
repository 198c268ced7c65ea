package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
	"sluice/router"
)

var listenAddr = "127.0.0.1:0"

type plain struct{}

func (plain) Render(x *proxy.Exchange, err *proxy.Error) {
	x.Response.Body.SetWhole([]byte(err.Code))
}

func start(t testing.TB, origin string) string {
	u, _ := url.Parse(origin)
	sw := wire.NewSweeper()
	svc := upstream.New(upstream.Options{Name: "o", Targets: []upstream.Target{{Network: "tcp", Host: u.Hostname(), Port: u.Port(), Weight: 1}},
		Try: 5 * time.Second, Connect: time.Second, Idle: 5 * time.Second, Tunnel: time.Minute, MaxIdle: 100, IdleFor: time.Minute, Wait: time.Second,
		Limits: wire.Limits{HeadBytes: 65536, TargetBytes: 8192, Fields: 200}, Sweeper: sw})
	p, err := router.ParsePattern("/**")
	if err != nil {
		t.Fatal(err)
	}
	r := &proxy.Route{Name: "all", Pattern: p, Errors: plain{}, Chain: proxy.NewChain(proxy.Link{Name: "o", Policy: svc})}
	table, probs := router.New([]router.Route[*proxy.Route]{{Name: "all", Pattern: p, Value: r}})
	if len(probs) > 0 {
		t.Fatal(probs)
	}
	s := New(sw, &proxy.Snapshot{Table: table, Fallback: &proxy.Route{Name: "none", Errors: plain{}}, Limits: proxy.Limits{HeadBytes: 32768, Fields: 100, TargetBytes: 8192,
		Idle: 10 * time.Second, HeadTimeout: 5 * time.Second, MinRate: 1024}})
	nl, err := net.Listen("tcp", listenAddr)
	if err != nil {
		t.Fatal(err)
	}
	s.Listen("test", nl, Settings{})
	return "http://" + nl.Addr().String()
}

func TestSmoke(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/big" {
			w.Write([]byte(strings.Repeat("x", 1<<20)))
			return
		}
		if r.URL.Path == "/chunked" {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			fmt.Fprintf(w, "one")
			w.(http.Flusher).Flush()
			fmt.Fprintf(w, "two")
			return
		}
		fmt.Fprintf(w, "%s %s %d %v", r.Method, r.URL, len(b), r.Header)
	}))
	defer o.Close()
	gw := start(t, o.URL)
	get := func(method, path string, body io.Reader) {
		t.Helper()
		req, _ := http.NewRequest(method, gw+path, body)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 500 {
			b = fmt.Appendf(nil, "%d bytes", len(b))
		}
		t.Logf("%s %s -> %d %v %s", method, path, resp.StatusCode, resp.Header, b)
	}
	get("GET", "/a/../b?x=1", nil)
	get("GET", "/big", nil)
	get("GET", "/chunked", nil)
	get("HEAD", "/big", nil)
	get("POST", "/p", strings.NewReader("hello"))
	get("POST", "/p", strings.NewReader(strings.Repeat("a", 1<<20)))
	get("POST", "/p", io.MultiReader(strings.NewReader(strings.Repeat("a", 1<<20)), strings.NewReader("x")))

}
