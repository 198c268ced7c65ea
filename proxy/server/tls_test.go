package server_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/proxytest"
	"sluice/proxy/server"
	"sluice/tlsterm"
)

// secured is what a client that trusts everybody speaks: what is tested is the gateway, not its certificate.
var secured = &tls.Config{InsecureSkipVerify: true, ServerName: "shop.localhost"}

const securedGateway = `
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: self-signed, hsts: { max_age: 365d, subdomains: true } } }
`

// exchange sends a request and returns the response, whose body is read and closed.
func exchange(t *testing.T, c net.Conn, in *bufio.Reader, request string) (*http.Response, string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestTLS serves requests of every shape over one connection.
func TestTLS(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, large)
		default:
			fmt.Fprintf(w, "%s %s %s %d", r.Method, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Forwarded"), len(body))
		}
	})
	gw := proxytest.Start(t, fmt.Sprintf(securedGateway+`
services: { origin: { to: ["http://%s"] } }
routes:
  all: { match: "/**", to: origin }
  own: { match: /own, respond: { text: own } }
`, origin))
	c, err := tls.Dial("tcp", gw.Addr, secured)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := c.ConnectionState(); s.Version != tls.VersionTLS13 || s.NegotiatedProtocol != "" && s.NegotiatedProtocol != "http/1.1" {
		t.Errorf("version %x, protocol %q", s.Version, s.NegotiatedProtocol)
	}
	in := bufio.NewReader(c)
	f := func(request, want string) {
		t.Helper()
		res, body := exchange(t, c, in, request)
		if res.StatusCode != 200 || body != want {
			t.Fatalf("%.30q: got %d %.100q, want %.100q", request, res.StatusCode, body, want)
		}
		if got := res.Header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains" {
			t.Errorf("%.30q: Strict-Transport-Security is %q", request, got)
		}
	}
	const host = " HTTP/1.1\r\nHost: shop.localhost\r\n"
	seen := `https for=127.0.0.1;host=shop.localhost;proto=https `
	f("GET /a"+host+"\r\n", "GET "+seen+"0")
	f("GET /own"+host+"\r\n", "own")
	f("POST /a"+host+"Content-Length: 5\r\n\r\nhello", "POST "+seen+"5")
	f("POST /a"+host+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST "+seen+"5")
	f("POST /a"+host+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large), fmt.Sprintf("POST %s%d", seen, len(large)))
	f("GET /large"+host+"\r\n", large)
	f("GET /a"+host+"\r\n", "GET "+seen+"0")
}

// TestTLSHTTP2: the handshake chooses HTTP/2 where both speak it, and the stream is of https.
func TestTLSHTTP2(t *testing.T) {
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %s %d %v", r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Via"), n, err)
	})
	f := func(spoken string, offered []string, want string) {
		t.Helper()
		gw := proxytest.Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge, http: %s } }
