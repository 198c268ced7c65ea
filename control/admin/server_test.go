package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"sluice/control/compile"
	"sluice/control/config"
	"sluice/control/profiling"
	"sluice/proxy/auth/consumer"
	"sluice/proxy/cache/store"
	"sluice/proxy/limit"
	"sluice/proxy/server"
	"sluice/proxy/upstream"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// fake is a gateway without anything behind it.
type fake struct {
	unready  atomic.Value // string
	reload   func() (Reloaded, error)
	reloads  atomic.Int64
	panicked bool
	ring     *profiling.Ring
	cache    *store.Store
	members  *compile.Members
}

func (g *fake) Unready() string {
	why, _ := g.unready.Load().(string)
	return why
}
func (g *fake) Status() Status {
	return Status{Version: "v1.2.3", Generation: 7, Files: []string{"a.yaml"}}
}
func (g *fake) Routes() []compile.RouteInfo {
	return []compile.RouteInfo{{Name: "item", Match: "GET /items/{id}", To: "<origin>"}}
}
func (g *fake) Services() []upstream.Status { return nil }
func (g *fake) Profiles() *profiling.Ring   { return g.ring }
func (g *fake) Cache() *store.Store         { return g.cache }
func (g *fake) Ask(context.Context, server.Question) (server.Answer, error) {
	return server.Answer{Status: 200, Cache: "miss"}, nil
}

func (g *fake) PurgeCache(purge func(*store.Store)) bool {
	if g.cache != nil {
		purge(g.cache)
	}
	return g.cache != nil
}
func (g *fake) Limits() []compile.LimitStatus {
	return []compile.LimitStatus{{Status: limit.Status{Name: "fair-use", Kind: "rate_limit", Keys: []limit.KeyStatus{{Key: "192.0.2.7"}}}}}
}
func (g *fake) QuotaUsage(policy string, values []string) ([]limit.QuotaUsage, error) {
	if policy != "plan" {
		return nil, compile.ErrNoQuota
	}
	return []limit.QuotaUsage{{Limit: values[0], Used: 7}}, nil
}

func (g *fake) ResetLimit(policy, id string, values []string) error {
	switch {
	case policy != "fair-use":
		return compile.ErrNoLimit
	case id == "0-f00" || len(values) == 1 && values[0] == "192.0.2.7":
		return nil
	case len(values) == 1 && values[0] == "192.0.2.9":
		return limit.ErrStoreAway
	case len(values) > 1:
		return errors.New("no limit has a key of so many values")
	}
	return limit.ErrUnknownKey
}
func (g *fake) Consumers(string, string, int) ([]compile.ConsumerInfo, bool, error) {
	return []compile.ConsumerInfo{{Status: consumer.Status{Group: "partners", Name: "acme", Keys: []consumer.Credential{{Prefix: "sk_acme"}}}}}, false, nil
}
func (g *fake) Members() *compile.Members { return g.members }
func (g *fake) Reload() (Reloaded, error) {
	g.reloads.Add(1)
	return g.reload()
}
func (g *fake) WriteMetrics(w io.Writer) error {
	if g.panicked {
		panic("a bug")
	}
	_, err := io.WriteString(w, "sluice_config_generation 7\n")
	return err
}

// serve starts an admin server and returns its address.
func serve(t *testing.T, g *fake, o Options) (address string, s *Server) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = New(g, o)
	s.Listen(nl)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return nl.Addr().String(), s
}

