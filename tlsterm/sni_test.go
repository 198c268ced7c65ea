package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

// TestHandshakes: the same with real clients, which verify the name.
func TestHandshakes(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	term := openAt(t, c, Options{Certificates: []Source{
		put(t, dir, "1", a.server(t, "default.test")), put(t, dir, "2", a.server(t, "*.example.com")),
		put(t, dir, "3", a.server(t, "www.example.com")),
	}})
	f := func(name string, ok bool) {
		t.Helper()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := shake(term.Config(), trusting(a, c, name, &tls.Config{MaxVersion: version}))
			if got := s.clientErr == nil; got != ok {
				t.Errorf("%s with %s: %v", name, tls.VersionName(version), s.clientErr)
			}
			if ok && s.client.Version != version {
				t.Errorf("%s: version %s, want %s", name, tls.VersionName(s.client.Version), tls.VersionName(version))
			}
		}
	}
	f("default.test", true)
	f("a.example.com", true)
	f("WWW.example.com", true)
	f("a.b.example.com", false)
	f("other.test", false)
}

// TestByAddress: a client that knows an address only sends no name.
func TestByAddress(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	term := openAt(t, c, Options{Certificates: []Source{
		put(t, dir, "1", a.server(t, "default.test")), put(t, dir, "2", a.server(t, "127.0.0.1 ::1")),
		put(t, dir, "3", a.server(t, "127.0.0.2")),
	}})
	f := func(address string, ok bool) {
		t.Helper()
		far, near, err := connect(address)
		if err != nil {
			t.Skipf("no connection to %s: %v", address, err)
		}
		s := shakeOver(far, near, term.Config(), trusting(a, c, address, nil))
		if got := s.clientErr == nil; got != ok {
			t.Errorf("%s: %v", address, s.clientErr)
		}
	}
	f("127.0.0.1", true)
	f("127.0.0.2", true)
	f("127.0.0.3", false)
	f("::1", true)
}

// TestKinds: of the certificates for one name, the first one that the client can verify.
func TestKinds(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	issue := func(names, key string) issued {
		return a.issue(t, order{names: names, key: key, usage: x509.ExtKeyUsageServerAuth})
	}
	term := openAt(t, c, Options{Certificates: []Source{
		put(t, dir, "rsa", issue("both.test *.both.test", "rsa")), put(t, dir, "ecdsa", issue("both.test *.both.test", "ecdsa")),
		put(t, dir, "ed", issue("ed.test", "ed25519")), put(t, dir, "edrsa", issue("ed.test", "rsa")),
		put(t, dir, "alone", issue("alone.test", "ecdsa")),
	}})
	rsaOnly := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	f := func(name string, like *tls.Config, want string) {
		t.Helper()
		s := shake(term.Config(), trusting(a, c, name, like))
		got := "failed"
		if s.err() == nil {
			got = algorithm(s.client.PeerCertificates[0].PublicKey)
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", name, got, want, s.err())
		}
	}
	f("both.test", nil, "ECDSA P-256")
	f("both.test", rsaOnly, "RSA 2048")
	f("x.both.test", nil, "ECDSA P-256")
	f("x.both.test", rsaOnly, "RSA 2048")
	f("ed.test", nil, "Ed25519")
	f("ed.test", rsaOnly, "RSA 2048")
	f("alone.test", nil, "ECDSA P-256")
	f("alone.test", rsaOnly, "failed")

	// The default is a choice, too, for those who ask for something else. Their name is in no certificate.
	unknown := func(like *tls.Config) *tls.Config { like.InsecureSkipVerify = true; return like }
	f("unknown.test", unknown(&tls.Config{}), "ECDSA P-256")
	f("unknown.test", unknown(&tls.Config{MaxVersion: rsaOnly.MaxVersion, CipherSuites: rsaOnly.CipherSuites}), "RSA 2048")

	// With TLS 1.3 the signature schemes decide (RFC 8446 section 4.2.3).
	g := func(want string, schemes ...tls.SignatureScheme) {
		t.Helper()
		cert, err := term.Config().GetCertificate(&tls.ClientHelloInfo{
			ServerName: "both.test", SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: schemes,
		})
		if err != nil || algorithm(cert.Leaf.PublicKey) != want {
			t.Errorf("%v: %v (%v), want %s", schemes, cert.Leaf.PublicKeyAlgorithm, err, want)
		}
	}
	g("ECDSA P-256", tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256)
	g("RSA 2048", tls.PSSWithSHA256, tls.ECDSAWithP384AndSHA384)
	g("RSA 2048", tls.PSSWithSHA256)
	g("RSA 2048", tls.Ed25519)
}
