package config

import "testing"

// TestACME: the short form has all the defaults, the long one what it says, and secrets do not show.
func TestACME(t *testing.T) {
	c := mustParse(t, `version: 1
state: /var/lib/sluice
listen: { a: { address: ":443", tls: edge } }
tls:
  edge:
    ocsp: off
    certificates:
      - { acme: ops@shop.example, hosts: [a.example, B.example] }
      - acme: { email: ops@shop.example, directory: "https://ca.example/dir", ca: ca.pem, account: { key_id: k, secret: c2VjcmV0 }, key: rsa, challenges: http-01, storage: certs }
        hosts: c.example
routes: {}
`, Options{})
	set, _ := c.TLS.Get("edge")
	f := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	f("ocsp", set.OCSP, "off")
	short, long := set.Certificates[0], set.Certificates[1]
	f("email", short.ACME.Email.Text, "ops@shop.example")
	f("directory", short.ACME.Directory.Text, "https://acme-v02.api.letsencrypt.org/directory")
	f("key", short.ACME.Key, "ecdsa")
	f("challenges", len(short.ACME.Challenges), 0)
	f("hosts", len(short.Hosts), 2)
	f("email", long.ACME.Email.Text, "ops@shop.example")
	f("directory", long.ACME.Directory.Text, "https://ca.example/dir")
	f("ca", long.ACME.CA, Path("ca.pem"))
	f("key", long.ACME.Key, "rsa")
	f("challenge", long.ACME.Challenges[0].Text, "http-01")
	f("storage", long.ACME.Storage, Path("certs"))
	f("key id", long.ACME.Account.KeyID.Text, "k")
	f("secret", long.ACME.Account.Secret.String(), "[secret]")
	f("secret", long.ACME.Account.Secret.Reveal(), "c2VjcmV0")
	f("host", long.Hosts[0].Text, "c.example")

	c = mustParse(t, "version: 1\nlisten: { a: { address: \":443\", tls: edge } }\ntls: { edge: { certificates: self-signed } }\nroutes: {}\n", Options{})
	set, _ = c.TLS.Get("edge")
	f("ocsp", set.OCSP, "on")
}
