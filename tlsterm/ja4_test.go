package tlsterm

import (
	"crypto/tls"
	"math/rand/v2"
	"testing"
)

// TestJA4 begins with the example of the specification, a Chrome.
func TestJA4(t *testing.T) {
	chrome := tls.ClientHelloInfo{
		ServerName:        "shop.example",
		SupportedVersions: []uint16{0x7a7a, tls.VersionTLS13, tls.VersionTLS12},
		SupportedProtos:   []string{"h2", "http/1.1"},
		CipherSuites: []uint16{0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
			0x009d, 0x002f, 0x0035},
		Extensions: []uint16{0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
			0xff01, 0x000b, 0x000a, 0x0015, 0xdada},
		SignatureSchemes: []tls.SignatureScheme{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
	}
	f := func(change func(h *tls.ClientHelloInfo), want string) {
		t.Helper()
		h := chrome
		change(&h)
		if got := JA4(&h); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(func(*tls.ClientHelloInfo) {}, "t13d1516h2_8daaf6152771_e5627efa2ab1")
	f(func(h *tls.ClientHelloInfo) {
		h.CipherSuites, h.Extensions = append([]uint16(nil), h.CipherSuites...), append([]uint16(nil), h.Extensions...)
		rand.Shuffle(len(h.CipherSuites), func(i, j int) {
			h.CipherSuites[i], h.CipherSuites[j] = h.CipherSuites[j], h.CipherSuites[i]
		})
		rand.Shuffle(len(h.Extensions), func(i, j int) { h.Extensions[i], h.Extensions[j] = h.Extensions[j], h.Extensions[i] })
	}, "t13d1516h2_8daaf6152771_e5627efa2ab1")
	f(func(h *tls.ClientHelloInfo) { h.ServerName = "" }, "t13i1516h2_8daaf6152771_e5627efa2ab1")
	f(func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"http/1.1"} }, "t13d1516h1_8daaf6152771_e5627efa2ab1")
	f(func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"\xabc\xcd"} }, "t13d1516ad_8daaf6152771_e5627efa2ab1")
	f(func(h *tls.ClientHelloInfo) { h.SupportedProtos = nil }, "t13d151600_8daaf6152771_e5627efa2ab1")
	f(func(h *tls.ClientHelloInfo) { h.SupportedVersions = []uint16{tls.VersionTLS12} }, "t12d1516h2_8daaf6152771_e5627efa2ab1")
	if got := JA4(&tls.ClientHelloInfo{}); got != "t00i000000_000000000000_000000000000" {
		t.Errorf("of nothing: %s", got)
	}
	chrome.SupportedProtos = []string{"h3"}
	if got := JA4QUIC(&chrome); got != "q13d1516h3_8daaf6152771_e5627efa2ab1" {
		t.Errorf("over QUIC: %s", got)
	}
}
