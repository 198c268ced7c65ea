package server_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy/proxytest"
)

// guarded is a gateway whose rules for client certificates depend on the name: partner.test and all below it require one, maybe.test
// requests one which its route wants, staff.test requires one of another authority, and nobody else asks for any.
type guarded struct {
	*testing.T
	*proxytest.Gateway
	partner, staff tls.Certificate
	reached        atomic.Int32 // requests for the names that are guarded
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{T: t}
	dir := t.TempDir()
	authority := func(name string) (file string, client tls.Certificate) {
		ca, caKey := issue(t, nil, nil, name)
		file = dir + "/" + name + ".pem"
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		cert, key := issue(t, ca, caKey, "app."+name)
		return file, pairOf(cert, key)
	}
	var partners, staff string
	partners, g.partner = authority("partners")
	staff, g.staff = authority("staff")
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		g.reached.Add(1)
		_, _ = io.WriteString(w, "guarded")
	})
	g.Gateway = proxytest.Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h2] } }
tls:
  edge:
    certificates: self-signed
    client_certs:
      - { names: [Partner.test, "*.partner.test"], ca: %s }
      - { names: maybe.test, ca: %[1]s, mode: request }
      - { names: staff.test, ca: %s }
services: { origin: { to: ["http://%s"] } }
routes:
  partner: { match: "partner.test/**", to: origin }
  below: { match: "*.partner.test/**", to: origin }
  maybe: { match: "maybe.test/**", to: origin, use: [ { client_cert: {} } ] }
  staff: { match: "staff.test/**", to: origin }
  open: { match: "/**", respond: { text: open } }