tls: { edge: { certificates: self-signed, hsts: 1h } }
services: { origin: { to: ["http://%s"] } }
routes: { all: { match: "/**", to: origin } }
`, spoken, origin))
		config := secured.Clone()
		config.NextProtos = offered
		tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: len(offered) > 1 || offered[0] == "h2"}
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr, Timeout: patience}
		for range 3 {
			res, err := client.Post("https://"+gw.Addr+"/", "text/plain", strings.NewReader(strings.Repeat("x", 100000)))
			if err != nil {
				t.Fatalf("%s, %s: %v", spoken, offered, err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.Proto+" "+string(body) != want || res.Header.Get("Strict-Transport-Security") != "max-age=3600" {
				t.Errorf("%s, %s: got %s %s, %v, %v", spoken, offered, res.Proto, body, err, res.Header)
			}
		}
	}
	f("[h1, h2]", []string{"h2", "http/1.1"}, "HTTP/2.0 https 2.0 sluice 100000 <nil>")
	f("h2", []string{"h2", "http/1.1"}, "HTTP/2.0 https 2.0 sluice 100000 <nil>")
	f("[h1, h2]", []string{"http/1.1"}, "HTTP/1.1 https 1.1 sluice 100000 <nil>")
	f("h1", []string{"h2", "http/1.1"}, "HTTP/1.1 https 1.1 sluice 100000 <nil>")
}

// TestClientCertificates: a certificate is verified by the listener, told to the origin, and wanted by a policy; over HTTP/2, too.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := issue(t, nil, nil, "authority")
	other, otherKey := issue(t, nil, nil, "another authority")
	caFile := dir + "/ca.pem"
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	partner, partnerKey := issue(t, ca, caKey, "app.partner.example")
	stranger, strangerKey := issue(t, ca, caKey, "app.stranger.example")
	forged, forgedKey := issue(t, other, otherKey, "app.partner.example")
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s%v%v", strings.Join(r.Header["Client-Cert"], " and "), r.Header["Client-Cert-Chain"], r.Header["Client_cert"])
	})
	gw := proxytest.Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h2] } }
tls: { edge: { certificates: self-signed, client_certs: { ca: %s, mode: request } } }
services: { origin: { to: ["http://%s"] } }
routes:
  open: { match: /open, to: origin }
  partners: { match: /partners, to: origin, use: [ { client_cert: { san: ["*.partner.example"] } } ] }
`, caFile, origin))
	f := func(path string, cert *x509.Certificate, key crypto.Signer, status int, want string) {
		t.Helper()
		for _, h2 := range []bool{false, true} {
			config := secured.Clone()
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			if cert != nil {
				// Shown whatever the gateway asks for.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
				}
			}
			for range 2 { // the second time the session is resumed
				tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2}
				req, err := http.NewRequest("GET", "https://"+gw.Addr+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Client-Cert", ":Zm9yZ2Vk:")
				req.Header.Set("Client-Cert-Chain", ":Zm9yZ2Vk:")
				res, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
				if status == 0 {
					if err == nil {
						t.Errorf("%s: a certificate of another authority is accepted: %s", path, res.Status)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				tr.CloseIdleConnections()
				if err != nil || res.StatusCode != status || !strings.Contains(string(body), want) || strings.Contains(string(body), "Zm9yZ2Vk") {
					t.Errorf("%s, HTTP/2 %t: got %d %s, %v, want %d %s", path, h2, res.StatusCode, body, err, status, want)
				}
			}
		}
	}
	field := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":[][]" }
	f("/open", nil, nil, 200, "[][]")
	f("/open", partner, partnerKey, 200, field(partner))
	f("/partners", partner, partnerKey, 200, field(partner))
	f("/partners", stranger, strangerKey, 403, "client_certificate_refused")
	f("/partners", nil, nil, 403, "client_certificate_required")
	f("/open", forged, forgedKey, 0, "")
}

// issue makes a certificate for a name, signed by ca or, without one, by itself.
func issue(t *testing.T, ca *x509.Certificate, caKey crypto.Signer, name string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// TestTLSLogged: the access log tells what a client has asked for with TLS and what it is, over either version of HTTP.
func TestTLSLogged(t *testing.T) {
	log := t.TempDir() + "/access.log"
	gw := proxytest.Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: self-signed, http: [h1, h2] } }
log: { access: { to: %q, format: "$proto $sni $tls_fingerprint" } }
routes: { own: { match: /, respond: { text: own } } }
`, log))
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: secured.Clone(), ForceAttemptHTTP2: h2}
		res, err := (&http.Client{Transport: tr, Timeout: patience}).Get("https://" + gw.Addr)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		tr.CloseIdleConnections()
	}
	gw.Stop()
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(got), "\n")+"\n", "\n")
	slices.Sort(lines) // a client has its answer before the line is written
	got = []byte(strings.Join(lines, ""))
	want := regexp.MustCompile(`^HTTP/1\.1 shop\.localhost t13d\d{4}00_([0-9a-f]{12})_[0-9a-f]{12}\nHTTP/2\.0 shop\.localhost t13d\d{4}h2_([0-9a-f]{12})_[0-9a-f]{12}\n$`)
	if m := want.FindSubmatch(got); m == nil || string(m[1]) != string(m[2]) {
		t.Errorf("the log says\n%s", got)
	}
}

// TestTLSPipelined: two requests that come in one record are two.
func TestTLSPipelined(t *testing.T) {
	gw := proxytest.Start(t, securedGateway+`
