package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

func TestPresets(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	certificates := []Source{
		put(t, dir, "rsa", a.issue(t, order{names: "both.test", key: "rsa", usage: x509.ExtKeyUsageServerAuth})),
		put(t, dir, "ecdsa", a.server(t, "both.test")),
	}
	f := func(o Options, client *tls.Config, want uint16) {
		t.Helper()
		o.Certificates = certificates
		client.MinVersion = min(client.MaxVersion, tls.VersionTLS12) // whose default would refuse older ones
		s := shake(openAt(t, c, o).Config(), trusting(a, c, "both.test", client))
		if got := s.client.Version; s.err() == nil && got != want || (s.err() == nil) != (want != 0) {
			t.Errorf("version %s, want %s (%v)", tls.VersionName(got), tls.VersionName(want), s.err())
		}
	}
	only := func(suites ...uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}

	// Versions.
	f(Options{}, &tls.Config{}, tls.VersionTLS13)
	f(Options{}, &tls.Config{MaxVersion: tls.VersionTLS12}, tls.VersionTLS12)
	f(Options{}, &tls.Config{MaxVersion: tls.VersionTLS11}, 0)
	f(Options{}, &tls.Config{MaxVersion: tls.VersionTLS10}, 0)
	f(Options{Preset: Modern}, &tls.Config{}, tls.VersionTLS13)
	f(Options{Preset: Modern}, &tls.Config{MaxVersion: tls.VersionTLS12}, 0)
	f(Options{MinVersion: tls.VersionTLS13}, &tls.Config{MaxVersion: tls.VersionTLS12}, 0)
	f(Options{MinVersion: tls.VersionTLS12}, &tls.Config{MaxVersion: tls.VersionTLS12}, tls.VersionTLS12)

	// Suites of TLS 1.2: every one of the list, and none that is not.
	for _, id := range suites {
		f(Options{}, only(id), tls.VersionTLS12)
	}
	f(Options{}, only(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), 0)
	f(Options{}, only(tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA), 0)
	f(Options{}, only(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), 0)
	f(Options{}, only(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), 0)

	// Key exchanges.
	f(Options{}, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, tls.VersionTLS13)
	f(Options{}, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, tls.VersionTLS13)
	f(Options{}, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, 0)
	s := shake(openAt(t, c, Options{Certificates: certificates}).Config(), trusting(a, c, "both.test", nil))
	if s.server.CurveID != tls.X25519MLKEM768 {
		t.Errorf("two that can both do X25519MLKEM768 use %v", s.server.CurveID)
	}
}

func TestALPN(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	from := put(t, dir, "1", a.server(t, "a.test"))
	f := func(server, client []string, want string, ok bool) {
		t.Helper()
		term := openAt(t, c, Options{Certificates: []Source{from}, ALPN: server})
		s := shake(term.Config(), trusting(a, c, "a.test", &tls.Config{NextProtos: client}))
		if got := s.server.NegotiatedProtocol; (s.err() == nil) != ok || got != want {
			t.Errorf("%v and %v: %q, want %q (%v)", server, client, got, want, s.err())
		}
	}
	both := []string{"h2", "http/1.1"}
	f(both, []string{"http/1.1", "h2"}, "h2", true)
	f(both, []string{"http/1.1"}, "http/1.1", true)
	f(both, nil, "", true)
	f(both, []string{"acme-tls/1"}, "", false)
	f([]string{"http/1.1"}, []string{"h2", "http/1.1"}, "http/1.1", true)
	f(nil, []string{"h2"}, "", true)
}
