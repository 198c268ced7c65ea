package upstream

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"sluice/proxy"
)

func TestProxyHeader(t *testing.T) {
	e := &endpoint{options: &Options{Proxied: 2}}
	f := func(c *proxy.Client, want string) {
		t.Helper()
		text, err := e.proxyHeader(c)
		if err != nil {
			t.Fatal(err)
		}
		h, err := proxyproto.Read(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		got := "local"
		if source, destination, ok := h.TCPAddrs(); ok {
			got = source.String() + " " + destination.String()
		}
		tlvs, err := h.TLVs()
		if err != nil {
			t.Fatal(err)
		}
		for _, tlv := range tlvs {
			switch ssl, err := tlvparse.SSL(tlv); {
			case err == nil:
				version, _ := ssl.SSLVersion()
				got += " " + version
				if ssl.Verified() && ssl.ClientCertSess() {
					got += " certificate"
				}
				if ssl.ClientCertConn() {
					got += " shown"
				}
			default:
				got += " " + string(tlv.Value)
			}
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	peer := netip.MustParseAddrPort("192.0.2.9:4660")
	other := netip.MustParseAddr("198.51.100.1")
	local := netip.MustParseAddrPort("10.0.0.1:443")
	plain := &proxy.Transport{Local: local}
	secure := &proxy.Transport{Local: local, TLS: "TLSv1.3", ALPN: "h2"}
	resumed := &proxy.Transport{Local: local, TLS: "TLSv1.2", Resumed: true}
	f(nil, "local")
	f(&proxy.Client{}, "local")
	f(&proxy.Client{Addr: peer.Addr(), Peer: peer}, "192.0.2.9:4660 0.0.0.0:0")
	f(&proxy.Client{Addr: peer.Addr(), Peer: peer, Transport: plain}, "192.0.2.9:4660 10.0.0.1:443")
	f(&proxy.Client{Addr: peer.Addr(), Peer: peer, Transport: secure, ServerName: "a.example"}, "192.0.2.9:4660 10.0.0.1:443 h2 a.example TLSv1.3")
	f(&proxy.Client{Addr: peer.Addr(), Peer: peer, Transport: secure, Certificate: &proxy.Certificate{}}, "192.0.2.9:4660 10.0.0.1:443 h2 TLSv1.3 certificate shown")
	f(&proxy.Client{Addr: peer.Addr(), Peer: peer, Transport: resumed, Certificate: &proxy.Certificate{}}, "192.0.2.9:4660 10.0.0.1:443 TLSv1.2 certificate")
	f(&proxy.Client{Addr: other, Peer: peer, Transport: secure, ServerName: "a.example", Certificate: &proxy.Certificate{}}, "198.51.100.1:0 10.0.0.1:443")

	e.options.Proxied = 0
	if text, err := e.proxyHeader(&proxy.Client{Addr: peer.Addr(), Peer: peer}); text != "" || err != nil {
		t.Errorf("a header that nobody asked for: %q, %v", text, err)
	}
}