routes: { own: { match: "/{n}", respond: { text: own } } }
`)
	c, err := tls.Dial("tcp", gw.Addr, secured)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	const one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
	exchange(t, c, in, one+one)
	exchange(t, c, in, "")
}

// TestTLSRefused: what is not TLS, or wants what is not spoken, ends, is counted, and holds no place.
func TestTLSRefused(t *testing.T) {
	const rest = `
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: self-signed, preset: modern } }
routes: { own: { match: /, respond: { text: own } } }
`
	gw := proxytest.Start(t, "limits: { handshake_timeout: 100ms, handshakes: 3 }"+rest)
	ends := func(what string, c net.Conn) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") || strings.Contains(string(b), "own") {
			t.Errorf("%s: got %q, %v", what, b, err)
		}
	}
	dial := func(first string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", gw.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ends("plain HTTP", dial("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	old := secured.Clone()
	old.MaxVersion = tls.VersionTLS12
	if c, err := tls.Dial("tcp", gw.Addr, old); err == nil {
		c.Close()
		t.Error("TLS 1.2 was spoken")
	}
	ends("silence", dial(""))
	ends("half a hello", dial("\x16\x03\x01\x02\x00\x01"))
	if h := gw.Server.Handshakes(); h.Failed != 4 || h.Completed != 0 || h.UnderWay != 0 || h.Refused != 0 {
		t.Errorf("got %+v", h)
	}
	var silent []net.Conn
	for range 6 {
		silent = append(silent, dial(""))
	}
	for _, c := range silent {
		ends("one of many", c)
	}
	if h := gw.Server.Handshakes(); h.Failed != 10 || h.Refused != 0 || h.UnderWay != 0 {
		t.Errorf("silence takes a place: %+v", h)
	}
	// What counts begins with a ClientHello. It comes with its connection: to make one may take longer than is granted.
	hello := clientHello(t)
	var held []net.Conn
	for range 6 {
		held = append(held, dial(hello))
	}
	for _, c := range held {
		ends("one that goes no further", c)
	}
	if h := gw.Server.Handshakes(); h.Failed+h.Refused != 16 || h.Refused < 1 || h.UnderWay != 0 {
		t.Errorf("got %+v", h)
	}
	gw.Reload("limits: { handshakes: 3 }" + rest) // on a busy machine it may take longer than was granted
	c, err := tls.Dial("tcp", gw.Addr, secured)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, body := exchange(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "own" {
		t.Errorf("got %q", body)
	}
}

// clientHello is what a client says first.
func clientHello(t *testing.T) string {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go func() { _ = tls.Client(there, secured).Handshake() }() // it gets no answer
	b := make([]byte, 16<<10)
	n, err := here.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// mute is a connection whose client does not hear.
type mute struct{ net.Conn }

func (m mute) Read([]byte) (int, error) { select {} }

// TestTLSHandshakeShare: a limit for all, and a share for each.
func TestTLSHandshakeShare(t *testing.T) {
	gw := proxytest.Start(t, `
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: self-signed } }
limits: { handshakes: 16 }
routes: { own: { match: /, respond: { text: own } } }
`)
	for range 6 {
		c := gw.DialFrom("127.0.0.2")
		go func() { _ = tls.Client(mute{c}, secured).Handshake() }()
	}
	for end := time.Now().Add(patience); gw.Server.Handshakes().Refused < 4; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %+v", gw.Server.Handshakes())
		}
	}
	if h := gw.Server.Handshakes(); h.UnderWay != 2 || h.Refused != 4 {
		t.Errorf("got %+v, want a client to have an eighth", h)
	}
	c := tls.Client(gw.Dial(), secured)
	if _, body := exchange(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "own" {
		t.Errorf("somebody else got %q", body)
	}
}

// TestTLSHandshakesCrowded: clients that take all places with handshakes that they do not go on with shut nobody out.
func TestTLSHandshakesCrowded(t *testing.T) {
	gw := proxytest.Start(t, `
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: self-signed } }
limits: { handshakes: 16, handshake_timeout: 60s }
routes: { own: { match: /, respond: { text: own } } }
`)
	for i := range 16 {
		c := gw.DialFrom(fmt.Sprintf("127.0.0.%d", 10+i/2))
		go func() { _ = tls.Client(mute{c}, secured).Handshake() }()
	}
	for end := time.Now().Add(patience); gw.Server.Handshakes().UnderWay < 16; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %+v", gw.Server.Handshakes())
		}
	}
	for range 3 {
		c := tls.Client(gw.Dial(), secured)
		if _, body := exchange(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "own" {
			t.Errorf("somebody else got %q", body)
		}
	}
	if h := gw.Server.Handshakes(); h.Completed != 3 || h.Refused == 0 || h.Failed != 0 {
		t.Errorf("got %+v", h)
	}
}

// TestTLSHandshakesBeforeECH: a handshake that is one too many is refused before a key is tried on it, which costs as much as one.
func TestTLSHandshakesBeforeECH(t *testing.T) {
	gw := proxytest.Start(t, `
