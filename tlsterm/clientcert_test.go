package tlsterm

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// revokes makes a revocation list, which is valid for a week around epoch, in PEM.
func (a *authority) revokes(t testing.TB, certs ...issued) string {
	t.Helper()
	return a.revokesUntil(t, epoch.AddDate(0, 0, 6), nil, certs...)
}

func (a *authority) revokesUntil(t testing.TB, next time.Time, more []pkix.Extension, certs ...issued) string {
	t.Helper()
	list := &x509.RevocationList{
		Number: big.NewInt(serials.Add(1)), ThisUpdate: next.AddDate(0, 0, -7), NextUpdate: next, ExtraExtensions: more,
	}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.cert.SerialNumber, RevocationTime: epoch})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return block("X509 CRL", der)
}

func der(text string) string {
	b, _ := pem.Decode([]byte(text))
	return string(b.Bytes)
}

// mutual is a server that asks for certificates.
type mutual struct {
	*reloading
	names *authority // of servers
	ca    *authority // of clients
}

func newMutual(t *testing.T, mode ClientMode, ca, crl string, authority *authority) *mutual {
	t.Helper()
	r := &reloading{T: t, authority: newAuthority(t, "servers"), clock: newClock(epoch), dir: t.TempDir(), logs: logging(t)}
	m := &mutual{r, r.authority, authority}
	clients := ClientCerts{CAFile: write(t, r.dir, "ca.pem", ca), Mode: mode}
	if crl != "" {
		clients.CRLFile = write(t, r.dir, "crl", crl)
	}
	r.Terminator = openAt(t, r.clock, Options{
		Name: "web", Certificates: []Source{put(t, r.dir, "a", m.names.issue(t, order{names: "a.test"}))},
		Tickets: &Tickets{Secret: []byte(secret)}, ClientCerts: []ClientCerts{clients},
	})
	return m
}

// session is a client that resumes its session.
func (m *mutual) session(i issued, version uint16) *tls.Config {
	c := trusting(m.names, m.clock, "a.test", i.client())
	c.MaxVersion, c.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
	return c
}

// comes is one handshake of a session: "full", "resumed", or what the server says against it.
func (m *mutual) comes(client *tls.Config) string {
	s := shake(m.Config(), client)
	switch {
	case s.serverErr != nil:
		return s.serverErr.Error()
	case s.clientErr != nil:
		return "client: " + s.clientErr.Error()
	case s.server.DidResume:
		return "resumed"
	}
	return "full"
}

func (m *mutual) expects(client *tls.Config, want string) {
	m.Helper()
	if got := m.comes(client); !strings.Contains(got, want) {
		m.Errorf("%s: %q, want %q", tls.VersionName(client.MaxVersion), got, want)
	}
}

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func TestClientCerts(t *testing.T) {
	ca, stranger := newAuthority(t, "clients"), newAuthority(t, "strangers")
	between := ca.under(t, "between")
	viaBetween := between.client(t, "via")
	viaBetween.certs += between.pem()
	f := func(mode ClientMode, who issued, want string) {
		t.Helper()
		m := newMutual(t, mode, ca.pem(), "", ca)
		for _, version := range versions {
			client := m.session(who, version)
			if who.cert == nil {
				client.GetClientCertificate = nil
			}
			m.expects(client, want)
			if want == "full" {
				m.expects(client, "resumed")
			}
		}
	}
	server := ca.issue(t, order{cn: "a server", usage: x509.ExtKeyUsageServerAuth})
	old := ca.issue(t, order{cn: "old", to: epoch.Add(-time.Hour), usage: x509.ExtKeyUsageClientAuth})

	f(Require, ca.client(t, "good"), "full")
	f(Require, viaBetween, "full")
	f(Require, issued{}, "client didn't provide a certificate")
	f(Require, stranger.client(t, "bad"), "unknown authority")
	f(Require, old, "expired")
	f(Require, server, "incompatible key usage")

	f(Request, ca.client(t, "good"), "full")
	f(Request, issued{}, "full")
	f(Request, stranger.client(t, "bad"), "unknown authority")
	f(Request, old, "expired")
}

// TestClientExpires: a session does not outlive the certificate that it began with.
func TestClientExpires(t *testing.T) {
	ca := newAuthority(t, "clients")
	for _, version := range versions {
		m := newMutual(t, Require, ca.pem(), "", ca)
		client := m.session(ca.issue(t, order{cn: "short", to: epoch.Add(time.Hour)}), version)
		m.expects(client, "full")
		m.clock.advance(30 * time.Minute)
		m.expects(client, "resumed")
		m.clock.advance(time.Hour)
		m.expects(client, "expired")
	}
}

