package tlsterm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

const (
	selfSigned = "self-signed" // in place of a file's name
	// selfSignedFor is below the 825 days beyond which some clients refuse a certificate, however it is trusted.
	selfSignedFor = 365 * 24 * time.Hour
	// selfSignedSkew lets clients with a slow clock in.
	selfSignedSkew = time.Hour
)

// makeSelfSigned makes a certificate for development, and its key, which never leaves the process.
func makeSelfSigned(hosts []string, now time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key for a self-signed certificate: %w", err)
	}
	var serial [16]byte
	rand.Read(serial[:])
	serial[0] &= 0x7f // positive, and not more than 20 bytes (RFC 5280 section 4.1.2.2)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]), Subject: pkix.Name{CommonName: "Sluice, for development"},
		NotBefore: now.Add(-selfSignedSkew), NotAfter: now.Add(selfSignedFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, strings.ToLower(host))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a self-signed certificate for %v: %w", hosts, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot make a self-signed certificate for %v: %w", hosts, err)
	}
	return newPair([]*x509.Certificate{c}, key, selfSigned), nil
}