limits: { handshakes: 8 }
routes: { own: { match: /, respond: { text: own } } }
`)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := issue(t, nil, nil, "cdn.test")
	var asked atomic.Int64
	config := &tls.Config{Certificates: []tls.Certificate{pairOf(cert, key)}}
	config.GetEncryptedClientHelloKeys = func(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
		asked.Add(1)
		return []tls.EncryptedClientHelloKey{}, nil
	}
	gw.Server.Listen("ech", nl, proxy.Listening{TLS: config})
	made, err := tlsterm.NewECHKey("cdn.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := &tls.Config{ServerName: "shop.test", EncryptedClientHelloConfigList: made.List()}
	begin := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", nl.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() { _ = tls.Client(mute{c}, encrypted).Handshake() }() // it does not end
		return c
	}
	await := func(what string, is func(h server.Handshakes) bool) {
		t.Helper()
		for end := time.Now().Add(patience); !is(gw.Server.Handshakes()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: got %+v", what, gw.Server.Handshakes())
			}
		}
	}
	begin()
	await("one that goes no further", func(h server.Handshakes) bool { return h.UnderWay == 1 && asked.Load() == 2 }) // with its hello and for the answer
	for range 3 {
		begin()
	}
	await("three more of the same client", func(h server.Handshakes) bool { return h.Refused == 3 })
	if n := asked.Load(); n != 2 {
		t.Errorf("keys were asked for %d times, want 2", n)
	}
}

// TestSetEndsConnections: what was made without TLS does not go on where it is wanted now; a reload that changes nothing ends nothing.
func TestSetEndsConnections(t *testing.T) {
	const routes = "routes: { own: { match: /, respond: { text: own } } }\n"
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	gw := proxytest.Start(t, routes)
	idle, busy := gw.Dial(), gw.Dial()
	exchange(t, idle, idle.R, request)
	gw.Reload(routes)
	exchange(t, idle, idle.R, request)
	if _, err := io.WriteString(busy, request[:10]); err != nil { // a request is on its way
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	gw.Reload(securedGateway + routes)
	if b, err := io.ReadAll(idle.R); len(b) > 0 || err != nil {
		t.Errorf("an idle connection got %q, %v", b, err)
	}
	if res, body := exchange(t, busy, busy.R, request[10:]); body != "own" || !res.Close {
		t.Errorf("got %q, close %t", body, res.Close)
	}
	c := tls.Client(gw.Dial(), secured)
	exchange(t, c, bufio.NewReader(c), request)
}

// TestDrainSilent: a connection that comes late and says nothing does not hold a drain.
func TestDrainSilent(t *testing.T) {
	t.Parallel() // it waits most of the time
	gw := proxytest.Start(t, securedGateway+"routes: { own: { match: /, respond: { text: own } } }\n")
	c := gw.Dial() // no handshake as yet
	for end := time.Now().Add(patience); gw.Server.Counts().Open == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection was not accepted")
		}
	}
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- gw.Server.Shutdown(ctx)
	}()
	time.Sleep(50 * time.Millisecond)
	if err := tls.Client(c, secured).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || time.Since(began) > patience/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestTLSDrain: an idle connection ends with close_notify, a busy one after its response.
func TestTLSDrain(t *testing.T) {
	s := newStage(t, securedGateway)
	idle, err := tls.Dial("tcp", s.Addr, secured)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	busy, err := tls.Dial("tcp", s.Addr, secured)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	exchange(t, idle, bufio.NewReader(idle), "GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
	<-s.began
	if _, err := io.WriteString(busy, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-s.began
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- s.Server.Shutdown(ctx)
	}()
	_ = idle.SetDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(idle); len(b) > 0 || err != nil {
		t.Errorf("the idle connection got %q, %v", b, err)
	}
	s.goOn <- struct{}{}
	res, body := exchange(t, busy, bufio.NewReader(busy), "")
	if body != "held" || !res.Close {
		t.Errorf("got %q, close %t", body, res.Close)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestProxied: who comes from a balancer's network is whom its header names; others are who they are.
func TestProxied(t *testing.T) {
	t.Parallel() // it waits most of the time
	gw := proxytest.Start(t, `
listen: { web: { address: "127.0.0.1:0", proxy_protocol: { from: [127.0.0.2] }, trust: [127.0.0.0/8] } }
limits: { header_timeout: 2s, per_client: 2 }
routes:
  own: { match: "/**", use: [{ headers: { response: { set: { X-Client: "$client.ip $request.scheme" } } } }], respond: { text: own } }