func TestRevoked(t *testing.T) {
	ca, stranger := newAuthority(t, "clients"), newAuthority(t, "strangers")
	between := ca.under(t, "between")
	good, bad, via := ca.client(t, "good"), ca.client(t, "bad"), between.client(t, "via")
	via.certs += between.pem()
	f := func(cas, crl string, who issued, want string) {
		t.Helper()
		m := newMutual(t, Require, cas, crl, ca)
		for _, version := range versions {
			m.expects(m.session(who, version), want)
		}
	}

	// PEM and DER, one list and several.
	f(ca.pem(), ca.revokes(t, bad), bad, "was revoked by CN=clients")
	f(ca.pem(), ca.revokes(t, bad), good, "full")
	f(ca.pem(), der(ca.revokes(t, bad)), bad, "was revoked")
	f(ca.pem(), der(ca.revokes(t, bad)), good, "full")
	f(stranger.pem()+ca.pem(), stranger.revokes(t, good)+ca.revokes(t, bad), bad, "was revoked")
	f(stranger.pem()+ca.pem(), stranger.revokes(t, good)+ca.revokes(t, bad), good, "full")

	// In the middle of a chain, whether or not what is in the middle is trusted by itself.
	middle := issued{cert: between.cert}
	f(ca.pem(), ca.revokes(t, middle), via, "was revoked")
	f(ca.pem()+between.pem(), ca.revokes(t, middle), via, "was revoked")
	f(ca.pem()+between.pem(), ca.revokes(t)+between.revokes(t, via), via, "was revoked")
	f(ca.pem()+between.pem(), ca.revokes(t)+between.revokes(t), via, "full")

	// The newest list of an authority counts.
	newer, older := ca.revokesUntil(t, epoch.AddDate(0, 0, 6), nil), ca.revokesUntil(t, epoch.AddDate(0, 0, 5), nil, bad)
	f(ca.pem(), older+newer, bad, "full")
	f(ca.pem(), newer+older, bad, "full")

	// An overdue list refuses those it is for, and nobody else.
	late := ca.revokesUntil(t, epoch.Add(-time.Minute), nil)
	f(ca.pem(), late, good, "should have been followed by another one")
	f(ca.pem()+stranger.pem(), late, stranger.client(t, "other"), "full")
	f(ca.pem(), late+newer, good, "full")
}

// TestSameName: an authority that has changed its key keeps its name, and its old list may no longer be made.
func TestSameName(t *testing.T) {
	before, after := newAuthority(t, "clients"), newAuthority(t, "clients")
	good := after.client(t, "good")
	f := func(want string, lists ...string) {
		t.Helper()
		m := newMutual(t, Require, before.pem()+after.pem(), strings.Join(lists, ""), after)
		m.expects(m.session(good, tls.VersionTLS13), want)
	}
	late := epoch.Add(-time.Minute)
	f("full", before.revokesUntil(t, late, nil), after.revokes(t))
	f("should have been followed", before.revokes(t), after.revokesUntil(t, late, nil))
	f("was revoked", before.revokes(t, good), after.revokes(t)) // either key may sign for the name
}

// TestRevokedLater: what is revoked ends with the next handshake, resumed or not; so does an authority.
func TestRevokedLater(t *testing.T) {
	ca, next := newAuthority(t, "clients"), newAuthority(t, "next")
	for _, version := range versions {
		m := newMutual(t, Require, ca.pem(), ca.revokes(t), ca)
		good, bad := ca.client(t, "good"), ca.client(t, "bad")
		goodSession, badSession := m.session(good, version), m.session(bad, version)
		m.expects(goodSession, "full")
		m.expects(badSession, "full")
		m.expects(badSession, "resumed")

		write(t, m.dir, "crl", ca.revokes(t, bad))
		m.expects(badSession, "resumed") // nobody has looked
		m.look()
		m.logged("the authorities of TLS clients are replaced & web")
		m.expects(badSession, "was revoked")
		m.expects(m.session(bad, version), "was revoked")
		m.expects(goodSession, "resumed")

		// Files that are wrong change nothing, and are told once.
		write(t, m.dir, "crl", "no list")
		m.look()
		m.look()
		m.logged("stays & web & crl: it is neither PEM nor a revocation list")
		m.expects(goodSession, "resumed")
		m.expects(m.session(bad, version), "was revoked")
		write(t, m.dir, "ca.pem", "no PEM")
		m.look()
		m.look()
		m.logged("stays & web & ca.pem: it is not PEM")
		m.expects(goodSession, "resumed")

		// One more authority: sessions go on. One less: they do not, and who comes anew is refused.
		write(t, m.dir, "ca.pem", next.pem()+ca.pem())
		write(t, m.dir, "crl", ca.revokes(t))
		m.look()
		m.logged("are replaced")
		m.expects(goodSession, "resumed")
		m.expects(m.session(next.client(t, "new"), version), "full")
		write(t, m.dir, "ca.pem", next.pem())
		write(t, m.dir, "crl", next.revokes(t))
		m.look()
		m.logged("are replaced")
		m.expects(goodSession, "unknown authority")
	}
}

