package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sluice/proxy"
)

// What clients are refused with.
var (
	ErrNoCertificate = &proxy.Error{Status: 403, Code: "client_certificate_required", Side: proxy.ByClient,
		Detail: "A client certificate is needed here, and none was shown when the connection was made."}
	ErrCertificate = &proxy.Error{Status: 403, Code: "client_certificate_refused", Side: proxy.ByClient,
		Detail: "The client certificate is not one of those that are accepted here."}
)

// ClientCert admits clients by the certificate that they have shown. It is verified by then; a listener that asks for
// certificates does that, and no other has any. Immutable and safe for concurrent use; a check allocates nothing.
type ClientCert struct {
	names  []string // of DNS: in lower case, exact or *.example.com
	others []string // addresses, URIs and mail addresses, to the letter
	keys   [][sha256.Size]byte
}

// NewClientCert admits certificates that have one of the names and one of the keys; an empty list admits any. A name is a
// subject alternative name: of DNS, where "*.example.com" stands for one label, an address, a URI or a mail address. A key is the
// SHA-256 of a public key in base64, as it is pinned (RFC 7469 section 2.4).
func NewClientCert(names, keys []string) (*ClientCert, error) {
	g := &ClientCert{}
	for _, name := range names {
		if name == "" || name == "*." {
			return nil, fmt.Errorf("%q is no name that a certificate has", name)
		}
		if addr, err := netip.ParseAddr(name); err == nil {
			g.others = append(g.others, addr.String())
		} else if strings.ContainsAny(name, ":@/") {
			g.others = append(g.others, name)
		} else {
			g.names = append(g.names, strings.ToLower(name))
		}
	}
	for _, key := range keys {
		b, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("%q is no SHA-256 in base64, of 44 characters", key)
		}
		g.keys = append(g.keys, [sha256.Size]byte(b))
	}
	return g, nil
}

// Check returns nil, ErrNoCertificate or ErrCertificate. A client that is admitted has the certificate's identity, unless it has
// another one already.
func (g *ClientCert) Check(x *proxy.Exchange) error {
	c := x.Client.Certificate
	switch {
	case c == nil:
		return ErrNoCertificate
	case len(g.names)+len(g.others) > 0 && !slices.ContainsFunc(c.Names, g.named) && !slices.ContainsFunc(c.Others, g.isOther):
		return ErrCertificate
	case len(g.keys) > 0 && !slices.Contains(g.keys, c.SPKI):
		return ErrCertificate
	}
	if x.Identity == nil { // a token says more about who calls than the machine that brings it
		x.Identify(c.Identity, false)
	}
	return nil
}

func (g *ClientCert) isOther(name string) bool { return slices.Contains(g.others, name) }

// named reports whether a DNS name of a certificate is one of those that are admitted.
func (g *ClientCert) named(name string) bool {
	for _, want := range g.names {
		if strings.EqualFold(name, want) {
			return true
		}
		if rest, ok := strings.CutPrefix(want, "*."); ok {
			label, parent, found := strings.Cut(name, ".")
			if found && strings.EqualFold(parent, rest) && label != "*" {
				return true
			}
		}
	}
	return false
}
