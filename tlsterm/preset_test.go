package tlsterm

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"os/exec"
	"testing"
	"time"
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
}

// TestKeyExchange: with a client of today, what is recorded is safe from a quantum computer that breaks elliptic curves; one that
// does not know how is served as well as it can be.
func TestKeyExchange(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	from := put(t, dir, "1", a.server(t, "a.test"))
	f := func(preset Preset, client *tls.Config, want tls.CurveID) {
		t.Helper()
		s := shake(openAt(t, c, Options{Preset: preset, Certificates: []Source{from}}).Config(), trusting(a, c, "a.test", client))
		if s.err() != nil || s.server.CurveID != want || s.client.CurveID != want {
			t.Errorf("the server used %v, the client %v, want %v (%v)", s.server.CurveID, s.client.CurveID, want, s.err())
		}
	}
	with := func(curves ...tls.CurveID) *tls.Config { return &tls.Config{CurvePreferences: curves} }
	for _, preset := range []Preset{Intermediate, Modern} {
		f(preset, nil, tls.X25519MLKEM768) // Go's own default
		f(preset, with(tls.X25519, tls.X25519MLKEM768), tls.X25519MLKEM768)
		f(preset, with(tls.CurveP256, tls.SecP256r1MLKEM768, tls.X25519MLKEM768), tls.X25519MLKEM768) // asked to come again for it
		f(preset, with(tls.X25519, tls.CurveP256), tls.X25519)
		f(preset, with(tls.CurveP256, tls.CurveP384), tls.CurveP256)
		f(preset, with(tls.CurveP384), tls.CurveP384)
	}
	f(Intermediate, &tls.Config{MaxVersion: tls.VersionTLS12}, tls.X25519) // which TLS 1.2 has nothing better than
}

// TestKeyExchangeOpenSSL: what others make of it.
func TestKeyExchangeOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	term, err := Open(Options{Certificates: []Source{{SelfSigned: []string{"a.test"}}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", term.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := make(chan tls.CurveID, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var curve tls.CurveID // stays 0 if there is no handshake
			if s := c.(*tls.Conn); s.Handshake() == nil {
				curve = s.ConnectionState().CurveID
			}
			c.Close()
			used <- curve
		}
	}()
	f := func(groups string, want tls.CurveID) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, openssl, "s_client", "-connect", l.Addr().String(), "-servername", "a.test", "-groups", groups).CombinedOutput()
		if bytes.Contains(out, []byte("Error with command")) || bytes.Contains(out, []byte("Call to SSL_CONF_cmd")) {
			t.Logf("this openssl does not know %s", groups)
			return
		}
		select {
		case got := <-used:
			if got != want {
				t.Errorf("%s: %v, want %v (%v)\n%.2000s", groups, got, want, err, out)
			}
		case <-ctx.Done():
			t.Errorf("%s: there was no handshake (%v)\n%.2000s", groups, err, out)
		}
	}
	f("X25519", tls.X25519)
	f("P-256:X25519", tls.CurveP256)
	f("X25519MLKEM768:X25519", tls.X25519MLKEM768)
	f("X25519:X25519MLKEM768", tls.X25519MLKEM768)
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