// TestReplaced: a client whose certificate was revoked gets in with another one, although it still has the ticket of the first.
func TestReplaced(t *testing.T) {
	ca := newAuthority(t, "clients")
	for _, version := range versions {
		m := newMutual(t, Require, ca.pem(), ca.revokes(t), ca)
		bad, replacement := ca.client(t, "bad"), ca.client(t, "replacement")
		session := m.session(bad, version)
		m.expects(session, "full")
		m.expects(session, "resumed")
		write(t, m.dir, "crl", ca.revokes(t, bad))
		m.look()
		m.expects(session, "was revoked")
		session.GetClientCertificate = replacement.client().GetClientCertificate
		m.expects(session, "full")
		m.expects(session, "resumed")
		// Sessions of resumed sessions know as well.
		write(t, m.dir, "crl", ca.revokes(t, bad, replacement))
		m.look()
		m.expects(session, "was revoked")
	}
}

// TestOverdueLater: a list becomes overdue without being changed.
func TestOverdueLater(t *testing.T) {
	ca := newAuthority(t, "clients")
	m := newMutual(t, Request, ca.pem(), ca.revokes(t), ca)
	session := m.session(ca.client(t, "good"), tls.VersionTLS13)
	m.expects(session, "full")
	m.look()
	m.logged()
	m.clock.advance(6*24*time.Hour + time.Minute)
	m.look()
	m.look()
	m.logged("level=ERROR & has expired & web & crl & CN=clients")
	m.expects(session, "should have been followed")
	m.expects(m.session(ca.client(t, "good"), tls.VersionTLS12), "should have been followed")
	nobody := m.session(issued{}, tls.VersionTLS13)
	nobody.GetClientCertificate = nil
	m.expects(nobody, "full")
	write(t, m.dir, "crl", ca.revokesUntil(t, epoch.AddDate(0, 0, 12), nil))
	m.look()
	m.logged("are replaced")
	m.expects(session, "full") // its ticket is older than a day
	m.expects(session, "resumed")
}

// TestMutualHosts: sessions with certificates are resumed at other hosts as well, by their authorities.
func TestMutualHosts(t *testing.T) {
	ca, other := newAuthority(t, "clients"), newAuthority(t, "others")
	for _, version := range versions {
		one, two := newMutual(t, Require, ca.pem(), "", ca), newMutual(t, Require, ca.pem(), "", ca)
		strict, open := newMutual(t, Require, other.pem(), "", other), newMutual(t, Request, ca.pem(), "", ca)
		f := func(from, to *mutual, who issued, want string) {
			t.Helper()
			client := from.session(who, version)
			if who.cert == nil {
				client.GetClientCertificate = nil
			}
			from.expects(client, "full")
			client.RootCAs = to.names.pool()
			client.InsecureSkipVerify = true // each has a server certificate of its own
			to.expects(client, want)
		}
		good := ca.client(t, "good")
		f(one, two, good, "resumed")
		f(one, strict, good, "unknown authority")
		f(open, one, issued{}, "client didn't provide a certificate")
		f(open, one, good, "resumed")
	}
}

// TestVerifyAlone: what crypto/tls has seen to before is not taken for granted.
func TestVerifyAlone(t *testing.T) {
	ca, other := newAuthority(t, "clients"), newAuthority(t, "others")
	good := ca.client(t, "good").cert
	m := newMutual(t, Require, ca.pem(), "", ca)
	f := func(want string, chains ...[]*x509.Certificate) {
		t.Helper()
		state := tls.ConnectionState{VerifiedChains: chains}
		if chains != nil {
			state.PeerCertificates = []*x509.Certificate{good}
		}
		if err := m.Config().VerifyConnection(state); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f("<nil>", []*x509.Certificate{good, ca.cert})
	f("<nil>", []*x509.Certificate{good, other.cert}, []*x509.Certificate{good, ca.cert})
	f("of no authority", []*x509.Certificate{good, other.cert})
	f("of no authority", []*x509.Certificate{good})
	f("of no authority", []*x509.Certificate{})
	f("of no authority", [][]*x509.Certificate{}...)
	f("no certificate")
	m.clock.advance(365 * 24 * time.Hour)
	f("is valid from", []*x509.Certificate{good, ca.cert})
}

// TestManyAuthorities: the names of all of them have to fit into a handshake.
func TestManyAuthorities(t *testing.T) {
	var all strings.Builder
	for i := range 400 {
		all.WriteString(newAuthority(t, fmt.Sprint(i, strings.Repeat("x", 50))).pem())
	}
	if _, err := parseAuthorities([]byte(all.String())); err != nil {
		t.Error(err)
	}
	for i := range 500 {
		all.WriteString(newAuthority(t, fmt.Sprint(i, strings.Repeat("x", 50))).pem())
	}
	if _, err := parseAuthorities([]byte(all.String())); err == nil || !strings.Contains(err.Error(), "a handshake has room for 60000") {
		t.Errorf("900 authorities with long names: %v", err)
	}
}
