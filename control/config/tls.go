package config

import (
	"encoding/base64"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// TLS is a set of certificates and rules, which listeners use by its name.
type TLS struct {
	Certificates   List[Certificate] `cfg:"certificates" required:"true" doc:"chosen by the name that a client asks for; the first one also for names that none has"`
	Preset         string            `cfg:"preset" default:"intermediate" enum:"modern,intermediate" doc:"after Mozilla's: modern is TLS 1.3 alone, intermediate takes 1.2, too"`
	MinVersion     string            `cfg:"min_version" enum:"1.2,1.3" doc:"the oldest version that is spoken; that of the preset by default"`
	SessionTickets *Tickets          `cfg:"session_tickets" doc:"so that clients resume sessions on every host with the same secret; by default on this one"`
	ClientCerts    List[ClientCerts] `cfg:"client_certs" doc:"certificates of clients, the same for all names or a list for different ones; none are asked for by default"`
	OCSP           string            `cfg:"ocsp" default:"on" enum:"on,off" doc:"answers of the responders that certificates name are fetched and sent along (RFC 6066 section 8)"`
	HSTS           *HSTS             `cfg:"hsts" doc:"tells browsers to come by https alone (RFC 6797); a time, or a mapping"`
	ECH            *ECH              `cfg:"ech" doc:"lets clients encrypt which name they ask for (RFC 9849); a public name, or a mapping"`
	Pos            Pos
}

// HSTS is the field Strict-Transport-Security of every response.
type HSTS struct {
	MaxAge     Duration `cfg:"max_age" required:"true" doc:"how long browsers remember it; 0s makes them forget"`
	Subdomains bool     `cfg:"subdomains" default:"false" doc:"it holds for all subdomains, too"`
	Preload    bool     `cfg:"preload" default:"false" doc:"asks for a place in the lists that browsers are built with; wants subdomains and 365d"`
	Pos        Pos
}

func (h *HSTS) decodeShort(d *decoder, n *node, path string) bool {
	h.MaxAge.decode(d, n, path, field{})
	return true
}

// Value returns the value of the field.
func (h *HSTS) Value() string {
	v := fmt.Sprintf("max-age=%d", int64(time.Duration(h.MaxAge)/time.Second))
	if h.Subdomains {
		v += "; includeSubDomains"
	}
	if h.Preload {
		v += "; preload"
	}
	return v
}

// Certificate says where certificates come from: one of its fields is set, but for Key, which goes with Cert, and Hosts,
// which go with ACME.
type Certificate struct {
	Cert       Path       `cfg:"cert" doc:"a PEM file with the certificate and those that lead to the root"`
	Key        Path       `cfg:"key" doc:"a PEM file with the private key; by default it is in cert"`
	Dir        Path       `cfg:"dir" doc:"a folder with NAME.crt or NAME.pem, and NAME.key beside it unless that holds the key"`
	SelfSigned List[Text] `cfg:"self_signed" doc:"hosts of a certificate for development, made when Sluice starts"`
	ACME       *ACME      `cfg:"acme" doc:"orders a certificate for each of hosts and renews it (RFC 8555): an e-mail address, or a mapping"`
	Hosts      List[Text] `cfg:"hosts" doc:"names to order certificates for; goes with acme"`
	Pos        Pos
}

// ACME is an account with an authority that issues certificates by itself.
type ACME struct {
	Email      Text             `cfg:"email" required:"true" doc:"whom the authority may write to; naming it agrees to its terms"`
	Directory  Text             `cfg:"directory" default:"https://acme-v02.api.letsencrypt.org/directory" doc:"where the authority is asked; Let's Encrypt by default"`
	CA         Path             `cfg:"ca" doc:"file of PEM certificates to trust as the directory's server, instead of the system's"`
	Account    *ExternalAccount `cfg:"account" doc:"an account that exists with the authority outside of ACME, if it asks for one"`
	Key        string           `cfg:"key" default:"ecdsa" enum:"ecdsa,rsa" doc:"the kind of the certificates' keys"`
	Challenges List[Text]       `cfg:"challenges" doc:"how hosts are verified: http-01 (on listeners without TLS), tls-alpn-01, or both; by default those that listeners can answer"`
	Storage    Path             `cfg:"storage" doc:"folder for certificates and the account; acme in state by default"`
	Pos        Pos
}

// ExternalAccount is an account that is bound to one of ACME (RFC 8555 section 7.3.4).
type ExternalAccount struct {
	KeyID  Text   `cfg:"key_id" required:"true" doc:"what the authority calls it"`
	Secret Secret `cfg:"secret" required:"true" doc:"the key that the authority has given out for it, in base64url"`
	Pos    Pos
}

func (a *ACME) decodeShort(d *decoder, n *node, path string) bool {
	a.Email.decode(d, n, path, field{})
	return true
}

// Tickets are session tickets whose keys derive from a secret and the time (RFC 5077, RFC 8446 section 4.6.1).
type Tickets struct {
	Secret Secret   `cfg:"secret" required:"true" doc:"what every host behind the balancer shares: 32 random bytes or more, in any writing"`
	Rotate Duration `cfg:"rotate" default:"12h" doc:"how long a key encrypts"`
	Pos    Pos
}

// ClientCerts say what clients have to show that ask for one of the names.
type ClientCerts struct {
	Names List[Text] `cfg:"names" doc:"hosts, *.example.com for all below one; by default every name that no other entry has"`
	CA    Path       `cfg:"ca" required:"true" doc:"a PEM file with the certificates that client certificates must lead to"`
	CRL   Path       `cfg:"crl" doc:"a file of revocation lists, PEM or DER"`
	Mode  string     `cfg:"mode" default:"require" enum:"require,request" doc:"request verifies a certificate that is shown and lets in who shows none"`
	Pos   Pos
}

// selfSigned is the one word for a certificate for development.
const selfSigned = "self-signed"

// selfSignedHosts are its hosts where none are named.
var selfSignedHosts = []string{"localhost", "*.localhost", "127.0.0.1", "::1"}

func (c *Certificate) decodeShort(d *decoder, n *node, path string) bool {
	const wanted = "cert and key, dir, acme, or self-signed"
	text, ok := d.scalar(n, path, wanted)
	if ok && text != selfSigned {
		d.wants(n, path, wanted, `write { cert: site.pem, key: site.key }`)
	}
	for _, host := range selfSignedHosts {
		c.SelfSigned = append(c.SelfSigned, Text{host, n.pos})
	}
	return true
}

// TLSSet returns the set that a listener uses, its name, and whether it uses one.
func (c *Config) TLSSet(l *Listener) (string, *TLS, bool) {
	switch {
	case l.TLS.Text == "":
		return "", nil, false
	case l.TLS.Text == selfSigned:
		t := &TLS{Preset: "intermediate", Pos: l.TLS.Pos, Certificates: List[Certificate]{{Pos: l.TLS.Pos}}}
		for _, host := range selfSignedHosts {
			t.Certificates[0].SelfSigned = append(t.Certificates[0].SelfSigned, Text{host, l.TLS.Pos})
		}
		return selfSigned, t, true
	}
	if set := c.tlsSection(l); set != nil {
		return l.TLS.Text, set, true
	}
	return "", nil, false // which was reported
}

// tlsSection is the section that a listener names, or nil.
func (c *Config) tlsSection(l *Listener) *TLS {
	for i := range c.TLS {
		if c.TLS[i].Name == l.TLS.Text {
			return &c.TLS[i].Value
		}
	}
	return nil
}

// Bounds of the time between rotations: a key that is replaced all the time resumes nothing, and one that never is gives
// all sessions away if the secret is lost.
const (
	rotateMin = Duration(time.Minute)
	rotateMax = Duration(7 * 24 * time.Hour) // the lifetime of a ticket at most (RFC 8446 section 4.6.1)
	// ticketSecretMin is what no secret is shorter than; a warning says what is wanted.
	ticketSecretMin    = 16
	ticketSecretWanted = 32
)

func (v *validator) tls(sets Named[TLS]) {
	for _, set := range sets {
		path := joinPath("tls", set.Name)
		if set.Name == selfSigned {
			v.fail(path, "the name stands for a certificate that Sluice makes", "take another name")
		}
		if v.written(joinPath(path, "certificates")) && len(set.Value.Certificates) == 0 {
			v.fail(joinPath(path, "certificates"), "names no certificate", "self-signed makes one for development")
		}
		for i := range set.Value.Certificates {
			v.certificate(&set.Value.Certificates[i], v.item(joinPath(path, "certificates"), i))
		}
		if set.Value.Preset == "modern" && set.Value.MinVersion == "1.2" {
			v.fail(joinPath(path, "min_version"), "is older than what the modern preset speaks", "leave it out, or take preset: intermediate")
		}
		if h := set.Value.HSTS; h != nil && h.Preload && (!h.Subdomains || h.MaxAge < Duration(365*24*time.Hour)) {
			v.fail(joinPath(joinPath(path, "hsts"), "preload"), "wants subdomains: true and a max_age of 365d or more", "browsers take no other site into their lists")
		}
		v.clientCerts(set.Value.ClientCerts, joinPath(path, "client_certs"))
		if e := set.Value.ECH; e != nil {
			v.ech(e, joinPath(path, "ech"))
		}
		if t := set.Value.SessionTickets; t != nil {
			v.tickets(t, joinPath(path, "session_tickets"))
		}
	}
}

func (v *validator) certificate(c *Certificate, path string) {
	var sources []string
	if c.Cert != "" {
		sources = append(sources, "cert")
	}
	if c.Dir != "" {
		sources = append(sources, "dir")
	}
	if len(c.SelfSigned) > 0 {
		sources = append(sources, "self_signed")
	}
	if c.ACME != nil {
		sources = append(sources, "acme")
	}
	switch {
	case len(sources) > 1:
		v.failAt(c.Pos, path, fmt.Sprintf("has %s: one of them is possible", strings.Join(sources, " and ")), "make it several certificates")
	case len(sources) == 0 && c.Key != "":
		v.failAt(c.Pos, path, "has a key and no cert", "")
	case len(sources) == 0:
		v.failAt(c.Pos, path, "names no certificate", "cert and key, dir, self_signed, or acme")
	case c.Key != "" && c.Cert == "":
		v.failAt(c.Pos, joinPath(path, "key"), "goes with cert alone", "")
	}
	v.acme(c, path)
	for i, host := range c.SelfSigned {
		if _, err := netip.ParseAddr(host.Text); err != nil && !isHostPattern(host.Text) {
			v.failAt(host.Pos, v.item(joinPath(path, "self_signed"), i), "wants a host name or an address, got "+v.show(host.Text, host.Pos), "")
		}
	}
}

func (v *validator) acme(c *Certificate, path string) {
	a := c.ACME
	if a == nil {
		if len(c.Hosts) > 0 {
			v.fail(joinPath(path, "hosts"), "goes with acme alone", "a certificate in a file is for the names that are in it")
		}
		return
	}
	where := joinPath(path, "acme")
	if len(c.Hosts) == 0 {
		v.failAt(c.Pos, path, "has acme and no hosts", "hosts: [www.example.com]")
	}
	if a.Storage == "" && v.config.State == "" {
		v.fail(where, "has no folder to keep certificates in", "state: /var/lib/sluice at the top of the file, or storage: here")
	}
	if a.Email.Text != "" {
		if m, err := mail.ParseAddress(a.Email.Text); err != nil || m.Address != a.Email.Text || strings.ContainsAny(a.Email.Text, "/\\") {
			at := where
			if v.written(joinPath(where, "email")) {
				at = joinPath(where, "email")
			}
			v.failAt(a.Email.Pos, at, "wants an e-mail address, got "+v.show(a.Email.Text, a.Email.Pos), "acme: ops@example.com")
		}
	}
	if u, err := url.Parse(a.Directory.Text); a.Directory.Text != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
		v.failAt(a.Directory.Pos, joinPath(where, "directory"), "wants an https:// URL, got "+v.show(a.Directory.Text, a.Directory.Pos), "")
	}
	for i, challenge := range a.Challenges {
		at := v.item(joinPath(where, "challenges"), i)
		switch challenge.Text {
		case "http-01", "tls-alpn-01", "":
		case "dns-01":
			v.failAt(challenge.Pos, at, "is not offered", "http-01 and tls-alpn-01 are")
		default:
			v.failAt(challenge.Pos, at, "wants http-01 or tls-alpn-01, got "+v.show(challenge.Text, challenge.Pos), "")
		}
	}
	if a.Account != nil && !a.Account.Secret.IsZero() {
		if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(a.Account.Secret.Reveal(), "=")); err != nil {
			v.fail(joinPath(joinPath(where, "account"), "secret"), "is not base64url", "")
		}
	}
	seen := map[string]bool{}
	for i, host := range c.Hosts {
		at := v.item(joinPath(path, "hosts"), i)
		_, notAddress := netip.ParseAddr(host.Text)
		switch name := strings.ToLower(host.Text); {
		case name == "":
		case strings.HasPrefix(name, "*."):
			v.failAt(host.Pos, at, "is a wildcard, which takes a challenge of the DNS; that is not offered", "name the hosts, or take files")
		case notAddress == nil:
			v.failAt(host.Pos, at, "is an address, for which certificates are not ordered", "")
		case !isHostPattern(name) || !strings.Contains(name, "."):
			v.failAt(host.Pos, at, "wants a host name, got "+v.show(host.Text, host.Pos), "")
		case seen[name]:
			v.failAt(host.Pos, at, "is listed twice", "")
		default:
			seen[name] = true
		}
	}
}

