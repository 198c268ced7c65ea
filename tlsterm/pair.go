package tlsterm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/tlsterm/ocsp"
)

// pair is a certificate with its chain and the key that belongs to it. It is immutable.
type pair struct {
	tls.Certificate
	chain   []*x509.Certificate // leaf first
	info    Info
	subject *ocsp.Subject // nil: there is nobody to ask whether it is revoked
}

// Info is what metrics and the admin API show of a certificate.
type Info struct {
	Names      []string // host names and addresses it is for
	Source     string   // its file, or "self-signed"
	NotBefore  time.Time
	NotAfter   time.Time
	Algorithm  string // of its key, such as "ECDSA P-256"
	SelfSigned bool
	Serial     string // hexadecimal, without leading zeros
	// Responder is where OCSP answers come from that are sent along; empty: none are. StapledUntil is zero while there is no answer.
	Responder    string
	StapledUntil time.Time
}

// chainMax is how many certificates a chain may have. Four are common, and clients stop at about ten.
const chainMax = 10

// rsaBitsMin is what clients and the rules for public authorities ask for (RFC 9325 section 4.5).
const rsaBitsMin = 2048

var (
	errNoKey         = errors.New("it holds no private key")
	errNoCertificate = errors.New("it holds no certificate")
)

// readPair reads a chain and its key, which is in the same file if keyFile is empty. Its errors are faults.
func readPair(certFile, keyFile string) (*pair, error) {
	certPEM, err := readFile(certFile, pemBytesMax)
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(certPEM)
	if err != nil {
		return nil, &fault{certFile, err}
	}
	keyPEM, inFile := certPEM, certFile
	if keyFile != "" {
		inFile = keyFile
		if keyPEM, err = readFile(keyFile, pemBytesMax); err != nil {
			return nil, err
		}
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, &fault{inFile, err}
	}
	if !belongs(key, chain[0]) {
		return nil, &fault{inFile, fmt.Errorf("the private key does not belong to the certificate in %s", certFile)}
	}
	return newPair(chain, key, certFile), nil
}

func newPair(chain []*x509.Certificate, key crypto.Signer, source string) *pair {
	leaf := chain[0]
	p := &pair{Certificate: tls.Certificate{PrivateKey: key, Leaf: leaf}, chain: chain, subject: subjectOf(chain)}
	for _, c := range chain {
		p.Certificate.Certificate = append(p.Certificate.Certificate, c.Raw)
	}
	p.info = Info{
		Names: namesOf(leaf), Source: source, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		Algorithm: algorithm(leaf.PublicKey), SelfSigned: isSelfSigned(leaf), Serial: leaf.SerialNumber.Text(16),
	}
	return p
}

func namesOf(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func isSelfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) &&
		c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func algorithm(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	}
	return fmt.Sprintf("%T", public)
}

// parseChain reads the certificates of a PEM file. Whatever else is in it does not matter.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	chain, blocks, err := parseCertificates(data, chainMax)
	switch {
	case err != nil:
		return nil, err
	case blocks == 0:
		return nil, errors.New("it is not PEM")
	case len(chain) == 0:
		return nil, errNoCertificate
	}
	return chain, usable(chain[0])
}

// parseCertificates returns the certificates of a PEM file, of which there must not be more than most, and how many blocks of
// any type it has.
func parseCertificates(data []byte, most int) (list []*x509.Certificate, blocks int, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return list, blocks, nil
		}
		blocks++
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(list) == most {
			return nil, blocks, fmt.Errorf("it holds more than %d certificates", most)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, blocks, fmt.Errorf("certificate %d cannot be parsed: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
}

// usable refuses certificates that no handshake should be made with, or can be.
func usable(leaf *x509.Certificate) error {
	switch k := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < rsaBitsMin {
			return fmt.Errorf("its RSA key is too weak: it has %d bits, and %d are needed", bits, rsaBitsMin)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return fmt.Errorf("its key is on the curve %s, which TLS does not sign with", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("its key is for %v, which TLS does not sign with", leaf.PublicKeyAlgorithm)
	}
	return nil
}

// parseKey reads the first private key of a PEM file. No error shows anything of what is in it, so that what the parsers of
// crypto/x509 say is not passed on.
func parseKey(data []byte) (crypto.Signer, error) {
	for blocks := 0; ; blocks++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			if blocks == 0 {
				return nil, errors.New("it is not PEM")
			}
			return nil, errNoKey
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, errors.New("the private key is encrypted with a passphrase, which nobody can type here: decrypt it")
		}
		key, ok := parseKeyBytes(block.Bytes)
		if !ok {
			return nil, errors.New("the private key is damaged, or of a kind that TLS does not sign with")
		}
		return key, nil
	}
}

// parseKeyBytes tries the three encodings: the types of the blocks cannot be relied on.
func parseKeyBytes(der []byte) (crypto.Signer, bool) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, ok := key.(crypto.Signer)
		return signer, ok
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, true
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, true
	}
	return nil, false
}

func belongs(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}

// doubts are what clients will not like about a pair, although it can be served.
func (p *pair) doubts(now time.Time) []error {
	var list []error
	if err := p.untimely(now); err != nil {
		list = append(list, err)
	}
	if len(p.info.Names) == 0 {
		list = append(list, errors.New("it has no name: no client can verify it, a common name is none (RFC 9525 section 2)"))
	}
	return list
}

// untimely is nil while the certificate is valid.
func (p *pair) untimely(now time.Time) error {
	switch {
	case now.After(p.Leaf.NotAfter):
		return fmt.Errorf("it expired at %s", p.Leaf.NotAfter.Format(time.RFC3339))
	case now.Before(p.Leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s", p.Leaf.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// disorder is nil if every certificate of the chain is issued by the next one. RFC 8446 section 4.4.2 lets it pass, and
// some clients do not.
func (p *pair) disorder() error {
	for i, c := range p.chain[1:] {
		if p.chain[i].CheckSignatureFrom(c) != nil {
			return fmt.Errorf("certificate %d of the chain did not issue the one before it", i+2)
		}
	}
	return nil
}
