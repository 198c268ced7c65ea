package tlsterm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// clock stands still until a test moves it.
type clock struct{ at atomic.Int64 }

func newClock(at time.Time) *clock {
	c := &clock{}
	c.at.Store(at.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// epoch is when most tests take place, in the middle of a rotation period of 12 hours.
var epoch = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

var serials atomic.Int64

// authority issues certificates that are valid a year around epoch.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issued is a certificate in all forms that tests want.
type issued struct {
	cert        *x509.Certificate
	key         crypto.Signer
	certs, keys string // PEM
}

func (i issued) both() string { return i.certs + i.keys }

func (i issued) client() *tls.Config {
	c := tls.Certificate{PrivateKey: i.key}
	for block, rest := pem.Decode([]byte(i.certs)); block != nil; block, rest = pem.Decode(rest) {
		c.Certificate = append(c.Certificate, block.Bytes)
	}
	// The certificate is sent whatever the server asks for, as a client would that means harm.
	return &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }}
}

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "", "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p224":
		key, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "rsa":
		key, err = rsaKey()
	case "rsa1024":
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	default:
		t.Fatalf("no such key: %s", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rsaKey is made once: it takes long.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// order is what a test wants to have issued.
type order struct {
	names    string // separated by spaces
	key      string
	from, to time.Time // zero: half a year before and after epoch
	cn       string
	ca       bool
	usage    x509.ExtKeyUsage
}

func (a *authority) issue(t testing.TB, o order) issued {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1) + 1000), Subject: pkix.Name{CommonName: o.cn},
		NotBefore: epoch.AddDate(0, -6, 0), NotAfter: epoch.AddDate(0, 6, 0),
		BasicConstraintsValid: true, IsCA: o.ca, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{o.usage},
	}
	if o.usage == x509.ExtKeyUsageAny {
		template.ExtKeyUsage = nil
	}
	if o.ca {
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if !o.from.IsZero() {
		template.NotBefore = o.from
	}
	if !o.to.IsZero() {
		template.NotAfter = o.to
	}
	for name := range strings.FieldsSeq(o.names) {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(t, o.key)
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{cert, key, block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)}
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	self := (*authority)(nil).issue(t, order{cn: name, ca: true, usage: x509.ExtKeyUsageAny})
	return &authority{self.cert, self.key}
}

// under is an authority that a has issued.
func (a *authority) under(t testing.TB, name string) *authority {
	t.Helper()
	self := a.issue(t, order{cn: name, ca: true, usage: x509.ExtKeyUsageAny})
	return &authority{self.cert, self.key}
}

func (a *authority) pem() string { return block("CERTIFICATE", a.cert.Raw) }

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server and client issue the two usual kinds.
func (a *authority) server(t testing.TB, names string) issued {
	t.Helper()
	return a.issue(t, order{names: names, usage: x509.ExtKeyUsageServerAuth})
}

func (a *authority) client(t testing.TB, name string) issued {
	t.Helper()
	return a.issue(t, order{cn: name, usage: x509.ExtKeyUsageClientAuth})
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// write replaces a file by a rename, as careful tools do, and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// logs collects what is logged while a test runs.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns the lines since the last call.
func (l *logs) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSpace(l.buf.String())
	l.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func logging(t *testing.T) *logs {
	t.Helper()
	l, before := &logs{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return l
}

// expect compares lines with parts of them, separated by " & ", line by line.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, parts := range want {
		for part := range strings.SplitSeq(parts, " & ") {
			if !strings.Contains(got[i], part) {
				t.Fatalf("%q lacks %q", got[i], part)
			}
		}
	}
}
