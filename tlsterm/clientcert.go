package tlsterm

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ClientCerts say what is asked of a client's certificate, when it asks for one of the names.
type ClientCerts struct {
	Names   []string   // hosts, "*.example.com" for all below one; none: every name that no other entry has, and no name
	CAFile  string     // PEM: the authorities that are trusted
	CRLFile string     // PEM or DER: what they have revoked; empty: nothing is looked up
	Mode    ClientMode // the zero value is Require, the stricter one
}

// ClientMode says whether a client may come without a certificate. One that does not verify is refused in any mode.
type ClientMode uint8

const (
	Require ClientMode = iota // a client without a certificate is refused
	Request                   // a client may come without
)

// String is the word for a mode.
func (m ClientMode) String() string {
	switch m {
	case Require:
		return "require"
	case Request:
		return "request"
	}
	return fmt.Sprintf("ClientMode(%d)", uint8(m))
}

func clientCertsProblems(all []ClientCerts) (list []Problem) {
	seen := map[string]bool{}
	for i, o := range all {
		wrong := func(format string, args ...any) {
			list = append(list, Problem{Source: noSource, Part: PartClientCerts, Index: i, Err: fmt.Errorf(format, args...)})
		}
		if o.CAFile == "" {
			wrong("client certificates need the authorities that are trusted: there is no CA file")
		}
		if o.Mode > Request {
			wrong("there is no mode %v of client certificates", o.Mode)
		}
		names := o.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			name = strings.ToLower(name)
			if _, err := netip.ParseAddr(name); name != "" && (err == nil || !isHost(name)) {
				wrong("%q is no host name: no client asks for it", name)
			}
			switch {
			case seen[name] && name == "":
				wrong("client certificates of all other names are asked for twice")
			case seen[name]:
				wrong("client certificates for %s are asked for twice", name)
			}
			seen[name] = true
		}
	}
	return list
}

// clientRules choose by the name that a client asks for. look is for one goroutine at a time.
type clientRules struct {
	names *NameRules
	list  []*clients
	open  *tls.Config // for names that no certificate is asked for
}

// newClientRules reads the files. base is what handshakes are made with apart from the authorities; it is not changed any more.
func newClientRules(set string, list []ClientCerts, base *tls.Config, now func() time.Time) (*clientRules, error) {
	r := &clientRules{names: NewNameRules(list), open: base.Clone()}
	for _, o := range list {
		c, err := newClients(set, o, base.Clone(), now)
		if err != nil {
			return nil, err
		}
		r.list = append(r.list, c)
	}
	bindSessions(r.open, openLabel, func(_, _ []byte) bool { return true }) // one with certificates did not begin here
	return r, nil
}

// config is what servers are given. Whoever loses GetConfigForClient on the way still asks for certificates, or lets nobody in who
// has to show one.
func (r *clientRules) config() *tls.Config {
	config := r.open.Clone()
	if !r.names.named {
		config = r.list[0].current.Load().config.Clone()
	}
	config.VerifyConnection = r.verify
	config.GetConfigForClient = r.configForClient
	return config
}

// configForClient is tls.Config.GetConfigForClient: a request for a certificate names the authorities, and crypto/tls verifies
// with them. The config is made when they are read, not per handshake; its tickets are those of all others, see tickets. With ECH,
// the name is the one inside.
func (r *clientRules) configForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if rule := r.names.OfServerName(hello.ServerName); rule > 0 {
		return r.list[rule-1].current.Load().config, nil
	}
	return r.open, nil
}

// verify is tls.Config.VerifyConnection of whoever has not asked configForClient.
func (r *clientRules) verify(state tls.ConnectionState) error {
	if rule := r.names.OfServerName(state.ServerName); rule > 0 {
		return r.list[rule-1].verify(state)
	}
	return nil
}

func (r *clientRules) look() {
	for _, c := range r.list {
		c.look()
	}
}