`, partners, staff, origin))
	return g
}

func pairOf(cert *x509.Certificate, key crypto.Signer) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// dialTLS asks for a name, or for none, and shows a certificate whatever the gateway asks for, unless it is empty.
func (g *guarded) dialTLS(name, protocol string, show tls.Certificate) *tls.Conn {
	g.Helper()
	config := &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{protocol}}
	if show.PrivateKey != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &show, nil }
	}
	return tls.Client(g.Dial(), config)
}

// TestMisdirected: nobody comes to a host by a name whose clients have less to show, however the host is written; and nobody's
// certificate gets where it was not asked for.
func TestMisdirected(t *testing.T) {
	g := newGuarded(t)
	none := tls.Certificate{}
	f := func(name string, show tls.Certificate, request string, status int, want string) {
		t.Helper()
		before := g.reached.Load()
		c := g.dialTLS(name, "http/1.1", show)
		res, body := exchange(t, c, bufio.NewReader(c), request)
		if res.StatusCode != status || !strings.Contains(body, want) {
			t.Errorf("%q by %q: %d %s, want %d %s", request, name, res.StatusCode, body, status, want)
		}
		if reached := g.reached.Load() != before; reached != (want == "guarded") {
			t.Errorf("%q by %q: the service was reached: %t", request, name, reached)
		}
	}
	host := func(h string) string { return "GET / HTTP/1.1\r\nHost: " + h + "\r\n\r\n" }
	to := func(target, h string) string { return "GET " + target + " HTTP/1.1\r\nHost: " + h + "\r\n\r\n" }
	const misdirected = `"code":"misdirected_request"`

	for _, name := range []string{"open.test", "", "127.0.0.1", "xpartner.test"} {
		f(name, none, host("open.test"), 200, "open")
		f(name, g.partner, host("partner.test"), 421, misdirected)
	}
	for _, h := range []string{"partner.test", "PARTNER.test", "partner.test.", "partner.test:443", "Partner.Test.:8443", "a.partner.test", "a.b.partner.test",
		"maybe.test", "staff.test", "MAYBE.test:1"} {
		f("open.test", none, host(h), 421, misdirected)
		f("open.test", none, to("http://"+h+"/", "open.test"), 421, misdirected)
		f("open.test", none, to("HTTPS://"+h, "open.test"), 421, misdirected)
		f("open.test", none, to("http://"+h+"?x", h), 421, misdirected)
		f("open.test", none, "OPTIONS * HTTP/1.1\r\nHost: "+h+"\r\n\r\n", 421, misdirected)
		f("open.test", none, "GET / HTTP/1.0\r\nHost: "+h+"\r\n\r\n", 421, misdirected)
		f("open.test", none, "GET / HTTP/1.1\r\nHost: "+h+"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 421, misdirected)
		f("open.test", none, "GET /nowhere HTTP/1.1\r\nHost: "+h+"\r\nX-Forwarded-Host: open.test\r\n\r\n", 421, misdirected)
	}
	// Calls of gRPC get it, too: what a page does next decides its browser, which looks at the status.
	for _, kind := range []string{"application/grpc", "application/grpc-web+proto", "application/grpc-web-text"} {
		f("open.test", none, "POST / HTTP/1.1\r\nHost: partner.test\r\nContent-Type: "+kind+"\r\nContent-Length: 0\r\n\r\n", 421, misdirected)
	}
	// What decides is what is routed by: the authority of the target, whatever Host says.
	f("open.test", none, to("http://open.test/", "partner.test"), 200, "open")
	f("open.test", none, host("open.test\r\nX-Forwarded-Host: partner.test\r\nForwarded: host=partner.test"), 200, "open")
	// What could be read either way is refused before.
	f("open.test", none, host("open.test\r\nHost: partner.test"), 400, "")
	f("open.test", none, host("partner.test@open.test"), 400, "")
	f("open.test", none, host("open.test, partner.test"), 400, "")
	f("open.test", none, host("partner.test\t"), 421, misdirected)
	f("open.test", none, host("partner.test.."), 200, "open") // which no route takes for partner.test either
	f("open.test", none, host(".partner.test"), 200, "open")
	f("open.test", none, "GET / HTTP/1.0\r\n\r\n", 200, "open")

	// By the right name.
	f("partner.test", g.partner, host("partner.test"), 200, "guarded")
	f("PARTNER.TEST", g.partner, host("Partner.test:443"), 200, "guarded")
	f("partner.test", g.partner, host("a.b.partner.test."), 200, "guarded")
	f("a.partner.test", g.partner, host("partner.test"), 200, "guarded")
	f("staff.test", g.staff, host("staff.test"), 200, "guarded")
	f("maybe.test", g.partner, host("maybe.test"), 200, "guarded")
	f("maybe.test", none, host("maybe.test"), 403, "client_certificate_required")

	// From one name that is guarded to another one, and out.
	f("partner.test", g.partner, host("staff.test"), 421, misdirected)
	f("partner.test", g.partner, host("maybe.test"), 421, misdirected)
	f("maybe.test", g.partner, host("partner.test"), 421, misdirected)
	f("maybe.test", none, host("partner.test"), 421, misdirected)
	f("staff.test", g.staff, host("partner.test"), 421, misdirected)
	f("partner.test", g.partner, host("open.test"), 421, misdirected)
	f("partner.test", g.partner, "GET / HTTP/1.0\r\n\r\n", 421, misdirected)

	// Who has nothing to show does not get that far.
	for name, show := range map[string]tls.Certificate{"partner.test": none, "a.partner.test": none, "staff.test": g.partner, "Partner.test": g.staff} {
		c := g.dialTLS(name, "http/1.1", show)
		_, _ = io.WriteString(c, host("partner.test")) // with TLS 1.3 it is the answer that fails
		if answer, err := io.ReadAll(c); err == nil || len(answer) > 0 {
			t.Errorf("%s: %q", name, answer)
		}
	}
}

// TestMisdirectedGoesOn: what a client has sent to the wrong place is read to its end, and is no request; the next one is served.
func TestMisdirectedGoesOn(t *testing.T) {
	g := newGuarded(t)
	c := g.dialTLS("open.test", "http/1.1", tls.Certificate{})
	in := bufio.NewReader(c)
	const inside = "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n"
	for range 3 {
		res, _ := exchange(t, c, in, fmt.Sprintf("POST / HTTP/1.1\r\nHost: partner.test\r\nContent-Length: %d\r\n\r\n%s", len(inside), inside))
		if res.StatusCode != 421 || res.Close {
			t.Fatalf("a request with a body: %d, close %t", res.StatusCode, res.Close)
		}
		if res, body := exchange(t, c, in, "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n"); res.StatusCode != 200 || body != "open" {
			t.Fatalf("the request after it: %d %s", res.StatusCode, body)
		}
	}
	if n := g.reached.Load(); n != 0 {
		t.Errorf("%d requests have reached the service", n)
	}
}

// TestMisdirectedH2: browsers send the requests for all hosts of a certificate over one connection (RFC 9113 section 9.1.1), and go
// elsewhere when they are told. The other streams go on.
func TestMisdirectedH2(t *testing.T) {
	g := newGuarded(t)
	open := func(name string, show tls.Certificate) *h2client {
		t.Helper()
		raw := g.dialTLS(name, "h2", show)
		c := &h2client{t: t, answers: map[uint32]*h2answer{}, Framer: http2.NewFramer(raw, raw), decoder: hpack.NewDecoder(4096, nil)}
		c.AllowIllegalWrites = true
		c.encoder = hpack.NewEncoder(&c.block)
		c.Client = &proxytest.Client{}
		if _, err := io.WriteString(raw, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var id uint32
	f := func(c *h2client, status, body string, fields ...string) {
		t.Helper()
		id += 2
		c.headers(id, true, append([]string{":method", "GET", ":scheme", "https"}, fields...)...)
		if a := c.await(id); a.status != status || !bytes.Contains(a.body, []byte(body)) {
			t.Errorf("%v: %s %s, want %s %s", fields, a.status, a.body, status, body)
		}
	}
	const misdirected = `"code":"misdirected_request"`
	id = 0xffffffff
	c := open("open.test", tls.Certificate{})
	f(c, "200", "open", ":path", "/", ":authority", "open.test")
	for _, h := range []string{"partner.test", "PARTNER.test.", "partner.test:443", "a.b.Partner.test", "maybe.test", "staff.test"} {
		f(c, "421", misdirected, ":path", "/", ":authority", h)
		f(c, "421", misdirected, ":path", "/", "host", h)
		f(c, "421", misdirected, ":path", "/", ":authority", h, "host", h)
		f(c, "400", "", ":path", "/", ":authority", "open.test", "host", h)
		f(c, "400", "", ":path", "/", ":authority", h, "host", "open.test")
		f(c, "400", "", ":path", "https://"+h+"/", ":authority", "open.test")
		f(c, "200", "open", ":path", "/", ":authority", "open.test")
	}
	if n := g.reached.Load(); n != 0 {
		t.Errorf("%d requests have reached the service", n)
	}
	id = 0xffffffff
	c = open("partner.test", g.partner)
	f(c, "200", "guarded", ":path", "/", ":authority", "partner.test")
	f(c, "421", misdirected, ":path", "/", ":authority", "open.test")
	f(c, "421", misdirected, ":path", "/", ":authority", "staff.test")
	f(c, "200", "guarded", ":path", "/", ":authority", "a.partner.test:443")
}

// TestMisdirectedReload: a connection that was made when there was no rule has proven nothing by one that there is now.
func TestMisdirectedReload(t *testing.T) {
	ca, _ := issue(t, nil, nil, "authority")
	file := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	const before = `
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: self-signed } }
routes: { all: { match: "/**", respond: { text: served } } }
`
	after := strings.Replace(before, "certificates: self-signed", "certificates: self-signed, client_certs: { names: partner.test, ca: "+file+" }", 1)
	gw := proxytest.Start(t, before)
	attempt := func(host string) (status int) {
		t.Helper()
		gw.Reload(before)
		c := tls.Client(gw.Dial(), secured)
		in := bufio.NewReader(c)
		if res, _ := exchange(t, c, in, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); res.StatusCode != 200 {
			t.Fatalf("before the reload %s gets %d", host, res.StatusCode)
		}
		// A request that has begun is still served on the connection; the rules are those of now.
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHo"); err != nil {
			t.Fatal(err)
		}
		gw.Reload(after)
		if _, err := io.WriteString(c, "st: "+host+"\r\n\r\n"); err != nil {
			return 0
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return 0 // the gateway had not seen the beginning yet, and has ended a connection that seemed to be idle
		}
		res.Body.Close()
		return res.StatusCode
	}
	f := func(host string, want int) {
		t.Helper()
		status := 0
		for end := time.Now().Add(patience); status == 0 && time.Now().Before(end); {
			status = attempt(host)
		}
		if status != want {
			t.Errorf("after the reload %s gets %d, want %d", host, status, want)
		}
	}
	f("open.test", 200)
	f("partner.test", 421)
}
