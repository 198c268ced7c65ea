package proxytest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"sluice/tlsterm"

	"sluice/proxy/wire"
)

// proxiedOrigin is an origin whose connections have to begin with a PROXY header, which a library that is not ours reads. It answers
// with the client's address as it knows it, and counts connections.
type proxiedOrigin struct {
	address string
	mu      sync.Mutex
	conns   int
}

func newProxiedOrigin(t testing.TB, scheme string) *proxiedOrigin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &proxiedOrigin{address: l.Addr().String()}
	var nl net.Listener = &proxyproto.Listener{Listener: l, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		return proxyproto.REQUIRE, nil
	}}
	var protocols http.Protocols
	switch scheme {
	case "h2c", "h2":
		protocols.SetUnencryptedHTTP2(true)
		protocols.SetHTTP2(true)
	default:
		protocols.SetHTTP1(true)
	}
	s := &http.Server{
		Protocols: &protocols,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%s %s", r.RemoteAddr, r.Proto)
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			o.mu.Lock()
			o.conns++
			o.mu.Unlock()
			return ctx
		},
	}
	if scheme == "https" || scheme == "h2" {
		term, err := tlsterm.Open(tlsterm.Options{Name: "origin", ALPN: []string{"h2", "http/1.1"}, Certificates: []tlsterm.Source{{SelfSigned: []string{"127.0.0.1"}}}})
		if err != nil {
			t.Fatal(err)
		}
		s.TLSConfig = term.Config()
		go s.ServeTLS(nl, "", "")
	} else {
		go s.Serve(nl)
	}
	t.Cleanup(func() { s.Close() })
	return o
}

func (o *proxiedOrigin) connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns
}

func proxiedService(scheme, address, more string) string {
	if scheme == "https" || scheme == "h2" {
		more += ", origin_tls: { verify: false }"
	}
	return fmt.Sprintf("services: { origin: { to: [\"%s://%s\"], proxy_protocol: v2 %s } }\nroutes: { all: { match: /**, to: origin } }\n", scheme, address, more)
}

// askHTTP sends a request over a connection and returns the body of the answer.
func (c *Client) askHTTP(head, body string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(c.R, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return string(answer), err
}

// TestProxyOutOwn: whatever the pool does, no client is given the address of another. The pool is so small that connections are
// waited for, handed over and given up all the time.
func TestProxyOutOwn(t *testing.T) {
	f := func(scheme, proto, more string) {
		t.Helper()
		origin := newProxiedOrigin(t, scheme)
		gw := Start(t, proxiedService(scheme, origin.address, more))
		var clients sync.WaitGroup
		for i := range 12 {
			clients.Go(func() {
				for range 3 {
					d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%4))}}
					nc, err := d.Dial("tcp", gw.Addr)
					if err != nil {
						t.Error(err)
						return
					}
					c := &Client{TCPConn: nc.(*net.TCPConn), R: bufio.NewReader(nc), t: t}
					for n := range 10 {
						method, body := "GET", ""
						if n%3 == 1 {
							method, body = "POST", strings.Repeat("x", 40<<10)
						}
						got, err := c.askHTTP(method+" / HTTP/1.1", body)
						if want := nc.LocalAddr().String() + " " + proto; err != nil || got != want {
							t.Errorf("%s: got %q, %v; want %q", scheme, got, err, want)
							break
						}
					}
					nc.Close()
				}
			})
		}
		clients.Wait()
		// 36 clients, each over a connection of its own at least; one after the other they use it again, unless it had to make room.
		if n := origin.connections(); n < 36 {
			t.Errorf("%s: %d connections for 36 clients", scheme, n)
		}
	}
	f("http", "HTTP/1.1", ", pool: { connections: 3, wait: 30s }")
	f("http", "HTTP/1.1", ", pool: { idle: 1 }")
	f("https", "HTTP/1.1", ", pool: { connections: 3, wait: 30s }")
	f("h2c", "HTTP/2.0", "")
	f("h2c", "HTTP/2.0", ", pool: { idle: 1 }")
	f("h2", "HTTP/2.0", "")
}