// clients verify the certificates of clients by what is current. look is for one goroutine at a time.
type clients struct {
	ClientCerts
	set     string
	now     func() time.Time
	base    *tls.Config // without ClientCAs
	files   watched[*authorities]
	current atomic.Pointer[trust]
	told    map[*revocations]bool // to have expired
}

// trust is what handshakes are made with until the files change.
type trust struct {
	*authorities
	config *tls.Config
}

// authorities are what the two files hold. They are immutable.
type authorities struct {
	certificates []*x509.Certificate
	pool         *x509.CertPool
	known        map[[sha256.Size]byte]bool // hashes of the certificates
	revocations  map[string][]*revocations  // by the encoded name of their issuer
}

const (
	authoritiesMax = 1000
	// subjectBytesMax is what a request for a certificate has room for: it lists the names of all authorities, in 16 bits of
	// bytes together with the rest (RFC 8446 section 4.2.4).
	subjectBytesMax = 60_000
)

var (
	errNoAuthority = errors.New("it holds no certificate of an authority")
	errUnverified  = errors.New("the client's certificate is of no authority that is trusted now")
	errMissing     = errors.New("the client has no certificate")
)

// newClients reads the files. base is what handshakes are made with apart from the authorities; it is not changed any more.
func newClients(set string, o ClientCerts, base *tls.Config, now func() time.Time) (*clients, error) {
	c := &clients{ClientCerts: o, set: set, now: now, base: base}
	c.files.files = []string{c.CAFile}
	if c.CRLFile != "" {
		c.files.files = append(c.files.files, c.CRLFile)
	}
	base.ClientAuth = tls.RequireAndVerifyClientCert
	if c.Mode == Request {
		base.ClientAuth = tls.VerifyClientCertIfGiven
	}
	base.VerifyConnection = c.verify
	bindSessions(base, c.label(), c.revoked)
	var err error
	c.lookAt(func(e error) { err = e })
	return c, err
}

// openLabel is that of names that no certificate is asked for.
const openLabel = "-"

// label tells the sessions of one rule from those of another, on all hosts that have the same.
func (o ClientCerts) label() string {
	names := slices.Clone(o.Names)
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	slices.Sort(names)
	return "for " + strings.Join(names, " ")
}

// bindSessions makes sessions end in two cases, so that a full handshake follows, in which a client shows what it has now.
//
// One is another rule than they began with. A client that was not asked for a certificate would not be asked by a rule that
// requests one, and crypto/tls resumes the session of one name for any other.
//
// The other is that a certificate of theirs is revoked. verify alone would shut out a client whose certificate was revoked and
// replaced, for as long as it kept the ticket, since a handshake that resumes can only go on or fail.
func bindSessions(base *tls.Config, label string, revoked func(serial, issuer []byte) bool) {
	wrap, unwrap := base.WrapSession, base.UnwrapSession
	base.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		s.Extra = [][]byte{[]byte(label)} // what is there is of the session before: nobody else uses it
		if len(cs.VerifiedChains) > 0 {
			for _, certificate := range cs.VerifiedChains[0] {
				s.Extra = append(s.Extra, certificate.SerialNumber.Bytes(), certificate.RawIssuer)
			}
		}
		return wrap(cs, s)
	}
	base.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		s, err := unwrap(ticket, cs)
		if s == nil || err != nil {
			return s, err
		}
		if len(s.Extra) == 0 || string(s.Extra[0]) != label {
			return nil, nil
		}
		for i := 1; i+1 < len(s.Extra); i += 2 {
			if revoked(s.Extra[i], s.Extra[i+1]) {
				return nil, nil
			}
		}
		return s, nil
	}
}

// revoked reports whether the lists that are current have a certificate.
func (c *clients) revoked(serial, issuer []byte) bool {
	return slices.ContainsFunc(c.current.Load().revocations[string(issuer)], func(r *revocations) bool { return r.serials[string(serial)] })
}