`)
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	from := func(ip, first string) (net.Conn, *bufio.Reader) {
		t.Helper()
		c := gw.DialFrom(ip)
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		return c, bufio.NewReader(c)
	}
	f := func(ip, first, want string) {
		t.Helper()
		c, in := from(ip, first)
		for range 2 {
			if res, _ := exchange(t, c, in, request); res.Header.Get("X-Client") != want {
				t.Fatalf("%q from %s: got %q, want %q", first, ip, res.Header.Get("X-Client"), want)
			}
		}
		c.Close()
	}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x09\x0a\x00\x00\x01\x12\x34\x01\xbb"
	withTLS := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x1e\xc0\x00\x02\x09\x0a\x00\x00\x01\x12\x34\x01\xbb" + "\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3"
	f("127.0.0.1", "", "127.0.0.1 http")
	f("127.0.0.2", "PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n", "192.0.2.9 http")
	f("127.0.0.2", "PROXY TCP6 2001:db8::9 2001:db8::1 4660 443\r\n", "2001:db8::9 http")
	f("127.0.0.2", "PROXY UNKNOWN\r\n", "127.0.0.2 http")
	f("127.0.0.2", v2, "192.0.2.9 http")
	f("127.0.0.2", withTLS, "192.0.2.9 https")

	// The header of somebody who may not send one is an ill request.
	c, in := from("127.0.0.1", "")
	if res, _ := exchange(t, c, in, "PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n"+request); res.StatusCode != 400 {
		t.Errorf("got %d", res.StatusCode)
	}
	refused := uint64(0)
	for _, first := range []string{request, "", "PROXY TCP4 192.0.2.9", "PROXY TCP4 nonsense\r\n"} {
		c, in := from("127.0.0.2", first)
		_ = c.SetDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(in); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: got %q, %v", first, b, err)
		}
		refused++
	}
	if got := gw.Server.Counts().Unproxied; got != refused {
		t.Errorf("%d connections lacked the header, want %d", got, refused)
	}

	// The limit per client is the named client's.
	const named = "PROXY TCP4 192.0.2.77 10.0.0.1 4660 443\r\n"
	for range 2 {
		c, in := from("127.0.0.2", named)
		if res, _ := exchange(t, c, in, request); res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
	}
	c, in = from("127.0.0.2", named)
	_ = c.SetDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(in); err != nil || !strings.Contains(string(b), "too_many_connections") {
		t.Errorf("one too many got %q, %v", b, err)
	}
	eventuallyOpen := time.Now().Add(patience)
	for gw.Server.Counts().Open != 2 && time.Now().Before(eventuallyOpen) {
		time.Sleep(time.Millisecond)
	}
	if got := gw.Server.Counts().Open; got != 2 {
		t.Errorf("%d connections are open, want 2", got)
	}
}

// TestChallengeEnds: the connection of an authority that verifies a host by TLS ends with its handshake (RFC 8737 section 3).
func TestChallengeEnds(t *testing.T) {
	state, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) }) // an order that fails may write there to the last
	gw := proxytest.Start(t, `
state: `+state+`
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: [self-signed, { acme: { email: ops@shop.test, directory: "https://127.0.0.1:1/", challenges: tls-alpn-01 }, hosts: [a.test] }] } }
routes: { all: { match: "/**", respond: { text: "hello" } } }
`)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	answer := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.MkdirAll(state+"/acme/challenges", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state+"/acme/challenges/tls-alpn-01.a.test", answer, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", gw.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"acme-tls/1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") // it may have ended already
	if got, err := io.ReadAll(c); len(got) > 0 || os.IsTimeout(err) {
		t.Errorf("it goes on with %q, %v", got, err)
	}
	for end := time.Now().Add(patience); gw.Server.Counts().Open > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still counted")
		}
	}
}

// TestTLSPanic: a bug that a handshake meets costs that connection, and no other.
func TestTLSPanic(t *testing.T) {
	gw := proxytest.Start(t, securedGateway+`routes: { all: { match: "/**", respond: { text: hello } } }`)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gw.Server.Listen("bug", nl, proxy.Listening{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		panic("a bug of the test")
	}}})
	before := proxy.Panics.Load()
	if c, err := tls.Dial("tcp", nl.Addr().String(), secured); err == nil {
		c.Close()
		t.Error("there was a handshake")
	}
	c, err := tls.Dial("tcp", gw.Addr, secured)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, body := exchange(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"); body != "hello" {
		t.Errorf("got %q", body)
	}
	if n := proxy.Panics.Load() - before; n != 1 {
		t.Errorf("%d panics were counted", n)
	}
	for end := time.Now().Add(patience); gw.Server.Counts().Open != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are open", gw.Server.Counts().Open)
		}
	}
	if h := gw.Server.Handshakes(); h.UnderWay != 0 || h.Failed != 1 {
		t.Errorf("%+v", h)
	}
}
