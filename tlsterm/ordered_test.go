package tlsterm

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/tlsterm/acme"
)

// ordering is a source whose certificates never arrive by themselves.
func ordering(dir string, hosts ...string) Source {
	return Source{ACME: &acme.Options{
		Email: "ops@shop.test", Directory: acme.LetsEncrypt, Hosts: hosts, Folder: dir, HTTP01: true, TLSALPN01: true,
	}}
}

// arrive puts the certificate of a host where it is looked for once it was ordered.
func arrive(t *testing.T, s Source, host string, i issued) {
	t.Helper()
	file := s.ACME.File(host)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(file), filepath.Base(file), i.both())
}

// TestOrdered: a host whose certificate is not there yet gets an alert and nobody else's certificate; all others are served.
func TestOrdered(t *testing.T) {
	var file, wild, first, second issued
	source := ordering(t.TempDir(), "a.test", "B.test", "c.wild.test")
	r := newReloading(t, func(a *authority, dir string) []Source {
		file, wild = a.server(t, "file.test"), a.server(t, "*.wild.test")
		return []Source{source, put(t, dir, "file", file), put(t, dir, "wild", wild)}
	})
	unknown := func(name string) {
		t.Helper()
		s := shake(r.Config(), &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if s.clientErr == nil || !strings.Contains(s.clientErr.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, s.clientErr)
		}
	}
	r.shows("file.test", file)
	r.shows("c.wild.test", wild) // a wildcard does until then
	unknown("a.test")
	unknown("A.Test")
	unknown("b.test")
	if got := strings.Join(r.Awaited(), " "); got != "a.test B.test c.wild.test" {
		t.Errorf("awaited: %s", got)
	}
	// Who asks for nothing in particular gets what there is: a balancer that looks whether we are there, say.
	if s := shake(r.Config(), &tls.Config{InsecureSkipVerify: true}); serialOf(s) != file.cert.SerialNumber.Int64() {
		t.Errorf("without a name: %v", s.err())
	}

	first = r.issueFor("a.test")
	arrive(t, source, "a.test", first)
	r.shows("a.test", first)
	unknown("b.test")
	second = r.issueFor("a.test")
	arrive(t, source, "a.test", second)
	r.shows("a.test", second)
	r.logs.take()

	// One that is damaged later does not take the place of what is in force.
	write(t, filepath.Dir(source.ACME.File("a.test")), "a.test.pem", "half")
	r.shows("a.test", second)
	r.logged("stays & a.test.pem: it is not PEM")
	if err := os.Remove(source.ACME.File("a.test")); err != nil {
		t.Fatal(err)
	}
	r.shows("a.test", second)

	// At a start, what is there is there, and what is damaged is waited for.
	arrive(t, source, "b.test", r.issueFor("b.test"))
	write(t, filepath.Dir(source.ACME.File("a.test")), "a.test.pem", "half")
	again := openAt(t, r.clock, Options{Name: "web", Certificates: []Source{source}})
	if got := strings.Join(again.Awaited(), " "); got != "a.test c.wild.test" {
		t.Errorf("awaited: %s", got)
	}
	nothing := openAt(t, r.clock, Options{Name: "web", Certificates: []Source{ordering(t.TempDir(), "a.test")}})
	if s := shake(nothing.Config(), &tls.Config{InsecureSkipVerify: true}); s.clientErr == nil {
		t.Error("without any certificate a handshake succeeds")
	}
}

