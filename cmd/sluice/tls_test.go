package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// writePair is writePairFor shop.test.
func writePair(t *testing.T, file string, serial int64) *x509.Certificate {
	t.Helper()
	return writePairFor(t, file, serial, "shop.test")
}

// writePairFor writes a new certificate for a name with its key in one file, as tools do that renew one: under another name first.
func writePairFor(t *testing.T, file string, serial int64, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	writeFile(t, file+".new", string(text))
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// launchTLS starts a gateway that shows the certificate in the file and resumes sessions by the secret.
func launchTLS(t *testing.T, file, secret string) (address string) {
	t.Helper()
	config := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), `version: 1
admin: off
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: { cert: `+file+` }, session_tickets: { secret: "`+secret+`" } } }
routes: { all: { match: "/**", respond: { text: "hello\n" } } }
`)
	return launch(t, "run", "-c", config).address("web")
}

// askTLS makes a handshake and a request, and returns the serial number of the certificate and whether the session was resumed.
func askTLS(address string, config *tls.Config) (serial string, resumed bool, err error) {
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return "", false, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", false, err
	}
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"); err != nil {
		return "", false, err
	}
	answer, err := io.ReadAll(c)
	if err == nil && !strings.HasSuffix(string(answer), "hello\n") {
		err = fmt.Errorf("the answer is %.100q", answer)
	}
	s := c.ConnectionState()
	return s.PeerCertificates[0].SerialNumber.String(), s.DidResume, err
}

// TestTLSAcrossHosts: two gateways that share a secret resume each other's sessions, and one with another secret does not.
func TestTLSAcrossHosts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pair.pem")
	roots := x509.NewCertPool()
	roots.AddCert(writePair(t, file, 1))
	const secret = "0123456789abcdef0123456789abcdef"
	one, two, other := launchTLS(t, file, secret), launchTLS(t, file, secret), launchTLS(t, file, strings.ToUpper(secret))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{RootCAs: roots, ServerName: "shop.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		f := func(address string, want bool) {
			t.Helper()
			if _, resumed, err := askTLS(address, config); err != nil || resumed != want {
				t.Errorf("version %x: resumed is %t, want %t (%v)", version, resumed, want, err)
			}
		}
		f(one, false)
		f(one, true)
		f(two, true)
		f(one, true)
		f(other, false)
		f(one, false)
	}
}

// TestTLSSwap replaces the certificate again and again under load: no handshake fails, and every certificate is shown at last.
func TestTLSSwap(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pair.pem")
	roots := x509.NewCertPool()
	const swaps = 3
	var swapped []*x509.Certificate
	swapped = append(swapped, writePair(t, file, 1))
	roots.AddCert(swapped[0])
	address := launchTLS(t, file, "0123456789abcdef0123456789abcdef")
	var now atomic.Pointer[x509.CertPool] // what clients trust: each certificate is its own root
	now.Store(roots)
	var latest atomic.Int64
	var handshakes atomic.Int64
	done := make(chan struct{})
	var clients sync.WaitGroup
	var uses [4]atomic.Pointer[x509.CertPool] // what each of the clients trusts in the handshake that it makes
	for i := range uses {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				trusted := now.Load()
				uses[i].Store(trusted)
				serial, _, err := askTLS(address, &tls.Config{RootCAs: trusted, ServerName: "shop.test"})
				if err != nil {
					t.Error(err)
					return
				}
				handshakes.Add(1)
				var n int64
				fmt.Sscan(serial, &n)
				for old := latest.Load(); n > old && !latest.CompareAndSwap(old, n); old = latest.Load() {
				}
			}
		})
	}
	for n := int64(2); n <= swaps+1; n++ {
		trusted := now.Load().Clone()
		next := filepath.Join(t.TempDir(), "next.pem")
		trusted.AddCert(writePair(t, next, n))
		now.Store(trusted)
		for i := range uses { // a handshake that began before may be a slow one, and would not trust the next certificate
			eventually(t, "everybody trusts it", func() bool { return uses[i].Load() == trusted || t.Failed() })
		}
		if n == 3 {
			writeFile(t, file, "half a certificate") // is left alone
			time.Sleep(2500 * time.Millisecond)
			if latest.Load() != 2 {
				t.Errorf("certificate %d is shown", latest.Load())
			}
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("certificate %d is shown", n), func() bool { return latest.Load() == n || t.Failed() })
	}
	eventually(t, "100 handshakes", func() bool { return handshakes.Load() >= 100 || t.Failed() })
	close(done)
	clients.Wait()
	t.Logf("%d handshakes", handshakes.Load())
}

// TestTLSPlainHTTP: who speaks HTTP to a TLS port, as people do by mistake, is not left waiting.
func TestTLSPlainHTTP(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pair.pem")
	writePair(t, file, 1)
	address := launchTLS(t, file, "0123456789abcdef0123456789abcdef")
	began := time.Now()
	status, body := get("http://" + address)
	if status != 400 || !strings.Contains(body, "https://") {
		t.Errorf("got %d %s", status, body)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}
