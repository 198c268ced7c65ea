package proxyproto

import (
	"bufio"
	"bytes"
	"net/netip"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

const (
	client4 = "192.0.2.9:4660"
	client6 = "[2001:db8::9]:4660"
	here4   = "10.0.0.1:443"
	here6   = "[2001:db8::1]:443"
)

func addr(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

func TestAppendV1(t *testing.T) {
	f := func(h Header, want string) {
		t.Helper()
		got, err := h.Append([]byte("before "), 1)
		if err != nil || string(got) != "before "+want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	f(Header{Source: addr(client4), Destination: addr(here4)}, "PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n")
	f(Header{Source: addr(client6), Destination: addr(here6)}, "PROXY TCP6 2001:db8::9 2001:db8::1 4660 443\r\n")
	f(Header{Source: addr(client4), Destination: addr(here6)}, "PROXY TCP6 ::ffff:192.0.2.9 2001:db8::1 4660 443\r\n")
	f(Header{Source: addr(client6), Destination: addr(here4)}, "PROXY TCP6 2001:db8::9 ::ffff:10.0.0.1 4660 443\r\n")
	f(Header{Source: addr("[::ffff:192.0.2.9]:1"), Destination: addr(here4)}, "PROXY TCP4 192.0.2.9 10.0.0.1 1 443\r\n")
	f(Header{Source: addr(client4)}, "PROXY TCP4 192.0.2.9 0.0.0.0 4660 0\r\n")
	f(Header{Source: addr("[2001:db8::9]:0")}, "PROXY TCP6 2001:db8::9 :: 0 0\r\n")
	f(Header{Source: addr(client4), Destination: addr(here4), TLS: true, Authority: "a.example"}, "PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n")
	f(Header{}, "PROXY UNKNOWN\r\n")
	f(Header{Local: true, Source: addr(client4), Destination: addr(here4)}, "PROXY UNKNOWN\r\n")
}

// TestAppendV2 has the library read what was written.
func TestAppendV2(t *testing.T) {
	f := func(h Header, command proxyproto.ProtocolVersionAndCommand, source, destination string, types ...proxyproto.PP2Type) {
		t.Helper()
		b, err := h.Append(nil, 2)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(bytes.NewReader(append(b, "and more"...)))
		p, err := proxyproto.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		if rest, _ := in.Peek(8); string(rest) != "and more" {
			t.Errorf("%q follows the header", rest)
		}
		if p.Command != command {
			t.Errorf("the command is %v, want %v", p.Command, command)
		}
		s, d := "", ""
		if from, to, ok := p.TCPAddrs(); ok {
			s, d = from.String(), to.String()
		}
		if s != source || d != destination {
			t.Errorf("from %s to %s, want from %s to %s", s, d, source, destination)
		}
		tlvs, err := p.TLVs()
		if err != nil || len(tlvs) != len(types) {
			t.Fatalf("%d TLVs, %v; want %d", len(tlvs), err, len(types))
		}
		for i := range tlvs {
			if tlvs[i].Type != types[i] {
				t.Errorf("TLV %d is of type %x, want %x", i, tlvs[i].Type, types[i])
			}
		}
		if ssl, ok := tlvparse.FindSSL(tlvs); ok {
			version, _ := ssl.SSLVersion()
			if ssl.Verified() != h.Certificate || ssl.ClientCertSess() != h.Certificate || ssl.ClientCertConn() != (h.Certificate && !h.Resumed) || version == "" {
				t.Errorf("TLS is %+v", ssl)
			}
		}
		// And so do we, but for the certificate, which nobody is believed to have who only says so.
		back, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if command == proxyproto.PROXY && (back.TLS != h.TLS || back.ALPN != h.ALPN || back.Certificate) {
			t.Errorf("read back: %+v", back)
		}
	}
	const proxied, local = proxyproto.PROXY, proxyproto.LOCAL
	f(Header{Source: addr(client4), Destination: addr(here4)}, proxied, client4, here4)
	f(Header{Source: addr(client6), Destination: addr(here6)}, proxied, client6, here6)
	f(Header{Source: addr(client4)}, proxied, client4, "0.0.0.0:0")
	f(Header{}, local, "", "")
	f(Header{Local: true}, local, "", "")
	f(Header{Local: true, TLS: true, Authority: "a.example"}, local, "", "")

	const alpn, authority, ssl = proxyproto.PP2_TYPE_ALPN, proxyproto.PP2_TYPE_AUTHORITY, proxyproto.PP2_TYPE_SSL
	f(Header{Source: addr(client4), Destination: addr(here4), Authority: "a.example", ALPN: "h2"}, proxied, client4, here4, alpn, authority)
	f(Header{Authority: "a.example"}, local, "", "")
	f(Header{Source: addr(client4), Destination: addr(here4), TLS: true, TLSVersion: "TLSv1.3"}, proxied, client4, here4, ssl)
	f(Header{Source: addr(client4), Destination: addr(here4), TLS: true}, proxied, client4, here4, ssl)
	f(Header{Source: addr(client4), Destination: addr(here4), TLS: true, TLSVersion: "TLSv1.2", Certificate: true}, proxied, client4, here4, ssl)
	f(Header{Source: addr(client4), Destination: addr(here4), TLS: true, TLSVersion: "TLSv1.2", Certificate: true, Resumed: true}, proxied, client4, here4, ssl)
	f(Header{Source: addr(client4), Destination: addr(here4), Authority: "a\nb"}, proxied, client4, here4)
	f(Header{Source: addr(client4), Destination: addr(here4), Authority: string(make([]byte, 300))}, proxied, client4, here4)
}
