package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
)

// TestNamed: who asks for what gets which certificate.
func TestNamed(t *testing.T) {
	a := newAuthority(t, "ca")
	var pairs []*pair
	for _, names := range []string{
		"default.test", "a.example.com", "*.example.com", "B.Example.Org *.Sub.Example.Org", "a.example.com late.test", "dotted.test.",
	} {
		i := a.server(t, names)
		pairs = append(pairs, newPair([]*x509.Certificate{i.cert}, i.key, names))
	}
	table := newTable(pairs)
	f := func(sni string, want int) {
		t.Helper()
		got, err := table.certificate(&tls.ClientHelloInfo{ServerName: sni})
		if err != nil || got != &pairs[want].Certificate {
			t.Errorf("%q gets the certificate of %v (%v), want that of %v", sni, got.Leaf.DNSNames, err, pairs[want].Leaf.DNSNames)
		}
	}

	f("default.test", 0)
	f("unknown.test", 0)
	f("", 0)

	// The exact name before the wildcard, and the first one of two.
	f("a.example.com", 1)
	f("b.example.com", 2)
	f("late.test", 4)

	// A wildcard is one label: neither none nor two.
	f("example.com", 0)
	f("a.b.example.com", 0)
	f(".example.com", 0)
	f("com", 0)

	// Case and the dot at the end make no difference.
	f("A.EXAMPLE.com", 1)
	f("a.example.com.", 1)
	f("X.Example.COM.", 2)
	f("b.example.org", 3)
	f("x.sub.example.org", 3)
	f("dotted.test", 5)

	// Not what it looks like.
	f("a.example.com\x00.evil.test", 0)
	f("a.example.com..", 0)
	f(strings.Repeat("a", 300)+".example.com", 0)
	f(strings.Repeat("a.", 120)+"example.com", 0)
	f("ａ.example.com", 2) // a wide letter is another one
}

// TestFirst: the default has the other kinds of its name, whatever name that is.
func TestFirst(t *testing.T) {
	a := newAuthority(t, "ca")
	f := func(names string, want int) {
		t.Helper()
		var pairs []*pair
		for _, key := range []string{"ecdsa", "rsa"} {
			i := a.issue(t, order{names: names, key: key})
			pairs = append(pairs, newPair([]*x509.Certificate{i.cert}, i.key, names))
		}
		got := 0
		first := newTable(pairs).first
		for _, c := range first {
			if c != nil {
				got++
			}
		}
		if got != want || first[isECDSA] != &pairs[0].Certificate {
			t.Errorf("%q: %d certificates, want %d and the first one among them", names, got, want)
		}
	}
	f("a.test b.test", 2)
	f("*.a.test", 2)
	f("10.0.0.1", 2)
	f("::ffff:10.0.0.1 ::1", 2)
	f("", 1)
	f(strings.Repeat("a", 254), 1)
	f("*. a.test", 2)
}

// at is a connection of which only the local address is known.
type at struct {
	net.Conn
	addr net.Addr
}

func (a at) LocalAddr() net.Addr { return a.addr }

func TestLocalAddr(t *testing.T) {
	f := func(addr net.Addr, want string) {
		t.Helper()
		if got := localAddr(at{addr: addr}).String(); got != want {
			t.Errorf("%v: %s, want %s", addr, got, want)
		}
	}
	f(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}, "10.0.0.1")
	f(&net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 443}, "10.0.0.1")
	f(&net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 443}, "fe80::1")
	f(&net.UnixAddr{Name: "/run/x"}, "invalid IP")
	f(nil, "invalid IP")
	if got := localAddr(nil); got.IsValid() {
		t.Errorf("no connection has the address %v", got)
	}
}
