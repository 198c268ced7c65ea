//go:build !race

package tlsterm

import (
	"crypto/tls"
	"net"
	"testing"
)

func TestNameRulesAllocate(t *testing.T) {
	r := NewNameRules([]ClientCerts{{Names: []string{"partner.test", "*.deep.partner.test"}}, {}})
	for name, want := range map[string]int{"partner.test": 1, "a.b.deep.partner.test": 1, "other.test": 2} {
		host, got := []byte(name), 0
		if n := testing.AllocsPerRun(1000, func() { got = r.Of(host) }); n != 0 || got != want {
			t.Errorf("%s: %v allocations, and rule %d, want %d", name, n, got, want)
		}
	}
}

func TestLookupAllocates(t *testing.T) {
	a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
	term := openAt(t, c, Options{Certificates: []Source{
		put(t, dir, "1", a.server(t, "default.test")), put(t, dir, "2", a.server(t, "a.example.com")),
		put(t, dir, "3", a.server(t, "*.example.com")), put(t, dir, "4", a.server(t, "10.0.0.1")),
	}})
	f := func(sni, local, want string) {
		t.Helper()
		hello := &tls.ClientHelloInfo{ServerName: sni, Conn: at{addr: &net.TCPAddr{IP: net.ParseIP(local), Port: 443}}}
		var last *tls.Certificate
		if got := testing.AllocsPerRun(1000, func() { last, _ = term.Config().GetCertificate(hello) }); got != 0 {
			t.Errorf("%q: %v allocations, want 0", sni, got)
		}
		if got := namesOf(last.Leaf)[0]; got != want {
			t.Errorf("%q gets %s, want %s", sni, got, want)
		}
	}
	f("a.example.com", "10.0.0.1", "a.example.com")
	f("A.Example.COM.", "10.0.0.1", "a.example.com")
	f("b.example.com", "10.0.0.1", "*.example.com")
	f("unknown.test", "10.0.0.1", "default.test")
	f("", "10.0.0.1", "10.0.0.1")
	f("", "10.0.0.2", "default.test")
}
