package tlsterm

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// filled is a folder that a test fills.
type filled struct {
	*testing.T
	*authority
	dir string
}

func (d filled) write(name, text string) string { return write(d.T, d.dir, name, text) }

// TestProblems: what Check says, and whether Open agrees: it fails with the first problem that is no warning and not just a
// doubt about what can be served.
func TestProblems(t *testing.T) {
	logs := logging(t)
	a := newAuthority(t, "ca")
	good := a.server(t, "good.test")
	self := []Source{{SelfSigned: []string{"a.test"}}}
	var hidden []string // what must not be in any text
	f := func(options func(d filled) Options, opens bool, want ...string) {
		t.Helper()
		o := options(filled{t, a, t.TempDir()})
		o.Name = "web"
		var got []string
		for _, p := range check(o, epoch) {
			text := fmt.Sprintf("%d %s", p.Source, p)
			if p.Warning {
				text += " (warning)"
			}
			if p.File != "" && strings.Contains(p.Err.Error(), p.File+":") {
				t.Errorf("the file is named twice: %s", text)
			}
			got = append(got, text)
		}
		expect(t, got, want...)
		_, err := open(o, newClock(epoch).now)
		if (err == nil) != opens {
			t.Errorf("Open: %v", err)
		}
		all := fmt.Sprint(got, err, logs.take())
		for _, secret := range hidden {
			if strings.Contains(all, secret) {
				t.Errorf("%q is in %s", secret, all)
			}
		}
		if err != nil && !strings.HasPrefix(err.Error(), `cannot use the TLS settings "web": `) {
			t.Errorf("the set is not named: %v", err)
		}
	}
	one := func(certs, keys string) func(d filled) Options {
		for line := range strings.Lines(keys) {
			if line = strings.TrimSpace(line); len(line) > 16 && line[0] != '-' {
				hidden = append(hidden, line[:16])
			}
		}
		return func(d filled) Options {
			return Options{Certificates: []Source{{CertFile: d.write("a.crt", certs), KeyFile: d.write("a.key", keys)}}}
		}
	}

	from := func(sources ...Source) func(filled) Options {
		return func(filled) Options { return Options{Certificates: sources} }
	}
	big := a.issue(t, order{names: "good.test", key: "rsa"})
	sec1, err := x509.MarshalECPrivateKey(good.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}

	// Nothing is wrong.
	f(one(good.certs, good.keys), true)
	f(func(d filled) Options {
		return Options{Certificates: []Source{{CertFile: d.write("a.pem", good.both())}}}
	}, true)
	f(from(self...), true)
	f(one(good.certs, block("EC PARAMETERS", []byte("x"))+block("EC PRIVATE KEY", sec1)), true)
	f(one(big.certs, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(big.key.(*rsa.PrivateKey)))), true)

	// Files that cannot be read.
	f(func(d filled) Options { return Options{Certificates: []Source{{CertFile: d.dir + "/none"}}} }, false,
		"0 & /none: it cannot be read: no such file or directory")
	f(func(d filled) Options {
		return Options{Certificates: []Source{{CertFile: d.write("a.crt", good.certs), KeyFile: d.dir}}}
	}, false, "it is not a regular file")
	f(func(d filled) Options {
		return Options{Certificates: []Source{{CertFile: d.write("a.crt", good.certs)}}}
	}, false,
		"a.crt: it holds no private key")

	// Files that are not what they should be.
	f(one("text", good.keys), false, "0 & a.crt: it is not PEM")
	f(one("", good.keys), false, "a.crt: it is not PEM")
	f(one(good.keys, good.keys), false, "a.crt: it holds no certificate")
	f(one(good.certs, "text"), false, "a.key: it is not PEM")
	f(one(good.certs, good.certs), false, "a.key: it holds no private key")
	f(one(block("CERTIFICATE", []byte("x")), good.keys), false, "a.crt: certificate 1 cannot be parsed")
	f(one(good.certs+block("CERTIFICATE", []byte("x")), good.keys), false, "a.crt: certificate 2 cannot be parsed")
	f(one(strings.Repeat(good.certs, chainMax+1), good.keys), false, "a.crt: it holds more than 10 certificates")
	f(one(good.certs+strings.Repeat("\n", pemBytesMax), good.keys), false, "a.crt: it is larger than 1 MiB")
	f(one(good.certs, good.keys+strings.Repeat("\n", pemBytesMax)), false, "a.key: it is larger than 1 MiB")
	f(one(good.certs, block("PRIVATE KEY", []byte("neither one nor the other of them"))), false, "a.key: the private key is damaged")
	f(one(good.certs, strings.Replace(good.keys, "PRIVATE", "ENCRYPTED PRIVATE", 2)), false, "a.key: the private key is encrypted")
	f(one(good.certs, a.server(t, "good.test").keys), false, "a.key: the private key does not belong to the certificate in & a.crt")
	f(one(good.certs, a.issue(t, order{key: "rsa"}).keys), false, "does not belong")
	f(one(a.cut(good.certs), good.keys), false, "a.crt: it is not PEM")
	f(one(good.certs, a.cut(good.keys)), false, "a.key: it is not PEM")

	// Keys that are too weak, or that TLS has no signature for.
	weak := a.issue(t, order{names: "a.test", key: "rsa1024"})
	strange := a.issue(t, order{names: "a.test", key: "p224"})
	f(one(weak.certs, weak.keys), false, "a.crt: its RSA key is too weak: it has 1024 bits, and 2048 are needed")
	f(one(strange.certs, strange.keys), false, "a.crt: its key is on the curve P-224")

	// Certificates that can be served.
	past := a.issue(t, order{names: "a.test", to: epoch.Add(-time.Second)})
	future := a.issue(t, order{names: "a.test", from: epoch.Add(time.Second)})
	f(one(past.certs, past.keys), true, "0 & a.crt: it expired at 2026-03-01T05:59:59Z")
	f(one(future.certs, future.keys), true, "0 & a.crt: it is not valid before 2026-03-01T06:00:01Z")
	nameless := a.issue(t, order{cn: "a.test", to: epoch.Add(-time.Second)})
	f(one(nameless.certs, nameless.keys), true, "it expired", "0 & a.crt: it has no name")
	f(one(good.certs+newAuthority(t, "other").pem(), good.keys), true,
		"0 & a.crt: certificate 2 of the chain did not issue the one before it (warning)")
	f(one(good.certs+a.pem(), good.keys), true)

	// Folders: all that is wrong, and what is left out.
	f(func(d filled) Options {
		d.write("a.pem", good.both())
		d.write("b.crt", good.certs)
		d.write("c.key", good.keys)
		d.write("chain.pem", a.pem())
		d.write("d.pem", "text")
		d.write("e.crt", past.certs)
		d.write("e.key", past.keys)
		d.write("f.pem", good.both())
		return Options{Certificates: []Source{self[0], {Dir: d.dir}}}
	}, false,
		"1 & b.crt: it is left out: there is no b.key beside it (warning)",
		"1 & c.key: it is left out: there is no c.crt or c.pem beside it (warning)",
		"1 & chain.pem: it is left out: it holds no private key (warning)",
		"1 & d.pem: it is not PEM",
		"1 & e.crt: it expired",
		"1 & f.pem: it is not used for good.test: the certificate in & a.pem comes first (warning)",
	)
	f(func(d filled) Options { return Options{Certificates: []Source{{Dir: d.dir}}} }, false, "it holds no certificate with its key")
	f(func(d filled) Options { return Options{Certificates: []Source{{Dir: d.dir + "/none"}}} }, false, "/none: it cannot be read")

	// What needs no file.
	with := func(o Options) func(filled) Options {
		return func(filled) Options {
			o.Certificates = self
			return o
		}
	}
	f(from(), false, "-1 there is no certificate")
	f(from(self[0], Source{}), false, "1 neither a certificate file nor")
	f(from(Source{Dir: "x", SelfSigned: []string{"a"}}), false, "0 & exclude each other")
	f(from(Source{KeyFile: "x"}), false, "0 the key file x has no certificate file")
	f(from(Source{SelfSigned: []string{"a b"}}), false, `0 "a b" is neither a host name`)
	f(with(Options{Preset: 9}), false, "-1 there is no preset Preset(9)")
	f(with(Options{MinVersion: tls.VersionTLS11}), false, "-1 the minimum version is TLS 1.1")
	f(with(Options{MinVersion: 7}), false, "-1 the minimum version is 0x0007")
	f(with(Options{Preset: Modern, MinVersion: tls.VersionTLS12}), false, "-1 the preset modern is TLS 1.3 alone")
	f(with(Options{ALPN: []string{"h2", "", "h2"}}), false, `"" is empty`, `"h2" is listed twice`)
	f(with(Options{Tickets: &Tickets{}}), false, "-1 & too short: it has 0 bytes")
	f(with(Options{Tickets: &Tickets{Secret: []byte(secret), Rotate: time.Second}}), false,
		"cannot rotate every 1s, but every 1m0s at most")
	f(with(Options{Tickets: &Tickets{Secret: []byte(secret[:16])}}), true,
		"-1 the secret of the session tickets is short: it has 16 bytes & (warning)")
	f(with(Options{ClientCerts: []ClientCerts{{Mode: 5}}}), false, "there is no CA file", "there is no mode ClientMode(5)")
	f(func(d filled) Options {
		ca := d.write("ca.pem", a.pem())
		return Options{Certificates: self, ClientCerts: []ClientCerts{
			{CAFile: ca}, {CAFile: ca}, {CAFile: ca, Names: []string{"a.test", "10.0.0.1", "a b"}}, {CAFile: ca, Names: []string{"A.test"}},
		}}
	}, false, "all other names are asked for twice", `"10.0.0.1" is no host name`, `"a b" is no host name`, "for a.test are asked for twice")

	// Client certificates: the rest is in TestAuthorityErrors.
	f(func(d filled) Options {
		expired := a.issue(t, order{cn: "past", ca: true, to: epoch.Add(-time.Hour)})
		ca := d.write("ca.pem", a.pem()+expired.certs+good.certs)
		crl := d.write("crl", a.revokesUntil(t, epoch.Add(-time.Hour), nil))
		return Options{Certificates: self, ClientCerts: []ClientCerts{{CAFile: ca, CRLFile: crl}}}
	}, true,
		"-1 & ca.pem: the authority CN=past expired & (warning)",
		"-1 & crl: it holds no list of CN=past & (warning)",
		"-1 & ca.pem & is no authority: only this certificate itself is trusted (warning)",
		"-1 & crl: the revocation list of CN=ca should have been followed",
	)
	// ECH: a certificate for the public name, and keys of the right kind.
	withECH := func(change func(d filled, o *Options)) func(filled) Options {
		return func(d filled) Options {
			o := Options{Certificates: []Source{{SelfSigned: []string{"cdn.test"}}}, ECH: &ECH{PublicName: "cdn.test", Dir: d.dir, Keep: time.Hour}}
			text := echPEM(t, newECHKey(t, "cdn.test"))
			d.write("1.ech", text)
			hidden = append(hidden, strings.Split(text, "\n")[1][24:])
			if change != nil {
				change(d, &o)
			}
			return o
		}
	}
	f(withECH(nil), true)
	f(withECH(func(d filled, o *Options) { o.Certificates[0].SelfSigned = []string{"*.TEST"} }), true)
	f(withECH(func(d filled, o *Options) {
		o.Certificates = []Source{{CertFile: d.write("a.pem", a.server(t, "cdn.test").both())}}
	}), true)
	f(withECH(func(d filled, o *Options) { o.Certificates[0].SelfSigned = []string{"a.cdn.test", "*.cdn.test"} }), true,
		"-1 no certificate is for the public name cdn.test")
	f(withECH(func(d filled, o *Options) { o.Certificates = []Source{{CertFile: d.write("a.pem", "text")}} }), false, "0 & a.pem: it is not PEM")
	f(withECH(func(d filled, o *Options) { d.write("2.ech", echPEM(t, newECHKey(t, "old.test"))) }), false,
		"-1 & 2.ech: it is for the public name old.test, and cdn.test is wanted: `sluice ech` makes another one")
	f(withECH(func(d filled, o *Options) { d.write("0.ech", echPEM(t, newECHKey(t, "old.test"))) }), true)
	f(withECH(func(d filled, o *Options) { d.write("0.ech", good.both()) }), false, "-1 & 0.ech: it holds no ECHCONFIG")
	f(withECH(func(d filled, o *Options) {
		_, config := splitPEM(echPEM(t, newECHKey(t, "cdn.test")))
		d.write("2.ech", good.keys+config)
	}), false, "-1 & 2.ech: its private key is of the wrong kind: ECH takes X25519, and it is ECDSA P-256")
	f(withECH(func(d filled, o *Options) {
		if err := os.Chmod(filepath.Join(d.dir, "1.ech"), 0o644); err != nil {
			t.Fatal(err)
		}
	}), true, "-1 & 1.ech: everybody on this host may read the key: chmod 600 (warning)")
	f(withECH(func(d filled, o *Options) { o.ECH.Dir = t.TempDir() }), false, "-1 & it holds no ECH key: `sluice ech` makes one")
	f(withECH(func(d filled, o *Options) { o.ECH.Dir += "/none" }), false, "/none: file does not exist: `sluice ech` makes the folder and a key")
	f(withECH(func(d filled, o *Options) { *o.ECH = ECH{PublicName: "localhost", Keep: -1} }), false,
		`-1 "localhost" is no public name`, "-1 ECH needs a folder", "-1 & cannot be kept for -1ns")
	if len(hidden) < 20 {
		t.Errorf("only %d parts of keys were looked for", len(hidden))
	}
}

