package tlsterm

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// naming issues a certificate that names a responder.
func (a *authority) naming(t testing.TB, responder, name string) issued {
	t.Helper()
	i := a.server(t, name)
	template := *i.cert
	template.OCSPServer, template.SerialNumber = []string{responder}, big.NewInt(serials.Add(1)+1000)
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, i.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	i.certs = block("CERTIFICATE", der)
	return i
}

// TestStapling: clients see what the responder of their certificate has said, with both versions and both sides of a renewal; and those
// of a certificate without a responder, or whose issuer is not known, see nothing.
func TestStapling(t *testing.T) {
	a, c, dir, keep := newAuthority(t, "ca"), newClock(epoch), t.TempDir(), t.TempDir()
	var answers atomic.Pointer[map[string][]byte] // by the serial number
	answers.Store(&map[string][]byte{})
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		question, err := ocsp.ParseRequest(raw)
		if err != nil {
			return
		}
		_, _ = w.Write((*answers.Load())[question.SerialNumber.String()]) // the test notices
	}))
	defer responder.Close()
	says := func(about issued) []byte {
		t.Helper()
		raw, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
			Status: ocsp.Good, SerialNumber: about.cert.SerialNumber, ThisUpdate: c.now(), NextUpdate: c.now().Add(10 * time.Hour),
		}, a.key)
		if err != nil {
			t.Fatal(err)
		}
		answers.Store(&map[string][]byte{about.cert.SerialNumber.String(): raw})
		return raw
	}
	named, alone, silent := a.naming(t, responder.URL, "named.test"), a.naming(t, responder.URL, "alone.test"), a.server(t, "silent.test")
	chained := func(i issued) issued { i.certs += a.pem(); return i }
	o := Options{Name: "web", Staple: true, StapleFolder: keep, Certificates: []Source{
		put(t, dir, "named", chained(named)), put(t, dir, "alone", alone), put(t, dir, "silent", chained(silent)),
	}}
	term := openAt(t, c, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shows := func(name string, want []byte) {
		t.Helper()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := shake(term.Config(), trusting(a, c, name, &tls.Config{MaxVersion: version}))
			if s.err() != nil || string(s.client.OCSPResponse) != string(want) {
				t.Errorf("%s with %s: %d bytes, want %d (%v)", name, tls.VersionName(version), len(s.client.OCSPResponse), len(want), s.err())
			}
		}
	}
	info := func(name string) Info {
		for _, i := range term.Certificates() {
			if i.Names[0] == name {
				return i
			}
		}
		t.Fatalf("there is no %s", name)
		return Info{}
	}
	arrives := func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); info("named.test").StapledUntil.IsZero(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no answer comes")
			}
			term.look()
			term.staple(ctx)
		}
	}
	shows("named.test", nil)
	first := says(named)
	arrives()
	shows("named.test", first)
	shows("alone.test", nil)
	shows("silent.test", nil)
	if i := info("named.test"); i.Responder != responder.URL || !i.StapledUntil.Equal(epoch.Add(10*time.Hour)) {
		t.Errorf("told: %+v", i)
	}
	if i := info("silent.test"); i.Responder != "" {
		t.Errorf("told: %+v", i)
	}

	// The next start has it at once, and another certificate for the name does not.
	term = openAt(t, c, o)
	shows("named.test", first)
	next := chained(a.naming(t, responder.URL, "named.test"))
	put(t, dir, "named", next)
	term.look()
	shows("named.test", nil)
	c.advance(time.Minute)
	second := says(next)
	arrives()
	shows("named.test", second)

	// It ends when it ends, with or without somebody who looks.
	answers.Store(&map[string][]byte{})
	c.advance(11 * time.Hour)
	term.staple(ctx)
	shows("named.test", nil)

	o.Staple = false
	term = openAt(t, c, o)
	shows("named.test", nil)
}

// TestStapling_check tells what clients will miss.
func TestStapling_check(t *testing.T) {
	a, dir := newAuthority(t, "ca"), t.TempDir()
	alone := a.naming(t, "http://ocsp.test/", "a.test")
	chained := alone
	chained.certs += a.pem()
	f := func(i issued, staple bool, want string) {
		t.Helper()
		list := check(Options{Staple: staple, Certificates: []Source{put(t, dir, "a", i)}}, epoch)
		switch {
		case want == "" && len(list) > 0, want != "" && (len(list) != 1 || !list[0].Warning || !strings.Contains(list[0].String(), want)):
			t.Errorf("got %v, want %s", list, want)
		}
	}
	f(chained, true, "")
	f(chained, false, "")
	f(alone, true, "the certificate that issued it is not in the chain")
	f(alone, false, "")
}