// ask sends a request; lines are header fields, "Host: x" sets the host.
func ask(t *testing.T, address, method, path string, lines ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestGuard(t *testing.T) {
	g := &fake{reload: func() (Reloaded, error) { return Reloaded{Generation: 8}, nil }}
	const token = "0123456789abcdef"
	options := Options{Private: true}
	address, s := serve(t, g, options)
	port := address[strings.LastIndexByte(address, ':'):]
	f := func(method, path string, want int, lines ...string) {
		t.Helper()
		status, header, body := ask(t, address, method, path, lines...)
		if status != want {
			t.Errorf("%s %s %q: status %d, want %d: %s", method, path, lines, status, want, body)
		}
		if want >= 400 && (header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "urn:sluice:problem:")) {
			t.Errorf("%s %s %q: the refusal is no problem+json: %s %s", method, path, lines, header.Get("Content-Type"), body)
		}
	}

	// A loopback address without a token.
	f("GET", "/healthz", 200)
	f("GET", "/readyz", 200)
	f("GET", "/metrics", 200)
	f("GET", "/v1/status", 200)
	f("POST", "/v1/reload", 200)
	f("GET", "/debug/pprof/", 200)

	// Hosts that a browser cannot be tricked into.
	f("GET", "/v1/status", 200, "Host: localhost")
	f("GET", "/v1/status", 200, "Host: LOCALHOST:1")
	f("GET", "/v1/status", 200, "Host: [::1]:9180")
	f("GET", "/v1/status", 200, "Host: 10.0.0.1")
	f("GET", "/v1/status", 403, "Host: evil.example")
	f("GET", "/v1/status", 403, "Host: evil.example:9180")
	f("GET", "/v1/status", 403, "Host: localhost.evil.example")
	f("GET", "/v1/status", 403, "Host: 127.0.0.1.evil.example")
	f("GET", "/v1/status", 403, "Host: gateway.internal")
	f("GET", "/healthz", 403, "Host: evil.example")
	f("GET", "/nowhere", 403, "Host: evil.example")

	// Pages of other sites.
	f("POST", "/v1/reload", 200, "Origin: http://"+address)
	f("POST", "/v1/reload", 200, "Host: localhost"+port, "Origin: http://localhost"+port)
	f("POST", "/v1/reload", 403, "Origin: http://evil.example")
	f("POST", "/v1/reload", 403, "Origin: https://"+address)
	f("POST", "/v1/reload", 403, "Origin: http://127.0.0.1")
	f("POST", "/v1/reload", 403, "Origin: null")
	f("POST", "/v1/reload", 403, "Origin: http://"+address, "Origin: http://evil.example")
	f("GET", "/healthz", 403, "Origin: http://evil.example")
	f("GET", "/v1/status", 403, "Sec-Fetch-Site: cross-site")
	f("GET", "/v1/status", 403, "Sec-Fetch-Site: same-site")
	f("GET", "/v1/status", 200, "Sec-Fetch-Site: none")
	f("GET", "/debug/pprof/", 403, "Origin: http://evil.example")

	// Methods.
	f("POST", "/healthz", 405)
	f("DELETE", "/v1/status", 405)
	f("GET", "/v1/reload", 405)
	f("PUT", "/debug/pprof/heap", 405)
	f("GET", "/nowhere", 404)
	f("GET", "/v1", 404)
	f("GET", "/", 404)

	// A token is needed wherever one is configured.
	s.Set(Options{Private: true, Token: token, Host: "gateway.internal"})
	f("GET", "/healthz", 200)
	f("GET", "/readyz", 200)
	f("GET", "/metrics", 401)
	f("GET", "/v1/status", 401)
	f("POST", "/v1/reload", 401)
	f("GET", "/debug/pprof/", 401)
	f("GET", "/nowhere", 401)
	f("GET", "/v1/status", 401, "Authorization: Bearer")
	f("GET", "/v1/status", 401, "Authorization: Bearer "+token+"x")
	f("GET", "/v1/status", 401, "Authorization: Bearer "+token[1:])
	f("GET", "/v1/status", 401, "Authorization: Basic "+token)
	f("GET", "/v1/status", 401, "Authorization: "+token)
	f("GET", "/v1/status", 200, "Authorization: Bearer "+token)
	f("GET", "/v1/status", 200, "Authorization: bearer "+token)
	f("POST", "/v1/reload", 200, "Authorization: Bearer "+token)
	f("GET", "/v1/status", 200, "Authorization: Bearer "+token, "Host: gateway.internal")
	f("GET", "/v1/status", 403, "Authorization: Bearer "+token, "Host: evil.example")

	// A public address without one stays shut.
	s.Set(Options{})
	f("GET", "/healthz", 200)
	f("GET", "/v1/status", 403)
	f("GET", "/metrics", 403)
	f("GET", "/v1/status", 403, "Authorization: Bearer ")

	if got := g.reloads.Load(); got != 4 {
		t.Errorf("the gateway was reloaded %d times, want 4: a refused request got through", got)
	}
}

