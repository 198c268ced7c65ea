package proxytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy/auth/jwt/jwttest"
)

// boundGateway has routes for tokens that are bound to a key.
func boundGateway(t *testing.T, issuer *jwttest.Issuer) *Gateway {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, issuer.Set(), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := Canned(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	return Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", trust: [127.0.0.2] } }
services: { origin: { to: ["http://%s"] } }
policies:
  bound: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %[2]q, dpop: required, strip: true } }
  scoped: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %[2]q, require: { scope: orders.read }, dpop: required } }
  fresh: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %[2]q, dpop: { nonce: true } } }
routes:
  a: { match: "/a/**", use: [bound], rewrite: { strip: /a, host: inside.example }, to: origin }
  several: { match: "/several", use: [scoped, bound], to: origin }
  fresh: { match: "/fresh", use: [fresh], to: origin }
`, origin, keys))
}

// proven sends a request of a host with a token and a proof, and returns the answer's status and head.
func (g *Gateway) proven(from, target, token, proof, more string) (status string, head string) {
	c := g.DialFrom(from)
	defer c.Close()
	c.Send("GET " + target + " HTTP/1.1\r\nHost: shop.example\r\nAuthorization: DPoP " + token + "\r\nDPoP: " + proof + "\r\n" + more + "Connection: close\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || len(answer) < 12 {
		g.t.Fatalf("the answer is %q, %v", answer, err)
	}
	head, _, _ = strings.Cut(string(answer), "\r\n\r\n")
	return head[9:12], head
}

// TestDPoP asks as clients do, and as those who have heard them: over the URL that the client sees, whatever stands between.
func TestDPoP(t *testing.T) {
	t.Parallel()
	issuer := jwttest.New()
	issuer.URL = "https://id.example"
	gw := boundGateway(t, issuer)
	holder := jwttest.NewHolder()
	token := issuer.Token("cnf", holder.Confirmation())
	f := func(from, target, proof, more, want string) string {
		t.Helper()
		status, head := gw.proven(from, target, token, proof, more)
		if status != want {
			t.Errorf("%s from %s: got %s, want %s", target, from, status, want)
		}
		return head
	}
	proof := func(url string, changes ...any) string { return holder.Proof("GET", url, token, changes...) }
	const direct, balancer = "127.0.0.1", "127.0.0.2"
	f(direct, "/a/b?c=d", proof("http://shop.example/a/b"), "", "200")
	f(direct, "/a/./b", proof("http://SHOP.example:80/a/b?x"), "", "200")
	f(direct, "/a/b", proof("http://shop.example/b"), "", "401") // what the service sees
	f(direct, "/a/b", proof("http://inside.example/b"), "", "401")
	f(direct, "/a/b", proof("https://shop.example/a/b"), "", "401")
	f(direct, "/a/b", proof("https://shop.example/a/b"), "X-Forwarded-Proto: https\r\n", "401") // which anybody can say
	f(balancer, "/a/b", proof("https://shop.example/a/b"), "X-Forwarded-Proto: https\r\n", "200")
	f(balancer, "/a/b", proof("http://shop.example/a/b"), "X-Forwarded-Proto: https\r\n", "401")
	f(balancer, "/a/b", proof("https://other.example/a/b"), "X-Forwarded-Proto: https\r\nX-Forwarded-Host: other.example\r\n", "401")

	once := proof("http://shop.example/several")
	f(direct, "/several", once, "", "200") // two policies, one proof
	f(direct, "/several", once, "", "401")
	f(direct, "/several", once, "DPoP: "+proof("http://shop.example/several")+"\r\n", "401")

	head := f(direct, "/fresh", proof("http://shop.example/fresh"), "", "401")
	_, rest, _ := strings.Cut(head, "\r\nDPoP-Nonce: ")
	nonce, _, _ := strings.Cut(rest, "\r\n")
	if !strings.Contains(head, `error="use_dpop_nonce"`) || !strings.Contains(head, "\r\nCache-Control: no-store\r\n") || nonce == "" {
		t.Fatalf("got %s", head)
	}
	if head := f(direct, "/fresh", proof("http://shop.example/fresh", "nonce", nonce), "", "200"); strings.Contains(head, "DPoP-Nonce") {
		t.Errorf("got %s", head)
	}
	f(direct, "/fresh", proof("http://shop.example/fresh", "nonce", nonce[:20]), "", "401")

	// Of many who bring one proof at the same time, one gets in.
	raced := proof("http://shop.example/a/raced")
	var in atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if status, _ := gw.proven(direct, "/a/raced", token, raced, ""); status == "200" {
				in.Add(1)
			}
		})
	}
	group.Wait()
	if in.Load() != 1 {
		t.Errorf("%d requests got in with one proof", in.Load())
	}
	proofs := gw.Runtime.Proofs().Proofs
	if proofs == 0 {
		t.Error("no proof is remembered")
	}
	for _, p := range gw.Runtime.TokenPolicies() {
		if !p.DPoP || p.Proofs.Accepted == 0 || p.Name == "scoped" && p.Proofs.Replayed != 1 {
			t.Errorf("counted %+v", p)
		}
	}
}

// TestDPoPVersions proves a key over every version of HTTP, with TLS: the URL is that which the client has.
func TestDPoPVersions(t *testing.T) {
	t.Parallel()
	issuer, keys := fixedIssuer(t)
	gw := Start(t, listenTLS(fmt.Sprintf(`