// TestChallengeHandshake: an authority that verifies a host gets what it came for and nobody else does, whatever clients have to show.
func TestChallengeHandshake(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	source := ordering(filepath.Join(dir, "acme"), "a.test")
	term := openAt(t, c, Options{
		Name: "web", Certificates: []Source{put(t, dir, "file", a.server(t, "file.test")), source}, ALPN: []string{"h2", "http/1.1"},
		ClientCerts: []ClientCerts{{CAFile: write(t, dir, "ca.pem", a.pem()), Mode: Require}},
	})
	// What an order under way for a.test leaves.
	answer := a.server(t, "a.test")
	if err := os.MkdirAll(filepath.Join(source.ACME.Folder, "challenges"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(source.ACME.Folder, "challenges"), "tls-alpn-01.a.test", answer.both())
	f := func(name string, want error, protocols ...string) {
		t.Helper()
		s := shake(term.Config(), &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: protocols})
		switch got := s.clientErr; {
		case want == nil && (got != nil || serialOf(s) != answer.cert.SerialNumber.Int64() || !IsChallenge(s.client)):
			t.Errorf("%s %v: %v, certificate %d, protocol %q", name, protocols, got, serialOf(s), s.client.NegotiatedProtocol)
		case want != nil && (got == nil || !strings.Contains(got.Error(), want.Error()) || serialOf(s) == answer.cert.SerialNumber.Int64()):
			t.Errorf("%s %v: %v, want %v, certificate %d", name, protocols, got, want, serialOf(s))
		}
	}
	noProtocol, unknown := errors.New("no application protocol"), errors.New("unrecognized name")
	f("a.test", nil, "acme-tls/1")
	f("A.TEST", nil, "acme-tls/1")
	f("file.test", noProtocol, "acme-tls/1")
	f("b.test", noProtocol, "acme-tls/1")
	f("", noProtocol, "acme-tls/1")
	f("a.test", unknown, "acme-tls/1", "h2") // which is no authority: RFC 8737 section 3
	f("a.test", unknown, "h2")
	f("a.test", unknown)
	f("file.test", errors.New("certificate required"), "h2")
}

// TestOrdered_check: nothing that an order is going to mend keeps a gateway from starting.
func TestOrdered_check(t *testing.T) {
	a := newAuthority(t, "ca")
	source := ordering(t.TempDir(), "a.test", "b.test", "c.test")
	arrive(t, source, "b.test", a.issue(t, order{names: "b.test", to: epoch.AddDate(0, 0, -1)}))
	arrive(t, source, "c.test", a.server(t, "c.test"))
	write(t, filepath.Dir(source.ACME.File("c.test")), "c.test.pem", "half")
	var got []string
	for _, p := range check(Options{Certificates: []Source{source}}, epoch) {
		if !p.Warning {
			t.Errorf("it is an error: %s", p)
		}
		got = append(got, p.String())
	}
	expect(t, got, "b.test.pem: another one is going to be ordered: it expired at", "c.test.pem: another one is going to be ordered: it is not PEM")

	twice := ordering(t.TempDir(), "a.test")
	twice.ACME.Directory = "https://other.test/"
	rsa := ordering(t.TempDir(), "a.test")
	rsa.ACME.RSA = true // which may be beside the other one
	got = nil
	for _, p := range check(Options{Certificates: []Source{ordering(t.TempDir(), "a.test"), rsa, twice}}, epoch) {
		got = append(got, p.String())
	}
	expect(t, got, "other.test%2F/a.test.pem: it is not used for a.test")

	f := func(change func(*acme.Options), want string) {
		t.Helper()
		s := ordering(t.TempDir(), "a.test")
		change(s.ACME)
		list := check(Options{Certificates: []Source{s}}, epoch)
		if len(list) != 1 || list[0].Warning || !strings.Contains(list[0].String(), want) {
			t.Errorf("got %v, want %s", list, want)
		}
	}
	f(func(o *acme.Options) { o.Email = "ops" }, `"ops" is no e-mail address`)
	f(func(o *acme.Options) { o.Email = "../../ops@shop.test" }, "is no e-mail address")
	f(func(o *acme.Options) { o.Directory = "http://ca.test/" }, "https:// URL")
	f(func(o *acme.Options) { o.Folder = "" }, "no folder")
	f(func(o *acme.Options) { o.Hosts = nil }, "no hosts")
	f(func(o *acme.Options) { o.Hosts = []string{"*.a.test"} }, "wildcard")
	f(func(o *acme.Options) { o.Hosts = []string{"10.0.0.1"} }, "addresses")
	f(func(o *acme.Options) { o.Hosts = []string{"../a.test"} }, "is no name")
	f(func(o *acme.Options) { o.Hosts = []string{"a.test", "A.test"} }, "listed twice")
	f(func(o *acme.Options) { o.Hosts = make([]string, 1001) }, "more than 1000")
	f(func(o *acme.Options) { o.HTTP01, o.TLSALPN01 = false, false }, "no challenge")
	f(func(o *acme.Options) { o.KeyID = "k" }, "a key id and a secret")
	f(func(o *acme.Options) { o.KeyID, o.MACKey = "k", []byte("sec ret") }, "not base64url")
	f(func(o *acme.Options) { o.CAFile = "/nowhere/ca.pem" }, "/nowhere/ca.pem: it cannot be read")
	f(func(o *acme.Options) { o.CAFile = write(t, t.TempDir(), "ca.pem", "nothing") }, "no certificate of an authority")
}