// isHostPattern reports whether s is a host name, of which the first label may be *.
func isHostPattern(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// clientCerts wants each name once: which rules hold for a host must not depend on an order.
func (v *validator) clientCerts(list []ClientCerts, path string) {
	seen := map[string]string{}
	for i := range list {
		item, names := v.item(path, i), list[i].Names
		at := joinPath(item, "names")
		if len(names) == 0 {
			if v.written(at) {
				v.fail(at, "names no host", "leave it out for every name that no other entry has")
			} else if first, twice := seen[""]; twice {
				v.fail(item, "is for all other names, as "+first+" is", "give it names")
			} else {
				seen[""] = item
			}
			continue
		}
		for j, name := range names {
			where := v.item(at, j)
			lower := strings.ToLower(name.Text)
			if _, err := netip.ParseAddr(lower); err == nil || !isHostPattern(lower) {
				v.failAt(name.Pos, where, "wants a host name, got "+v.show(name.Text, name.Pos), "partner.example, or *.partner.example for all below it")
			} else if first, twice := seen[lower]; twice {
				v.failAt(name.Pos, where, name.Text+" stands here twice", "first at "+first)
			} else {
				seen[lower] = where
			}
		}
	}
}

func (v *validator) tickets(t *Tickets, path string) {
	switch n := len(t.Secret.Reveal()); {
	case t.Secret.IsZero():
	case n < ticketSecretMin:
		v.fail(joinPath(path, "secret"), fmt.Sprintf("is shorter than %d bytes", ticketSecretMin), "openssl rand -base64 32")
	case n < ticketSecretWanted:
		v.warn(joinPath(path, "secret"), "the secret is short enough to be guessed", "openssl rand -base64 32")
	}
	if t.Rotate < rotateMin || t.Rotate > rotateMax {
		v.fail(joinPath(path, "rotate"), "wants 1m to 7d", "")
	}
}