// TestAuthorityErrors: what is wrong with the files, at start.
func TestAuthorityErrors(t *testing.T) {
	ca, stranger := newAuthority(t, "clients"), newAuthority(t, "strangers")
	namesake := newAuthority(t, "clients")
	f := func(ca, crl, want string) {
		t.Helper()
		dir := t.TempDir()
		o := Options{Name: "web", Certificates: []Source{{SelfSigned: []string{"a.test"}}}, ClientCerts: []ClientCerts{{
			CAFile: write(t, dir, "ca.pem", ca), CRLFile: write(t, dir, "crl", crl),
		}}}
		_, err := open(o, newClock(epoch).now)
		if !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(fmt.Sprint(err), `settings "web"`) {
			t.Errorf("%v, want %s", err, want)
		}
		problems := check(o, epoch)
		if len(problems) != 1 || problems[0].Warning || !strings.Contains(problems[0].String(), want) {
			t.Errorf("check: %v, want %s", problems, want)
		}
	}
	critical := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}

	f("", ca.revokes(t), "ca.pem: it is not PEM, or empty")
	f("text", ca.revokes(t), "ca.pem: it is not PEM")
	f(ca.client(t, "x").keys, ca.revokes(t), "ca.pem: it holds no certificate of an authority")
	f(block("CERTIFICATE", []byte("x")), ca.revokes(t), "ca.pem: certificate 1 cannot be parsed")
	f(strings.Repeat("\n", pemBytesMax+1), ca.revokes(t), "ca.pem: it is larger than 1 MiB")
	f(strings.Repeat(ca.pem(), authoritiesMax+1), ca.revokes(t), "ca.pem: it holds more than 1000 certificates")

	f(ca.pem(), "", "crl: it is neither PEM nor a revocation list in DER")
	f(ca.pem(), ca.pem(), "crl: it holds no revocation list")
	f(ca.pem(), block("X509 CRL", []byte("x")), "crl: revocation list 1 cannot be parsed")
	f(ca.pem(), ca.revokes(t)+stranger.revokes(t),
		"crl: revocation list 2, of CN=strangers, cannot be used: no authority of that name is trusted")
	f(ca.pem(), namesake.revokes(t), "crl: revocation list 1, of CN=clients, cannot be used: its signature is not the authority's")
	f(ca.pem(), ca.revokesUntil(t, epoch.AddDate(0, 0, 1), critical),
		"critical extension 2.5.29.27: only complete lists are understood")
}

// cut is a file of which the second half is not written yet.
func (a *authority) cut(text string) string { return text[:len(text)/2] }