// TestProxyOutAgain: requests of one client use one connection, and others make room for new ones.
func TestProxyOutAgain(t *testing.T) {
	f := func(scheme string) {
		t.Helper()
		origin := newProxiedOrigin(t, scheme)
		gw := Start(t, proxiedService(scheme, origin.address, ", pool: { connections: 2 }"))
		ask := func(c *Client, want int) {
			t.Helper()
			if _, err := c.askHTTP("GET / HTTP/1.1", ""); err != nil {
				t.Fatal(err)
			}
			if n := origin.connections(); n != want {
				t.Errorf("%s: %d connections, want %d", scheme, n, want)
			}
			time.Sleep(2 * wire.Tick) // which of two was unused for longer is known to a tick
		}
		one, two, three := gw.Dial(), gw.Dial(), gw.DialFrom("127.0.0.2")
		ask(one, 1)
		ask(one, 1)
		ask(two, 2)
		ask(one, 2)
		ask(two, 2)
		ask(three, 3) // in the place of one's
		ask(three, 3)
		ask(two, 3)
		ask(one, 4)
	}
	f("http")
	f("h2c")
}

// TestProxyOutForwarded: the client that a trusted proxy names is the one of the header, and of its port nobody knows.
func TestProxyOutForwarded(t *testing.T) {
	origin := newProxiedOrigin(t, "http")
	gw := Start(t, "listen: { web: { address: \":1\", trust: 127.0.0.2 } }\n"+proxiedService("http", origin.address, ""))
	f := func(from, forwarded, want string) {
		t.Helper()
		c := gw.DialFrom(from)
		got, err := c.askHTTP("GET / HTTP/1.1\r\nX-Forwarded-For: "+forwarded, "")
		if want == "" {
			want = c.LocalAddr().String()
		}
		if err != nil || got != want+" HTTP/1.1" {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	f("127.0.0.2", "192.0.2.1", "192.0.2.1:0")
	f("127.0.0.2", "192.0.2.2", "192.0.2.2:0")
	f("127.0.0.2", "2001:db8::1", "[2001:db8::1]:0")
	f("127.0.0.3", "192.0.2.1", "")
}

// headerOrigin hands on the PROXY header that a connection begins with, as a library that is not ours reads it, and then serves.
func headerOrigin(t testing.TB, serve func(c net.Conn, r *bufio.Reader)) (string, chan *proxyproto.Header) {
	headers := make(chan *proxyproto.Header, 10)
	return RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Errorf("no PROXY header: %v", err)
			return
		}
		headers <- h
		serve(c, r)
	}), headers
}

// TestProxyOutPassage: what is passed on begins with a header, too, before what the client has said.
func TestProxyOutPassage(t *testing.T) {
	origin, headers := headerOrigin(t, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })
	for _, version := range []string{"v1", "v2"} {
		gw, _ := passageGateway(t, "to: tcp://"+origin+", proxy_protocol: "+version, "")
		c := gw.DialFrom("127.0.0.5")
		c.roundTrip("hello")
		h := <-headers
		source, destination, ok := h.TCPAddrs()
		if !ok || source.String() != c.LocalAddr().String() || destination.String() != gw.Addr || fmt.Sprintf("v%d", h.Version) != version {
			t.Errorf("%s: the header is %+v", version, h)
		}
		c.Close()
	}

	named, headers := headerOrigin(t, func(c net.Conn, r *bufio.Reader) {})
	gw := Start(t, fmt.Sprintf("listen: { public: { address: \":1\", passthrough: { \"*.shop.example\": db } } }\nservices: { db: { to: tcp://%s, proxy_protocol: v2 } }\n", named))
	askTLS(t, gw.Dial().TCPConn, "db.shop.example")
	tlvs, err := (<-headers).TLVs()
	if err != nil || len(tlvs) != 1 || tlvs[0].Type != proxyproto.PP2_TYPE_AUTHORITY || string(tlvs[0].Value) != "db.shop.example" {
		t.Errorf("TLVs are %v, %v", tlvs, err)
	}
}

