package upstream

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"sluice/proxy"
)

// TestRequestHead sees the bytes that reach the origin.
func TestRequestHead(t *testing.T) {
	heads := make(chan string, 1)
	to := rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if head.WriteString(line); err != nil || line == "\r\n" {
				break
			}
		}
		heads <- head.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	f := func(base, host string, edit func(r *proxy.Request), want string) {
		t.Helper()
		based := to
		based.Base = base
		s := testService(t, func(o *Options) { o.Host = host }, based)
		x := newExchange("GET", "/a", "")
		defer end(x)
		if edit != nil {
			edit(&x.Request)
		}
		if got, err := serve(s, x); got != "200" {
			t.Fatal(got, err)
		}
		want = strings.ReplaceAll(want, "ORIGIN", "127.0.0.1:"+to.Port)
		if got := receive(t, "a request", heads); got != want {
			t.Fatalf("got\n%q, want\n%q", got, want)
		}
	}
	method := func(m string) func(r *proxy.Request) { return func(r *proxy.Request) { r.Method = m } }
	f("", "", nil, "GET /a HTTP/1.1\r\nHost: client.example\r\n\r\n")
	f("/base", "", nil, "GET /base/a HTTP/1.1\r\nHost: client.example\r\n\r\n")
	f("/base", "", func(r *proxy.Request) { r.Method, r.Path = "OPTIONS", []byte("*") }, "OPTIONS * HTTP/1.1\r\nHost: client.example\r\n\r\n")
	f("", "origin", nil, "GET /a HTTP/1.1\r\nHost: ORIGIN\r\n\r\n")
	f("", "other.example", nil, "GET /a HTTP/1.1\r\nHost: other.example\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.Query, r.HasQuery = []byte("b=%20c"), true }, "GET /a?b=%20c HTTP/1.1\r\nHost: client.example\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.HasQuery = true }, "GET /a? HTTP/1.1\r\nHost: client.example\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.Head.AddString("X-A", "1") }, "GET /a HTTP/1.1\r\nHost: client.example\r\nX-A: 1\r\n\r\n")
	f("", "", method("POST"), "POST /a HTTP/1.1\r\nHost: client.example\r\nContent-Length: 0\r\n\r\n")
	f("", "", method("DELETE"), "DELETE /a HTTP/1.1\r\nHost: client.example\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.Upgrade = "websocket" },
		"GET /a HTTP/1.1\r\nHost: client.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.Body.SetWhole([]byte("12345678901")) },
		"GET /a HTTP/1.1\r\nHost: client.example\r\nContent-Length: 11\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.Body.SetFlow([]byte("123"), newFlow("45"), 5) },
		"GET /a HTTP/1.1\r\nHost: client.example\r\nContent-Length: 5\r\n\r\n")
	f("", "", func(r *proxy.Request) { r.Body.SetFlow([]byte("123"), newFlow("45"), -1) },
		"GET /a HTTP/1.1\r\nHost: client.example\r\nTransfer-Encoding: chunked\r\n\r\n")
}

func TestAuthority(t *testing.T) {
	f := func(target Target, want string) {
		t.Helper()
		if got := target.authority(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f(Target{Network: "tcp", Host: "a.example", Port: "80"}, "a.example")
	f(Target{Network: "tcp", Host: "a.example", Port: "443"}, "a.example:443")
	f(Target{Network: "tcp", Host: "a.example", Port: "443", TLS: true}, "a.example")
	f(Target{Network: "tcp", Host: "a.example", Port: "80", TLS: true}, "a.example:80")
	f(Target{Network: "tcp", Host: "::1", Port: "80"}, "[::1]")
	f(Target{Network: "tcp", Host: "::1", Port: "8080"}, "[::1]:8080")
	f(Target{Network: "unix", Host: "/run/a.sock"}, "localhost")
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "origin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	listen(t, l, func(c net.Conn, r *bufio.Reader, n int) {
		answerAll(c, r, n, func(n int, req *http.Request, body string) string {
			return ok(fmt.Sprint(n, " ", req.Host, " ", req.URL.Path, " ", body))
		})
	})
	s := testService(t, func(o *Options) { o.Host = "origin" }, Target{Network: "unix", Host: path, Base: "/base", Weight: 1})
	expect(t, s, "POST", "/a", "body", "200 0 localhost /base/a body")
	expect(t, s, "GET", "/b", "", "200 0 localhost /base/b") // over the same connection
	if got := s.Status().Endpoints[0].Address; got != path {
		t.Fatal(got)
	}
}