policies: { bound: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %q, dpop: required } } }
routes: { a: { match: "/a/**", use: [bound], respond: { status: 200 } } }
`, keys), "[h1, h2, h3]"))
	holder := jwttest.NewHolder()
	token := issuer.Token("iss", "https://id.example", "cnf", holder.Confirmation())
	h1 := &http.Transport{TLSClientConfig: clientTLS.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	h2 := &http.Transport{TLSClientConfig: clientTLS.Clone(), ForceAttemptHTTP2: true}
	defer h1.CloseIdleConnections()
	defer h2.CloseIdleConnections()
	for version, client := range map[int]http.RoundTripper{1: h1, 2: h2, 3: client3(t)} {
		url := "https://" + gw.Addr + "/a/caf%C3%A9?page=2"
		once := holder.Proof("POST", url, token)
		f := func(name, proof string, want int) {
			t.Helper()
			r, err := http.NewRequest(http.MethodPost, url, strings.NewReader("a body"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", proof)
			response, err := client.RoundTrip(r)
			if err != nil {
				t.Errorf("%s over %d: %v", name, version, err)
				return
			}
			_ = response.Body.Close()
			if response.StatusCode != want || response.ProtoMajor != version {
				t.Errorf("%s over %s: %d, want %d", name, response.Proto, response.StatusCode, want)
			}
		}
		f("a good proof", once, 200)
		f("a second time", once, 401)
		f("another method", holder.Proof("GET", url, token), 401)
		f("another scheme", holder.Proof("POST", strings.Replace(url, "https:", "http:", 1), token), 401)
		f("another path", holder.Proof("POST", "https://"+gw.Addr+"/a/cafe", token), 401)
		f("no port", holder.Proof("POST", "https://127.0.0.1/a/caf%C3%A9", token), 401)
	}
}

// TestDPoPReload tries that a proof which was used is used, whatever the policies become.
func TestDPoPReload(t *testing.T) {
	t.Parallel()
	issuer := jwttest.New()
	issuer.URL = "https://id.example"
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, issuer.Set(), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := func(more string) string {
		return fmt.Sprintf(`
policies: { bound: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %q, dpop: { nonce: true%s } } }
routes: { a: { match: /a, use: [bound], respond: { status: 200 } } }
`, keys, more)
	}
	gw := Start(t, yaml(" }"))
	holder := jwttest.NewHolder()
	token := issuer.Token("cnf", holder.Confirmation())
	ask := func(nonce, proof string) (string, string) {
		if proof == "" {
			proof = holder.Proof("GET", "http://shop.example/a", token, "nonce", nonce)
		}
		status, head := gw.proven("127.0.0.1", "/a", token, proof, "")
		_, rest, _ := strings.Cut(head, "\r\nDPoP-Nonce: ")
		nonce, _, _ = strings.Cut(rest, "\r\n")
		return status, nonce
	}
	_, nonce := ask("", "")
	used := holder.Proof("GET", "http://shop.example/a", token, "nonce", nonce)
	if status, _ := ask("", used); status != "200" {
		t.Fatalf("got %s", status)
	}
	for _, more := range []string{
		" }, require: { scope: orders.read }", ", remember: 2000000 }", ", remember: 1000 }", ", window: 10m }", " }, leeway: 20s", ", window: 30s, remember: 5000 }",
	} {
		gw.Reload(yaml(more))
		if status, _ := ask(nonce, ""); status != "200" {
			t.Errorf("the nonce, after a reload with %q: %s", more, status)
		}
		if status, _ := ask("", used); status != "401" {
			t.Errorf("the proof, after a reload with %q: %s", more, status)
		}
	}
}

// TestBoundToCertificate uses tokens that are bound to certificates (RFC 8705) over connections with and without them. A certificate that its
// owner has signed counts like any other, where the listener is told of it.
func TestBoundToCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	issuer := jwttest.New()
	issuer.URL = "https://id.example"
	known, other, stranger := selfSigned(t, "known"), selfSigned(t, "other"), selfSigned(t, "stranger")
	listed := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: known.Leaf.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Leaf.Raw})...)
	gw := Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h2] } }
tls: { edge: { certificates: self-signed, client_certs: { ca: %q, mode: request } } }
policies: { signed-in: { jwt: { issuer: https://id.example, audience: shop-api, jwks: %q } } }
routes: { a: { match: /a, use: [signed-in], respond: { status: 200 } } }
`, write("clients.pem", listed), write("keys.json", issuer.Set())))
	sum := sha256.Sum256(known.Leaf.Raw)
	bound := issuer.Token("cnf", map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])})
	f := func(name, token string, certificate *tls.Certificate, want int) {
		t.Helper()
		for _, h2 := range []bool{false, true} {
			config := &tls.Config{InsecureSkipVerify: true}
			if certificate != nil {
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2}}
			defer client.CloseIdleConnections()
			request, err := http.NewRequest(http.MethodGet, "https://"+gw.Addr+"/a", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			for range 2 {
				response, err := client.Do(request)
				if err != nil {
					if want != 0 {
						t.Errorf("%s: %v", name, err)
					}
					continue
				}
				_ = response.Body.Close()
				if response.StatusCode != want || h2 != (response.ProtoMajor == 2) {
					t.Errorf("%s, %s: got %d, want %d", name, response.Proto, response.StatusCode, want)
				}
			}
		}
	}
	f("its certificate", bound, &known, 200)
	f("another certificate", bound, &other, 401)
	f("no certificate", bound, nil, 401)
	f("bound to nothing", issuer.Token(), nil, 200)
	f("a certificate that nobody has listed", bound, &stranger, 0) // the handshake fails
}

func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// fixedIssuer returns an issuer, called https://id.example by whoever makes tokens so, and the file that its keys are in.
func fixedIssuer(t *testing.T) (*jwttest.Issuer, string) {
	t.Helper()
	issuer := jwttest.New()
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, issuer.Set(), 0o600); err != nil {
		t.Fatal(err)
	}
	return issuer, keys
}
