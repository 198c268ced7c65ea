package tlsterm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
)

// table says which certificate is for whom. It is immutable.
type table struct {
	exact     map[string]choice
	wildcards map[string]choice // "*.example.com" as "example.com"
	addresses map[netip.Addr]choice
	first     choice // for those who ask for none of these
	infos     []Info
	awaited   []string // names whose certificate is ordered and not there yet
}

// choice is what there is for one name: at most one certificate of each kind of key, the cheapest first.
type choice [kinds]*tls.Certificate

const (
	isECDSA = iota
	isEd25519
	isRSA
	kinds
)

func kindOf(c *tls.Certificate) int {
	switch c.Leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return isECDSA
	case ed25519.PublicKey:
		return isEd25519
	}
	return isRSA
}

// newTable may be of no pair at all, while certificates are ordered. Where two have the same name and the same kind of key, the first one counts.
// awaited are the names of the latter: a certificate for other names would only mislead who asks for one of them.
func newTable(pairs []*pair, awaited ...string) *table {
	t := &table{exact: map[string]choice{}, wildcards: map[string]choice{}, addresses: map[netip.Addr]choice{}, awaited: awaited}
	for _, p := range pairs {
		t.infos = append(t.infos, p.info)
		for _, name := range p.Leaf.DNSNames {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if parent, ok := strings.CutPrefix(name, "*."); ok {
				offer(t.wildcards, parent, &p.Certificate)
			} else {
				offer(t.exact, name, &p.Certificate)
			}
		}
		for _, ip := range p.Leaf.IPAddresses {
			if a, ok := netip.AddrFromSlice(ip); ok {
				offer(t.addresses, a.Unmap(), &p.Certificate)
			}
		}
	}
	for _, name := range awaited {
		name = strings.ToLower(name)
		if _, ok := t.named(name); !ok { // nor by a wildcard
			t.exact[name] = choice{}
		}
	}
	if len(pairs) > 0 {
		t.first = t.beside(pairs[0])
	}
	return t
}

func offer[K comparable](m map[K]choice, key K, c *tls.Certificate) {
	choice, kind := m[key], kindOf(c)
	if choice[kind] == nil {
		choice[kind] = c
		m[key] = choice
	}
}

// beside returns the certificates of the first pair's first name. The pair itself is among them: it comes first.
func (t *table) beside(first *pair) choice {
	if len(first.Leaf.DNSNames) > 0 {
		if c, ok := t.named(first.Leaf.DNSNames[0]); ok {
			return c
		}
	}
	if len(first.Leaf.IPAddresses) > 0 {
		if a, ok := netip.AddrFromSlice(first.Leaf.IPAddresses[0]); ok {
			return t.addresses[a.Unmap()]
		}
	}
	var c choice
	c[kindOf(&first.Certificate)] = &first.Certificate
	return c
}

// certificate is tls.Config.GetCertificate. Where it returns none, the client is told that its name is not known here (alert
// unrecognized_name, RFC 6066 section 3). It allocates nothing unless there are two kinds of keys to choose from.
func (t *table) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return t.find(hello).pick(hello), nil
}

func (t *table) find(hello *tls.ClientHelloInfo) choice {
	if hello.ServerName == "" {
		if c, ok := t.addresses[localAddr(hello.Conn)]; ok {
			return c
		}
	} else if c, ok := t.named(hello.ServerName); ok {
		return c
	}
	return t.first
}

// hostBytesMax is the longest name there is (RFC 1035 section 2.3.4, without the encoding).
const hostBytesMax = 253

// named looks for an exact name and then for a wildcard, which stands for one label (RFC 9525 section 6.3). Case makes no
// difference (RFC 4343). The name is lowered on the stack, and a map finds a string that is made of bytes without making it.
func (t *table) named(name string) (choice, bool) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > hostBytesMax {
		return choice{}, false
	}
	var buf [hostBytesMax]byte
	lower := buf[:copy(buf[:], name)]
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	if c, ok := t.exact[string(lower)]; ok {
		return c, true
	}
	dot := bytes.IndexByte(lower, '.')
	if dot <= 0 {
		return choice{}, false
	}
	c, ok := t.wildcards[string(lower[dot+1:])]
	return c, ok
}

// localAddr is the address that the client has connected to: a client that was given an address sends no name
// (RFC 6066 section 3). It is the zero Addr for what is no IP connection.
func localAddr(conn net.Conn) netip.Addr {
	if conn == nil {
		return netip.Addr{}
	}
	if a, ok := conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok { // TCP and UDP, whoever wraps them
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// pick returns the first certificate that the client can verify, or the last one if it can verify none: the handshake
// then ends with the alert that says so.
func (c choice) pick(hello *tls.ClientHelloInfo) *tls.Certificate {
	var only *tls.Certificate
	for _, one := range c {
		if one == nil {
			continue
		}
		if only != nil {
			return c.supported(hello)
		}
		only = one
	}
	return only
}

func (c choice) supported(hello *tls.ClientHelloInfo) *tls.Certificate {
	// Without the name: which certificate it is for is decided, and the default one is for any.
	nameless := *hello
	nameless.ServerName = ""
	var last *tls.Certificate
	for _, one := range c {
		if one == nil {
			continue
		}
		if last = one; nameless.SupportsCertificate(one) == nil {
			break
		}
	}
	return last
}
