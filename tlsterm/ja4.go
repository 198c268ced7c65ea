package tlsterm

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// JA4 is the fingerprint of the software that has sent a ClientHello over TCP (FoxIO's JA4, technical details in
// github.com/FoxIO-LLC/ja4): which versions, ciphers, extensions and signature algorithms it offers, whatever their order and its
// random values. Clients that are the same program of the same version share one; nobody has proven anything with it.
func JA4(h *tls.ClientHelloInfo) string { return ja4('t', h) }

// JA4QUIC is the same for a ClientHello that came over QUIC.
func JA4QUIC(h *tls.ClientHelloInfo) string { return ja4('q', h) }

func ja4(transport byte, h *tls.ClientHelloInfo) string {
	ciphers := withoutGREASE(h.CipherSuites)
	extensions := withoutGREASE(h.Extensions)
	a := fmt.Sprintf("%c%s%s%02d%02d%s", transport, ja4Version(h), ja4Name(h), min(len(ciphers), 99), min(len(extensions), 99), ja4Protocol(h))

	slices.Sort(ciphers)
	b := ja4Hash(hexList(ciphers))

	const serverName, alpn = 0x0000, 0x0010 // are in the first part
	extensions = slices.DeleteFunc(extensions, func(e uint16) bool { return e == serverName || e == alpn })
	slices.Sort(extensions)
	c := hexList(extensions)
	if schemes := withoutGREASE(h.SignatureSchemes); len(schemes) > 0 {
		c += "_" + hexList(schemes) // in the order of the client
	}
	if len(extensions) == 0 {
		c = ""
	}
	return a + "_" + b + "_" + ja4Hash(c)
}

// withoutGREASE leaves out the values that clients make up so that servers pass over what they do not know (RFC 8701).
func withoutGREASE[T ~uint16](list []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff })
}

func ja4Version(h *tls.ClientHelloInfo) string {
	versions := withoutGREASE(h.SupportedVersions)
	if len(versions) == 0 {
		return "00"
	}
	switch slices.MaxFunc(versions, cmp.Compare[uint16]) {
	case tls.VersionTLS13:
		return "13"
	case tls.VersionTLS12:
		return "12"
	case tls.VersionTLS11:
		return "11"
	case tls.VersionTLS10:
		return "10"
	}
	return "00"
}

// ja4Name tells a domain from an address.
func ja4Name(h *tls.ClientHelloInfo) string {
	if h.ServerName == "" {
		return "i"
	}
	return "d"
}

// ja4Protocol is the first and the last character of the first protocol of ALPN, or of its hexadecimal form.
func ja4Protocol(h *tls.ClientHelloInfo) string {
	if len(h.SupportedProtos) == 0 || h.SupportedProtos[0] == "" {
		return "00"
	}
	p := h.SupportedProtos[0]
	if !alphanumeric(p[0]) || !alphanumeric(p[len(p)-1]) {
		p = hex.EncodeToString([]byte(p))
	}
	return p[:1] + p[len(p)-1:]
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// hexList writes values in four hexadecimal digits, with commas.
func hexList[T ~uint16](list []T) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%04x", uint16(v))
	}
	return b.String()
}

// ja4Hash is the first twelve digits of the SHA-256, zeros for nothing.
func ja4Hash(s string) string {
	if s == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