// TestProxyOutTLS: what is known of the TLS that ended here is told.
func TestProxyOutTLS(t *testing.T) {
	origin, headers := headerOrigin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	gw := Start(t, "listen: { web: { address: \":1\", tls: self-signed } }\n"+proxiedService("http", origin, ""))
	c := gw.Dial()
	limitConn(t, c)
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example", NextProtos: []string{"http/1.1"}})
	if _, err := io.WriteString(s, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	h := <-headers
	tlvs, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	got := map[proxyproto.PP2Type]string{}
	for _, tlv := range tlvs {
		got[tlv.Type] = string(tlv.Value)
	}
	ssl, ok := tlvparse.FindSSL(tlvs)
	version, _ := ssl.SSLVersion()
	if got[proxyproto.PP2_TYPE_AUTHORITY] != "shop.example" || got[proxyproto.PP2_TYPE_ALPN] != "http/1.1" || !ok || version != "TLSv1.3" || ssl.Verified() {
		t.Errorf("TLVs are %v", tlvs)
	}
}

// TestProxyOutChain: a second gateway knows what the first one knew.
func TestProxyOutChain(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	})
	f := func(scheme, version, want string) {
		t.Helper()
		second := Start(t, fmt.Sprintf("listen: { web: { address: \":1\", http: [h1, h2], proxy_protocol: { from: 127.0.0.0/8 } } }\nservices: { origin: http://%s }\nroutes: { all: { match: /**, to: origin } }\n", origin))
		first := Start(t, fmt.Sprintf("listen: { web: { address: \":1\", tls: self-signed } }\nservices: { second: { to: [\"%s://%s\"], proxy_protocol: %s } }\nroutes: { all: { match: /**, to: second, rewrite: { headers: { remove: [X-Forwarded-For, X-Forwarded-Proto] } } } }\n", scheme, second.Addr, version))
		c := first.DialFrom("127.0.0.7")
		limitConn(t, c)
		s := tls.Client(c, clientTLS)
		if _, err := io.WriteString(s, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(s), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
			t.Errorf("%s %s: got %q, %v; want %q", scheme, version, got, err, want)
		}
	}
	f("http", "v2", "127.0.0.7 https")
	f("h2c", "v2", "127.0.0.7 https")
	f("http", "v1", "127.0.0.7 http") // which has no room for TLS
}

// TestProxyOutUnix: of a client on a unix socket no address is known, and the header says so.
func TestProxyOutUnix(t *testing.T) {
	origin, headers := headerOrigin(t, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })
	for _, version := range []string{"v1", "v2"} {
		path := filepath.Join(t.TempDir(), "s")
		nl, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		start(t, fmt.Sprintf("listen: { db: { address: \":1\", tcp: db } }\nservices: { db: { to: tcp://%s, proxy_protocol: %s } }\n", origin, version), nl, nil)
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		limitConn(t, c)
		got := make([]byte, 5)
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, _, ok := (<-headers).TCPAddrs(); ok {
			t.Errorf("%s: an address", version)
		}
	}
}

// TestProxyOutNginx: nginx takes our headers.
func TestProxyOutNginx(t *testing.T) {
	n := startNginx(t)
	for _, version := range []string{"v1", "v2"} {
		gw := Start(t, fmt.Sprintf("services: { nginx: { to: \"unix:%s\", proxy_protocol: %s } }\nroutes: { all: { match: /**, to: nginx } }\n", filepath.Join(filepath.Dir(n.path), "proxied"), version))
		c := gw.DialFrom("127.0.0.6")
		for range 2 {
			got, err := c.askHTTP("GET / HTTP/1.1", "")
			if want := c.LocalAddr().String(); err != nil || got != want {
				t.Errorf("%s: got %q, %v; want %q", version, got, err, want)
			}
		}
	}
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(n.path), "error.log")); err != nil || bytes.Contains(text, []byte("broken header")) {
		t.Errorf("nginx says %s, %v", text, err)
	}
}
