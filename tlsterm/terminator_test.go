package tlsterm

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	a, dir := newAuthority(t, "ca"), t.TempDir()
	from := put(t, dir, "a", a.server(t, "a.test"))
	if err := os.Chmod(from.KeyFile, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Certificates: []Source{from}})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), from.KeyFile+": it cannot be read") {
		t.Errorf("Open: %v", err)
	}
}

func TestSelfSigned(t *testing.T) {
	c := newClock(epoch)
	term := openAt(t, c, Options{Certificates: []Source{{SelfSigned: []string{"localhost", "*.Dev.test", "127.0.0.1", "::1"}}}})
	infos := term.Certificates()
	want := Info{Names: []string{"localhost", "*.dev.test", "127.0.0.1", "::1"}, Source: "self-signed",
		NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(1, 0, 0), Algorithm: "ECDSA P-256", SelfSigned: true,
		Serial: infos[0].Serial}
	if len(infos) != 1 || fmt.Sprintf("%+v", infos[0]) != fmt.Sprintf("%+v", want) || want.Serial == "" {
		t.Errorf("got  %+v\nwant %+v", infos, want)
	}
	self := &authority{cert: term.store.table.Load().first[isECDSA].Leaf}
	f := func(name string, ok bool) {
		t.Helper()
		if s := shake(term.Config(), trusting(self, c, name, nil)); (s.err() == nil) != ok {
			t.Errorf("%s: %v", name, s.err())
		}
	}
	f("localhost", true)
	f("a.dev.test", true)
	f("127.0.0.1", true)
	f("other.test", false)
}

func TestIsHost(t *testing.T) {
	f := func(host string, want bool) {
		t.Helper()
		if got := isHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
	f("localhost", true)
	f("*.example.com", true)
	f("a_b.example.com", true)
	f("10.0.0.1", true)
	f("fe80::1", true)
	f("fe80::1%eth0", false)
	f("", false)
	f("*", false)
	f("*.*.com", false)
	f("a..b", false)
	f("a.", false)
	f("-a.com", false)
	f("a b", false)
	f("ä.test", false)
	f("https://a.test", false)
	f("a.test:443", false)
	f(strings.Repeat("a", 64), false)
	f(strings.Repeat("a.", 130), false)
}

func TestCertificates(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	rsa := a.issue(t, order{names: "a.test 10.0.0.1", key: "rsa", usage: x509.ExtKeyUsageServerAuth})
	ed := a.issue(t, order{names: "b.test", key: "ed25519"})
	term := openAt(t, c, Options{Certificates: []Source{put(t, dir, "a", rsa), put(t, dir, "b", ed)}})
	infos := term.Certificates()
	f := func(i int, want Info) {
		t.Helper()
		if got := infos[i]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	f(0, Info{Names: []string{"a.test", "10.0.0.1"}, Source: filepath.Join(dir, "a.crt"), NotBefore: rsa.cert.NotBefore,
		NotAfter: rsa.cert.NotAfter, Algorithm: "RSA 2048", Serial: fmt.Sprintf("%x", rsa.cert.SerialNumber)})
	if infos[1].Algorithm != "Ed25519" || infos[1].SelfSigned {
		t.Errorf("%+v", infos[1])
	}
	infos[0].Names[0] = "changed"
	if got := term.Certificates()[0].Names[0]; got != "a.test" {
		t.Errorf("a caller has changed a name to %s", got)
	}
}