// TestOldConnections: what a connection may do without a token depends on where it came in, not only on where the
// listener is now.
func TestOldConnections(t *testing.T) {
	s := New(&fake{}, Options{Private: true})
	f := func(local net.Addr, want int) {
		t.Helper()
		var ctx fasthttp.RequestCtx
		ctx.Init2(connectedTo{local}, quiet{}, false)
		ctx.Request.SetRequestURI("http://127.0.0.1/v1/status")
		s.handle(&ctx)
		if got := ctx.Response.StatusCode(); got != want {
			t.Errorf("%v: status %d, want %d", local, got, want)
		}
	}
	f(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, 200)
	f(&net.TCPAddr{IP: net.IPv6loopback}, 200)
	f(&net.UnixAddr{Net: "unix"}, 200)
	f(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, 403)
	f(&net.TCPAddr{}, 403)
}

// connectedTo is a connection that has nothing but a local address.
type connectedTo struct{ local net.Addr }

func (c connectedTo) LocalAddr() net.Addr            { return c.local }
func (c connectedTo) RemoteAddr() net.Addr           { return c.local }
func (connectedTo) Read([]byte) (int, error)         { return 0, io.EOF }
func (connectedTo) Write(p []byte) (int, error)      { return len(p), nil }
func (connectedTo) Close() error                     { return nil }
func (connectedTo) SetDeadline(time.Time) error      { return nil }
func (connectedTo) SetReadDeadline(time.Time) error  { return nil }
func (connectedTo) SetWriteDeadline(time.Time) error { return nil }

func TestAllow(t *testing.T) {
	address, _ := serve(t, &fake{}, Options{Private: true})
	f := func(method, path, want string) {
		t.Helper()
		if _, header, _ := ask(t, address, method, path); header.Get("Allow") != want {
			t.Errorf("%s %s: Allow %q, want %q", method, path, header.Get("Allow"), want)
		}
	}
	f("POST", "/healthz", "GET, HEAD")
	f("GET", "/v1/reload", "POST")
	f("GET", "/healthz", "")
}

