package proxy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
)

// Certificate is one that a client has shown, and whose chain was verified when its connection was made. It is made once for a
// connection; immutable.
type Certificate struct {
	Leaf *x509.Certificate
	// Field is the value of Client-Cert: the certificate as a byte sequence of structured fields (RFC 9440 section 2.2).
	Field string
	// SPKI is the SHA-256 of the public key (RFC 7469 section 2.4).
	SPKI [sha256.Size]byte
	// Names are its subject alternative names of DNS (RFC 5280 section 4.2.1.6), Others its addresses, URIs and mail addresses.
	Names, Others []string
	// Fingerprint is the SHA-256 of the certificate, which tokens are bound to it by (RFC 8705 section 3.1).
	Fingerprint [sha256.Size]byte
	// Identity is whom it stands for: every certificate is another client, whatever it says.
	Identity *Identity
}

// NewCertificate takes what is of interest out of a verified certificate.
func NewCertificate(leaf *x509.Certificate) *Certificate {
	c := &Certificate{
		Leaf: leaf, SPKI: sha256.Sum256(leaf.RawSubjectPublicKeyInfo), Fingerprint: sha256.Sum256(leaf.Raw),
		Field: ":" + base64.StdEncoding.EncodeToString(leaf.Raw) + ":",
	}
	c.Names = leaf.DNSNames
	c.Others = append(c.Others, leaf.EmailAddresses...)
	for _, ip := range leaf.IPAddresses {
		c.Others = append(c.Others, ip.String())
	}
	for _, u := range leaf.URIs {
		c.Others = append(c.Others, u.String())
	}
	c.Identity = NewIdentity("client_cert", leaf.Issuer.String(), hex.EncodeToString(c.Fingerprint[:]), nil)
	return c
}
