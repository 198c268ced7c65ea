package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"
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

// BenchmarkECH is a whole handshake, both sides of it: what the keys add to one in the open, and to one whose encryption nobody can
// open.
func BenchmarkECH(b *testing.B) {
	a, c, dir := newAuthority(b, "servers"), newClock(epoch), b.TempDir()
	add := func(name string) ECHKey {
		key := newECHKey(b, "cdn.test")
		write(b, dir, name+".ech", echPEM(b, key))
		return key
	}
	f := func(name string, list []byte, hidden bool) {
		term := openAt(b, c, Options{
			Certificates: []Source{put(b, dir, "cdn", a.server(b, "cdn.test hidden.test"))},
			ECH:          &ECH{PublicName: "cdn.test", Dir: dir, Keep: 365 * 24 * time.Hour},
		})
		client := trusting(a, c, "hidden.test", nil)
		client.EncryptedClientHelloConfigList = list
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if s := shake(term.Config(), client); s.server.ECHAccepted != hidden || s.serverErr != nil && hidden {
					b.Fatal(s.err())
				}
			}
		})
	}
	key := add("0")
	f("open", nil, false)
	f("hidden-1-key", key.List(), true)
	made := newECHKey(b, "cdn.test").List()
	f("made-up-1-key", made, false)
	for i := 1; i < ECHKeysMax; i++ {
		add(fmt.Sprint(i))
	}
	f("hidden-8-keys", key.List(), true)
	f("made-up-8-keys", made, false)
}

func BenchmarkNameRules(b *testing.B) {
	list := []ClientCerts{{Names: []string{"*.partner.test"}}, {}}
	for i := range 1000 {
		list[1].Names = append(list[1].Names, fmt.Sprintf("host-%d.example.com", i))
	}
	rules := NewNameRules(list)
	f := func(name, host string, want int) {
		b.Run(name, func(b *testing.B) {
			host := []byte(host)
			b.ReportAllocs()
			for b.Loop() {
				if rules.Of(host) != want {
					b.Fatal("another rule")
				}
			}
		})
	}
	f("exact-of-1000", "host-500.example.com", 2)
	f("wildcard", "a.b.partner.test", 1)
	f("none", "www.shop.example", 0)
}