func (c *clients) look() {
	c.lookAt(func(err error) {
		slog.Error("the authorities of TLS clients cannot be read, what was in force stays", "tls", c.set, "error", err)
	})
}

func (c *clients) lookAt(failed func(error)) {
	changed, err := c.files.look(func() (*authorities, error) { return readAuthorities(c.CAFile, c.CRLFile) })
	if err != nil {
		failed(err)
	}
	if changed {
		if c.current.Load() != nil {
			slog.Info("the authorities of TLS clients are replaced", "tls", c.set, "file", c.CAFile)
		}
		c.publish(c.files.value)
	}
	if c.files.value != nil {
		c.tellExpired(c.files.value)
	}
}

func (c *clients) publish(a *authorities) {
	config := c.base.Clone()
	config.ClientCAs = a.pool
	c.current.Store(&trust{a, config})
	c.told = map[*revocations]bool{}
}

func (c *clients) tellExpired(a *authorities) {
	for _, lists := range a.revocations {
		for _, r := range lists {
			if err := r.expired(c.now()); err != nil && !c.told[r] {
				c.told[r] = true
				slog.Error("a revocation list has expired: clients whose certificates it is for are refused", "tls", c.set,
					"file", c.CRLFile, "issuer", r.issuer, "error", err)
			}
		}
	}
}

// verify is tls.Config.VerifyConnection, which is called for full handshakes, after the chains were verified, and for resumed
// ones, which have the chains of long ago. VerifyPeerCertificate is not called for the latter: a client whose certificate is
// revoked would come in for as long as tickets live.
func (c *clients) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		if c.Mode == Request {
			return nil
		}
		return errMissing
	}
	err := errUnverified
	current, now := c.current.Load(), c.now()
	for _, chain := range state.VerifiedChains {
		if err = current.admits(chain, now); err == nil {
			return nil
		}
	}
	return err
}

// admits says why a chain, whose signatures were verified, does not count now. One that does is enough.
func (a *authorities) admits(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 || !a.known[sha256.Sum256(chain[len(chain)-1].Raw)] {
		return errUnverified
	}
	for _, c := range chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return fmt.Errorf("the certificate %x of %s in the client's chain is valid from %s to %s", c.SerialNumber, c.Issuer,
				c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
		if err := a.revoked(c, now); err != nil {
			return err
		}
	}
	return nil
}

// readAuthorities reads the authorities and, unless crlFile is empty, what they have revoked. Its errors are faults.
func readAuthorities(caFile, crlFile string) (*authorities, error) {
	data, err := readFile(caFile, pemBytesMax)
	if err != nil {
		return nil, err
	}
	a, err := parseAuthorities(data)
	if err != nil {
		return nil, &fault{caFile, err}
	}
	if crlFile == "" {
		return a, nil
	}
	if data, err = readFile(crlFile, crlBytesMax); err != nil {
		return nil, err
	}
	if a.revocations, err = parseRevocations(data, a.certificates); err != nil {
		return nil, &fault{crlFile, err}
	}
	return a, nil
}

func parseAuthorities(data []byte) (*authorities, error) {
	list, blocks, err := parseCertificates(data, authoritiesMax)
	switch {
	case err != nil:
		return nil, err
	case blocks == 0:
		return nil, errors.New("it is not PEM, or empty")
	case len(list) == 0:
		return nil, errNoAuthority
	}
	a := &authorities{certificates: list, pool: x509.NewCertPool(), known: map[[sha256.Size]byte]bool{}}
	size := 0
	for _, c := range list {
		a.pool.AddCert(c)
		a.known[sha256.Sum256(c.Raw)] = true
		size += 2 + len(c.RawSubject)
	}
	if size > subjectBytesMax {
		return nil, fmt.Errorf("the names of its %d authorities take %d bytes, and a handshake has room for %d",
			len(list), size, subjectBytesMax)
	}
	return a, nil
}