// TestTLS verifies origins by default: only a certificate for the right name from a known authority will do.
func TestTLS(t *testing.T) {
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.TLS.ServerName, r.TLS.NegotiatedProtocol)
	}))
	o.Config.ErrorLog = discardLog // of refused handshakes
	o.StartTLS()
	t.Cleanup(func() {
		o.CloseClientConnections()
		o.Close()
	})
	u, err := url.Parse(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AddCert(o.Certificate()) // for example.com and 127.0.0.1
	f := func(host string, c *tls.Config, want string) {
		t.Helper()
		s := testService(t, func(o *Options) { o.TLS, o.Resolver = c, fixedResolver{"127.0.0.1"} },
			Target{Network: "tcp", Host: host, Port: u.Port(), TLS: true, Weight: 1})
		expect(t, s, "GET", "/", "", want)
		expect(t, s, "POST", "/", "again, over the same connection", want)
		if st := s.Status().Endpoints[0]; strings.HasPrefix(want, "200") && (st.Open != 1 || st.Idle != 1) {
			t.Fatalf("%+v", st)
		}
	}
	h1 := []string{"http/1.1"}
	f("127.0.0.1", nil, "upstream_unreachable")
	f("127.0.0.1", &tls.Config{}, "upstream_unreachable")
	f("127.0.0.1", &tls.Config{RootCAs: x509.NewCertPool()}, "upstream_unreachable")
	f("127.0.0.1", &tls.Config{RootCAs: known}, "200 HTTP/1.1")
	f("127.0.0.1", &tls.Config{RootCAs: known, NextProtos: h1}, "200 HTTP/1.1  http/1.1")
	f("127.0.0.1", &tls.Config{RootCAs: known, ServerName: "example.com"}, "200 HTTP/1.1 example.com")
	f("127.0.0.1", &tls.Config{RootCAs: known, ServerName: "wrong.test"}, "upstream_unreachable")
	f("example.com", &tls.Config{RootCAs: known}, "200 HTTP/1.1 example.com")
	f("wrong.test", &tls.Config{RootCAs: known}, "upstream_unreachable")
	f("wrong.test", &tls.Config{InsecureSkipVerify: true}, "200 HTTP/1.1 wrong.test")
	f("wrong.test", &tls.Config{RootCAs: known, ServerName: "example.com"}, "200 HTTP/1.1 example.com")
}

// TestTLSStale tells a session ticket, which nobody asked for, from the farewell before a close.
func TestTLSStale(t *testing.T) {
	o := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method) }))
	t.Cleanup(o.Close)
	u, err := url.Parse(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := testService(t, func(o *Options) {
		o.TLS = &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	},
		Target{Network: "tcp", Host: "127.0.0.1", Port: u.Port(), TLS: true, Weight: 1})
	expect(t, s, "GET", "/", "", "200 GET")
	settled(t, s, 1, 1)
	o.CloseClientConnections()
	staleIdle(t, s)
	if attempts := expect(t, s, "POST", "/", "body", "200 POST"); attempts != 1 {
		t.Fatalf("%d attempts", attempts)
	}
	o.CloseClientConnections()
	staleIdle(t, s)
	if attempts := expect(t, s, "GET", "/", "", "200 GET"); attempts > 2 {
		t.Fatalf("%d attempts", attempts)
	}
}

