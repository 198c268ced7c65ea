package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// TestOCSP: clients of the program get what the responder says, also from a program that has just started and asks nobody.
func TestOCSP(t *testing.T) {
	t.Parallel() // it waits most of the time
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certify := func(template, parent *x509.Certificate) *x509.Certificate { // all of them with one key: it is not what is tested
		template.NotBefore, template.NotAfter, template.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), true
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var answer []byte
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(answer) // the test notices
	}))
	defer responder.Close()
	ca := certify(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	leaf := certify(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"shop.test"}, OCSPServer: []string{responder.URL}}, ca)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	answer, err = ocsp.CreateResponse(ca, ca, ocsp.Response{
		Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: until,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var text strings.Builder
	for _, block := range []pem.Block{{Type: "CERTIFICATE", Bytes: leaf.Raw}, {Type: "CERTIFICATE", Bytes: ca.Raw}, {Type: "PRIVATE KEY", Bytes: private}} {
		text.Write(pem.EncodeToMemory(&block))
	}
	writeFile(t, filepath.Join(dir, "pair.pem"), text.String())
	config := func(switched string) string {
		return writeFile(t, filepath.Join(dir, "sluice.yaml"), `version: 1
admin: { address: "127.0.0.1:0" }
state: state
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: { cert: pair.pem }, ocsp: "`+switched+`" } }
routes: { all: { match: "/**", respond: { text: "hello\n" } } }
`)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(ca)
	stapled := func(p *process) string {
		c, err := tls.Dial("tcp", p.address("web"), &tls.Config{RootCAs: trusted, ServerName: "shop.test"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.OCSPResponse())
	}
	p := launch(t, "run", "-c", config("on"))
	eventually(t, "the answer is stapled", func() bool { return stapled(p) == string(answer) })
	_, page := get("http://" + p.address("admin") + "/metrics")
	for _, line := range []string{
		`sluice_tls_ocsp_answers_total{result="good"} 1`,
		`sluice_tls_ocsp_expiry_timestamp_seconds{tls="edge",names="shop.test",serial="2"} ` + strconv.FormatFloat(float64(until.Unix()), 'g', -1, 64),
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	p.signal(syscall.SIGINT)
	p.exit()
	responder.Close()
	p = launch(t, "run", "-c", config("on"))
	if stapled(p) != string(answer) {
		t.Error("after a start there is no answer")
	}
	p.signal(syscall.SIGINT)
	p.exit()
	if stapled(launch(t, "run", "-c", config("off"))) != "" {
		t.Error("ocsp: off, and there is an answer")
	}
}
