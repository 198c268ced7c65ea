package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
)

func BenchmarkCertificate(b *testing.B) {
	a := newAuthority(b, "ca")
	one, both := a.issue(b, order{names: "*.wild.test"}), a.issue(b, order{names: "both.test"})
	rsa := a.issue(b, order{names: "both.test", key: "rsa"})
	pairs := []*pair{}
	add := func(i issued) { pairs = append(pairs, newPair([]*x509.Certificate{i.cert}, i.key, "")) }
	add(both)
	add(rsa)
	add(one)
	for i := range 10_000 { // of one certificate: only the names count here
		leaf := *one.cert
		leaf.DNSNames = []string{fmt.Sprintf("host-%d.example.com", i)}
		pairs = append(pairs, newPair([]*x509.Certificate{&leaf}, one.key, ""))
	}
	table := newTable(pairs)
	f := func(name, sni string) {
		b.Run(name, func(b *testing.B) {
			hello := &tls.ClientHelloInfo{
				ServerName: sni, SupportedVersions: []uint16{tls.VersionTLS13},
				SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256},
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := table.certificate(hello); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("exact-of-10000", "host-5000.example.com")
	f("wildcard", "a.wild.test")
	f("unknown", "nobody.example.org")
	f("ecdsa-beside-rsa", "both.test")
}