func TestPages(t *testing.T) {
	g := &fake{}
	address, _ := serve(t, g, Options{Private: true})
	f := func(method, path string, want int, wantType string, parts ...string) {
		t.Helper()
		status, header, body := ask(t, address, method, path)
		if status != want || header.Get("Content-Type") != wantType {
			t.Errorf("%s %s: %d %s, want %d %s", method, path, status, header.Get("Content-Type"), want, wantType)
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				t.Errorf("%s %s: no %q in %s", method, path, part, body)
			}
		}
		if method == "HEAD" && body != "" {
			t.Errorf("HEAD %s has a body: %s", path, body)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s may be cached", method, path)
		}
	}
	const text, json, problem = "text/plain; charset=utf-8", "application/json", "application/problem+json"
	f("GET", "/healthz", 200, text, "ok\n")
	f("HEAD", "/healthz", 200, text)
	f("GET", "/readyz", 200, text, "ok\n")
	g.unready.Store("draining")
	f("GET", "/readyz", 503, text, "draining\n")
	f("GET", "/healthz", 200, text, "ok\n")
	f("GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "sluice_config_generation 7\n")
	f("GET", "/v1/status", 200, json, `  "version": "v1.2.3",`, `  "generation": 7,`)
	f("GET", "/v1/routes", 200, json, `"match": "GET /items/{id}"`, `"to": "<origin>"`)
	f("GET", "/v1/services", 200, json, `"services": []`)
	f("GET", "/v1/consumers", 200, json, `"prefix": "sk_acme"`)
	f("POST", "/v1/consumers", 405, "application/problem+json", "GET, HEAD")
	f("GET", "/debug/pprof/goroutine?debug=1", 200, text, "goroutine profile:")

	g.reload = func() (Reloaded, error) { return Reloaded{Generation: 8}, nil }
	f("POST", "/v1/reload", 200, json, `"generation": 8`, `"warnings": []`)
	g.reload = func() (Reloaded, error) {
		return Reloaded{}, config.Problems{{Pos: config.Pos{File: "a.yaml", Line: 3, Column: 5}, Path: "routes.x", Message: "is wrong", Hint: "did you mean right?"}}
	}
	f("POST", "/v1/reload", 422, problem, "urn:sluice:problem:broken_configuration", `"file": "a.yaml"`, `"line": 3`, `"column": 5`, `"path": "routes.x"`, "did you mean right?")
	g.reload = func() (Reloaded, error) { return Reloaded{}, errors.New("cannot listen on :80") }
	f("POST", "/v1/reload", 503, problem, "urn:sluice:problem:reload_failed", "cannot listen on :80")

	g.panicked = true
	f("GET", "/metrics", 500, problem, "urn:sluice:problem:internal")
	f("GET", "/healthz", 200, text, "ok\n")
}

func TestBrokenRequests(t *testing.T) {
	address, _ := serve(t, &fake{}, Options{Private: true})
	f := func(request string, want int) {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request) // who is refused early need not get rid of all of it: the answer counts
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%.60q: %v", request, err)
		}
		defer res.Body.Close()
		var p struct{ Type string }
		if err := json.NewDecoder(res.Body).Decode(&p); err != nil && want >= 400 {
			t.Errorf("%.60q: the refusal is no JSON: %v", request, err)
		}
		if res.StatusCode != want {
			t.Errorf("%.60q: status %d, want %d", request, res.StatusCode, want)
		}
	}
	f("GET /v1/status HTTP/1.0\r\n\r\n", 200) // a health check without Host
	f("GET http://evil.example/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 403)
	f("GET /v1/status HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 403)
	f("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", headBytesMax)+"\r\n\r\n", 431)
	f(fmt.Sprintf("POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", bodyBytesMax+1), 413)
	f("nonsense\r\n\r\n", 400)
}

func TestSeveralListeners(t *testing.T) {
	first, s := serve(t, &fake{}, Options{Private: true})
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := nl.Addr().String()
	stop := s.Listen(nl)
	f := func(address string) {
		t.Helper()
		if status, _, _ := ask(t, address, "GET", "/healthz"); status != 200 {
			t.Errorf("%s: status %d", address, status)
		}
	}
	f(first)
	f(second)
	stop()
	stop() // must not matter
	f(first)
	// Its port may be somebody else's by now: what tells is the listener itself.
	if err := nl.(*net.TCPListener).SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the stopped listener still accepts: %v", err)
	}
}

func TestCloseLetsRequestsEnd(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	g := &fake{reload: func() (Reloaded, error) {
		close(began)
		<-goOn
		return Reloaded{Generation: 9}, nil
	}}
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(g, Options{Private: true})
	s.Listen(nl)
	status := make(chan int)
	go func() {
		res, err := http.Post("http://"+nl.Addr().String()+"/v1/reload", "", nil)
		if err != nil {
			status <- 0
			return
		}
		status <- res.StatusCode
	}()
	<-began
	closed := make(chan error)
	go func() { closed <- s.Close(context.Background()) }()
	time.Sleep(50 * time.Millisecond) // Close is waiting
	close(goOn)
	if got := <-status; got != 200 {
		t.Errorf("the request under way ended with %d, want 200", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
