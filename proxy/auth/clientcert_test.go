package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"sluice/proxy"
)

func certificate(t *testing.T) *proxy.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"App.Partner.example", "*.wild.example"}, EmailAddresses: []string{"ops@partner.example"},
		IPAddresses: []net.IP{net.ParseIP("192.0.2.1")}, URIs: []*url.URL{{Scheme: "spiffe", Host: "partner.example", Path: "/app"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return proxy.NewCertificate(leaf)
}

func TestClientCert(t *testing.T) {
	c := certificate(t)
	if raw, err := base64.StdEncoding.DecodeString(c.Field[1 : len(c.Field)-1]); err != nil || string(raw) != string(c.Leaf.Raw) ||
		c.Field[0] != ':' || c.Field[len(c.Field)-1] != ':' {
		t.Errorf("Client-Cert is %s", c.Field)
	}
	own, other := base64.StdEncoding.EncodeToString(c.SPKI[:]), base64.StdEncoding.EncodeToString(make([]byte, 32))
	x := proxy.Acquire()
	defer x.Release()
	f := func(names, keys []string, want error) {
		t.Helper()
		g, err := NewClientCert(names, keys)
		if err != nil {
			t.Fatal(err)
		}
		x.Client.Certificate = nil
		if got := g.Check(x); got != ErrNoCertificate {
			t.Errorf("%v %v without a certificate: got %v", names, keys, got)
		}
		x.Client.Certificate = c
		if got := g.Check(x); got != want {
			t.Errorf("%v %v: got %v, want %v", names, keys, got, want)
		}
		var proven *proxy.Identity
		if want == nil {
			proven = c.Identity
		}
		if x.Identity != proven {
			t.Errorf("%v %v: the client is %v", names, keys, x.Identity)
		}
		x.Identity = nil
		if n := testing.AllocsPerRun(100, func() { _ = g.Check(x) }); n != 0 {
			t.Errorf("%v %v: %v allocations", names, keys, n)
		}
		x.Identity = nil
	}
	f(nil, nil, nil)
	for _, name := range []string{"app.partner.example", "APP.partner.EXAMPLE", "*.partner.example", "*.wild.example", "ops@partner.example",
		"192.0.2.1", "spiffe://partner.example/app"} {
		f([]string{"other.example", name}, nil, nil)
	}
	for _, name := range []string{"partner.example", "other.partner.example", "*.example", "a.wild.example", "192.0.2.10", "spiffe://partner.example",
		"spiffe://partner.example/App", "Ops@partner.example"} {
		f([]string{name}, nil, ErrCertificate)
	}
	f(nil, []string{other, own}, nil)
	f(nil, []string{other}, ErrCertificate)
	f([]string{"app.partner.example"}, []string{own}, nil)
	f([]string{"app.partner.example"}, []string{other}, ErrCertificate)
	f([]string{"other.example"}, []string{own}, ErrCertificate)

	bad := func(names, keys []string) {
		t.Helper()
		if _, err := NewClientCert(names, keys); err == nil {
			t.Errorf("%v %v are accepted", names, keys)
		}
	}
	bad([]string{""}, nil)
	bad([]string{"*."}, nil)
	bad(nil, []string{"AAAA"})
	bad(nil, []string{"not base64"})
}

// TestClientCertIdentity tries that a certificate is the client, but not in place of whom a token has proven.
func TestClientCertIdentity(t *testing.T) {
	one, other := certificate(t), certificate(t)
	if string(one.Identity.Key()) == string(other.Identity.Key()) || one.Identity.Subject() == other.Identity.Subject() {
		t.Error("two certificates are one client")
	}
	if one.Identity.Kind() != "client_cert" || len(one.Identity.Subject()) != 64 {
		t.Errorf("the client is %s %q", one.Identity.Kind(), one.Identity.Subject())
	}
	g, err := NewClientCert(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := proxy.Acquire()
	defer x.Release()
	proven := proxy.NewIdentity("jwt", "https://id.example", "7", nil)
	x.Client.Certificate, x.Identity = one, proven
	if err := g.Check(x); err != nil || x.Identity != proven {
		t.Errorf("got %v, and the client is %v", err, x.Identity)
	}
}