// TestResponses reads what origins answer. Afterwards the connection is either kept or closed.
func TestResponses(t *testing.T) {
	f := func(method, answer, want string, kept int) {
		t.Helper()
		s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) {
			if answerOne(c, r, answer) && kept == 1 {
				_, _ = io.Copy(io.Discard, c)
			}
		}))
		expect(t, s, method, "/", "", want)
		settled(t, s, kept, kept)
	}
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 hi", 1)
	f("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 hi", 1)
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "200 hi", 0)
	f("GET", "HTTP/1.1 204 No Content\r\n\r\n", "204", 1)
	f("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "304", 1)
	f("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "200", 1)
	f("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200", 1)

	// Origins of HTTP/1.0 end a body by closing, unless they say otherwise.
	f("GET", "HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 until the end", 0)
	f("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 hi", 0)
	f("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", "200 hi", 1)
	f("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 until the end", 0)

	// Bytes nobody asked for: they must not become the next answer.
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", "200 hi", 0)
	f("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "204", 0)
	f("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200", 0)

	// Bodies that end early are not whole.
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "upstream_closed", 0)
	f("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "upstream_closed", 0)
	f("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n", "upstream_response", 0)

	f("GET", "", "upstream_closed", 0)
	f("GET", "HTTP/1.1 200 OK\r\nA", "upstream_closed", 0)
	f("GET", "nonsense\r\n\r\n", "upstream_response", 0)
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", "upstream_response", 0)
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "upstream_response", 0)
	f("GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "upstream_response", 0)
	// The limits of the test: 8 KiB and 50 fields.
	f("GET", "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 7<<10)+"\r\nContent-Length: 0\r\n\r\n", "200", 1)
	f("GET", "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 9<<10)+"\r\nContent-Length: 0\r\n\r\n", "upstream_response", 0)
	f("GET", "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 64<<10), "upstream_response", 0)
	f("GET", "HTTP/1.1 200 OK\r\n"+strings.Repeat("A: a\r\n", 51)+"Content-Length: 0\r\n\r\n", "upstream_response", 0)
}

// TestInterims passes informational responses on, except 100, and not without end.
func TestInterims(t *testing.T) {
	f := func(interims, want string, passed ...string) {
		t.Helper()
		s := testService(t, nil, origin(t, func(int, *http.Request, string) string { return interims + ok("final") }))
		x := newExchange("GET", "/", "")
		defer end(x)
		got, err := serve(s, x)
		if err != nil {
			got = code(err)
		}
		edge := x.Edge.(*testEdge)
		if got != want || fmt.Sprint(edge.interims) != fmt.Sprint(passed) {
			t.Fatalf("got %q (%v) after %q, want %q after %q", got, err, edge.interims, want, passed)
		}
	}
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-gone\r\nX-Gone: 1\r\n\r\n"
	f("", "200 final")
	f(hints, "200 final", "103 Link: </a>\r\n")
	f(hints+"HTTP/1.1 102 Processing\r\n\r\n", "200 final", "103 Link: </a>\r\n", "102 ")
	f("HTTP/1.1 100 Continue\r\n\r\n", "200 final")
	f(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", interimMax), "200 final")
	f(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", interimMax+1), "upstream_response")
}

// TestExpectContinue reads the body from the client only when the origin wants it.
func TestExpectContinue(t *testing.T) {
	f := func(first string, want string, reads bool, kept int) {
		t.Helper()
		s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) {
			req, err := http.ReadRequest(r)
			if err != nil || req.Header.Get("Expect") != "100-continue" {
				t.Errorf("%v %v", req, err)
				return
			}
			if _, err := io.WriteString(c, first); err != nil {
				t.Error(err)
			}
			if reads {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(c, ok(string(body)))
			}
			_, _ = io.Copy(io.Discard, c)
		}))
		x := newExchange("PUT", "/", "")
		defer end(x)
		body := newFlow("body")
		x.Request.Body.SetFlow(nil, body, 4)
		x.Request.ExpectContinue = true
		got, err := serve(s, x)
		if got != want || (body.reads.Load() > 0) != reads {
			t.Fatalf("%q: got %q %v, %d reads", first, got, err, body.reads.Load())
		}
		settled(t, s, kept, kept)
	}
	f("HTTP/1.1 100 Continue\r\n\r\n", "200 body", true, 1)
	f("", "200 body", true, 1) // silent: the body is sent after a while
	// The connection is closed: the origin may still wait for the body.
	f("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno", "417 no", false, 0)
}

// TestEarlyResponse has the origin answer, and finish, while the request body is still on its way.
func TestEarlyResponse(t *testing.T) {
	f := func(size int64) {
		t.Helper()
		s := testService(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) {
			if _, err := http.ReadRequest(r); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
			_, _ = io.Copy(io.Discard, c)
		}))
		x := newExchange("POST", "/", "")
		defer end(x)
		body := hangingFlow("some")
		x.Request.Body.SetFlow(nil, body, size)
		if err := s.Serve(x, nil); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(&x.Response.Body)
		if x.Response.Status != 413 || string(got) != "big" || err != nil {
			t.Fatal(x.Response.Status, string(got), err)
		}
		body.Interrupt() // as the edge does when the response is sent
		if err := x.Response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		settled(t, s, 0, 0)
	}
	f(-1)
	f(1000)
}

// TestUpload sends bodies of all shapes and sizes; the connection is used again after each.
func TestUpload(t *testing.T) {
	s := testService(t, nil, origin(t, func(n int, req *http.Request, body string) string {
		return ok(fmt.Sprint(n, " ", req.ContentLength, " ", len(body), " ", strings.Count(body, "x"), req.Trailer))
	}))
	for _, n := range []int{0, 1, 100, 4 << 10, 16 << 10, 64 << 10, 64<<10 - 12, 1 << 20} {
		text := strings.Repeat("x", n)
		f := func(set func(b *proxy.Body), size int) {
			t.Helper()
			x := newExchange("POST", "/", "")
			defer end(x)
			set(&x.Request.Body)
			if size < 0 {
				x.Request.Trailers.AddString("X-T", "1")
			}
			want := fmt.Sprintf("200 0 %d %d %d map[]", size, n, n)
			if size < 0 {
				want = strings.Replace(want, "map[]", "map[X-T:[1]]", 1)
			}
			if got, err := serve(s, x); got != want {
				t.Fatalf("got %q %v, want %q", got, err, want)
			}
		}
		f(func(b *proxy.Body) { b.SetWhole([]byte(text)) }, n)
		if n > 0 {
			f(func(b *proxy.Body) { b.SetFlow([]byte(text[:n/2]), newFlow(text[n/2:]), int64(n)) }, n)
		}
		f(func(b *proxy.Body) { b.SetFlow(nil, newFlow(text), -1) }, -1)
		f(func(b *proxy.Body) { b.SetFlow([]byte(text[:n/3]), newFlow(text[n/3:]), -1) }, -1)
	}
	settled(t, s, 1, 1)
}
