package tlsterm

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestNameRules(t *testing.T) {
	r := NewNameRules([]ClientCerts{
		{Names: []string{"Partner.test", "*.partner.test"}}, {}, {Names: []string{"a.partner.test", "*.deep.partner.test", "partner.test"}}, {},
	})
	f := func(name string, want int) {
		t.Helper()
		if got := r.Of([]byte(name)); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	f("partner.test", 1)
	f("b.partner.test", 1)
	f("a.b.partner.test", 1)
	f(strings.Repeat("a.", 5000)+"partner.test", 1)

	f("a.partner.test", 3)
	f("b.a.partner.test", 1)
	f("x.deep.partner.test", 3)
	f("x.y.deep.partner.test", 3)
	f("deep.partner.test", 1)

	f("", 2)
	f("test", 2)
	f("xpartner.test", 2)
	f(".partner.test", 2)
	f("partner.test.evil", 2)
	f("partner.test..", 2)
	f("*.partner.test", 1)
	f(strings.Repeat(".", 10000), 2)

	if got := NewNameRules([]ClientCerts{{Names: []string{"a.test"}}}).Of([]byte("b.test")); got != 0 {
		t.Errorf("a name that nobody has a rule for: %d", got)
	}
	for name, want := range map[string]int{"PARTNER.Test": 1, "B.partner.TEST": 1, "": 2, "127.0.0.1": 2} {
		if got := r.OfServerName(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

// byName is a server whose rules depend on the name: partner.test and all below it require a certificate, maybe.test requests one,
// staff.test requires one of another authority, and open.test asks for none.
type byName struct {
	*mutual
	staff *authority
}

func newByName(t *testing.T) *byName {
	t.Helper()
	r := &reloading{T: t, authority: newAuthority(t, "servers"), clock: newClock(epoch), dir: t.TempDir(), logs: logging(t)}
	b := &byName{&mutual{r, r.authority, newAuthority(t, "clients")}, newAuthority(t, "staff")}
	ca := write(t, r.dir, "ca.pem", b.ca.pem())
	write(t, r.dir, "1.ech", echPEM(t, newECHKey(t, "cdn.test")))
	r.Terminator = openAt(t, r.clock, Options{
		Name: "web", Tickets: &Tickets{Secret: []byte(secret)},
		Certificates: []Source{put(t, r.dir, "a", b.names.server(t, "partner.test *.partner.test maybe.test staff.test open.test cdn.test"))},
		ClientCerts: []ClientCerts{
			{Names: []string{"partner.test", "*.partner.test"}, CAFile: ca},
			{Names: []string{"maybe.test"}, CAFile: ca, Mode: Request},
			{Names: []string{"staff.test"}, CAFile: write(t, r.dir, "staff.pem", b.staff.pem())},
		},
		ECH: &ECH{PublicName: "cdn.test", Dir: r.dir},
	})
	return b
}

// client asks for a name.
func (b *byName) client(name string, i issued, version uint16, sessions tls.ClientSessionCache) *tls.Config {
	c := b.session(i, version)
	c.ServerName, c.ClientSessionCache = name, sessions
	if i.cert == nil {
		c.GetClientCertificate = nil
	}
	return c
}

// oneSession is a client's memory that does not tell names apart, as that of one who means harm.
type oneSession struct{ session *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool)    { return o.session, o.session != nil }
func (o *oneSession) Put(_ string, session *tls.ClientSessionState) { o.session = session }

// TestClientCertsByName: what is asked for depends on the name, and no session gets from one rule to another.
func TestClientCertsByName(t *testing.T) {
	b := newByName(t)
	good, staff, nobody := b.ca.client(t, "good"), b.staff.client(t, "staff"), issued{}
	for _, version := range versions {
		f := func(name string, i issued, want string) {
			t.Helper()
			b.expects(b.client(name, i, version, nil), want)
		}
		f("open.test", nobody, "full")
		f("open.test", good, "full")
		f("partner.test", good, "full")
		f("Partner.TEST", good, "full")
		f("partner.test", nobody, "client didn't provide a certificate")
		f("PARTNER.test", nobody, "client didn't provide a certificate")
		f("a.partner.test", nobody, "client didn't provide a certificate")
		f("partner.test", staff, "unknown authority")
		f("maybe.test", nobody, "full")
		f("maybe.test", good, "full")
		f("maybe.test", staff, "unknown authority")
		f("staff.test", staff, "full")
		f("staff.test", good, "unknown authority")

		session := func(from, to string, i issued, want string) {
			t.Helper()
			memory := &oneSession{}
			b.expects(b.client(from, i, version, memory), "full")
			b.expects(b.client(to, i, version, memory), want)
		}
		session("open.test", "open.test", nobody, "resumed")
		session("open.test", "cdn.test", nobody, "resumed")
		session("maybe.test", "maybe.test", nobody, "resumed")
		session("maybe.test", "maybe.test", good, "resumed")
		session("partner.test", "partner.test", good, "resumed")
		session("partner.test", "a.partner.test", good, "resumed")

		session("open.test", "maybe.test", nobody, "full")
		session("open.test", "maybe.test", good, "full")
		session("maybe.test", "open.test", good, "full")
		session("open.test", "partner.test", nobody, "client didn't provide a certificate")
		session("maybe.test", "partner.test", nobody, "client didn't provide a certificate")
		session("maybe.test", "partner.test", good, "full")
		session("partner.test", "maybe.test", good, "full")
		session("partner.test", "open.test", good, "full")
		session("partner.test", "staff.test", good, "unknown authority")
	}
}

// TestClientCertsWithoutName: who sends no name, or an address, has the rule for all others.
func TestClientCertsWithoutName(t *testing.T) {
	b := newByName(t)
	for _, name := range []string{"", "127.0.0.1"} {
		c := b.client(name, issued{}, tls.VersionTLS13, nil)
		c.InsecureSkipVerify = true
		b.expects(c, "full")
	}
	r := newByName(t)
	r.Terminator = openAt(t, r.clock, Options{
		Certificates: r.store.options(),
		ClientCerts:  []ClientCerts{{CAFile: filepath.Join(r.dir, "ca.pem")}, {Names: []string{"open.test"}, CAFile: filepath.Join(r.dir, "ca.pem"), Mode: Request}},
	})
	for name, want := range map[string]string{"": "didn't provide", "other.test": "didn't provide", "open.test": "full"} {
		c := r.client(name, issued{}, tls.VersionTLS13, nil)
		c.InsecureSkipVerify = true
		r.expects(c, want)
	}
}

// TestClientCertsLostHook: who serves with the config and loses GetConfigForClient lets nobody in who would have had to show more.
func TestClientCertsLostHook(t *testing.T) {
	b := newByName(t)
	lost := b.Config().Clone()
	lost.GetConfigForClient = nil
	f := func(name, want string) {
		t.Helper()
		s := shake(lost, b.client(name, b.ca.client(t, "good"), tls.VersionTLS13, nil))
		if got := fmt.Sprint(s.serverErr); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	f("partner.test", errMissing.Error())
	f("A.Partner.test", errMissing.Error())
	f("staff.test", errMissing.Error())
	f("open.test", "<nil>")
}

// TestClientCertsHiddenName: with ECH it is the name inside that counts, and neither way round does the one outside.
func TestClientCertsHiddenName(t *testing.T) {
	b := newByName(t)
	list := b.ech.files.value[0].List()
	good := b.ca.client(t, "good")
	f := func(name string, i issued, want string) {
		t.Helper()
		c := b.client(name, i, 0, nil)
		c.EncryptedClientHelloConfigList = list
		b.expects(c, want)
	}
	f("partner.test", issued{}, "client didn't provide a certificate")
	f("partner.test", good, "full")
	f("open.test", issued{}, "full")
	f("staff.test", good, "unknown authority")

	// A session from inside does not get past the rule of the name outside, nor the other way round.
	memory := &oneSession{}
	c := b.client("open.test", issued{}, 0, memory)
	c.EncryptedClientHelloConfigList = list
	b.expects(c, "full")
	b.expects(c, "resumed")
	b.expects(b.client("partner.test", issued{}, 0, memory), "client didn't provide a certificate")
	b.expects(b.client("maybe.test", issued{}, 0, memory), "full")

	// A client with an old key is asked by the rule of the public name, and gets in with the new one.
	c = b.client("partner.test", good, 0, nil)
	c.EncryptedClientHelloConfigList = newECHKey(t, "cdn.test").List()
	s := shake(b.Config(), c)
	var rejected *tls.ECHRejectionError
	if !errors.As(s.clientErr, &rejected) || !bytes.Equal(rejected.RetryConfigList, list) || len(s.server.PeerCertificates) > 0 {
		t.Errorf("a client with an old key: %v", s.clientErr)
	}
}

// TestClientCertsReload: each rule follows its own files.
func TestClientCertsReload(t *testing.T) {
	b := newByName(t)
	next := newAuthority(t, "next")
	f := func(name string, i issued, want string) {
		t.Helper()
		b.expects(b.client(name, i, tls.VersionTLS13, nil), want)
	}
	f("staff.test", b.staff.client(t, "old"), "full")
	write(t, b.dir, "staff.pem", next.pem())
	b.look()
	b.logged("the authorities of TLS clients are replaced & staff.pem")
	f("staff.test", b.staff.client(t, "old"), "unknown authority")
	f("staff.test", next.client(t, "new"), "full")
	f("partner.test", b.ca.client(t, "good"), "full")
	f("partner.test", next.client(t, "new"), "unknown authority")
}

// TestNameRulesOf: rules are of interest to a server only if they differ.
func TestNameRulesOf(t *testing.T) {
	b := newByName(t)
	if r := b.NameRules(); r == nil || r.OfServerName("staff.test") != 3 {
		t.Errorf("rules that differ: %v", r)
	}
	ca := filepath.Join(b.dir, "ca.pem")
	if r := openAt(t, b.clock, Options{Certificates: b.store.options(), ClientCerts: []ClientCerts{{CAFile: ca}}}).NameRules(); r != nil {
		t.Errorf("one rule for all: %v", r)
	}
	if r := openAt(t, b.clock, Options{Certificates: b.store.options()}).NameRules(); r != nil {
		t.Errorf("no rule: %v", r)
	}
}
