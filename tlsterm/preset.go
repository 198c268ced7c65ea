package tlsterm

import (
	"crypto/tls"
	"fmt"
)

// Preset is a choice of protocol versions and cipher suites, after Mozilla's guidelines for servers
// (https://wiki.mozilla.org/Security/Server_Side_TLS).
type Preset uint8

const (
	Intermediate Preset = iota // TLS 1.2 and 1.3: nearly every client of the last ten years
	Modern                     // TLS 1.3 alone (RFC 8446)
)

// String is the word for a preset.
func (p Preset) String() string {
	switch p {
	case Intermediate:
		return "intermediate"
	case Modern:
		return "modern"
	}
	return fmt.Sprintf("Preset(%d)", uint8(p))
}

// suites are those of TLS 1.2 in the intermediate preset that crypto/tls has: ephemeral keys and authenticated
// encryption, no CBC and no RSA key exchange (RFC 9325 section 4.2). Mozilla's list has DHE-RSA besides, for clients
// without elliptic curves. The suites of TLS 1.3 are not a choice in crypto/tls: all three are good.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// curves are the key exchanges, of which the first is safe against a recording that is broken with a quantum computer
// later. crypto/tls takes this as a set and has the same order of preference itself.
var curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// allows refuses versions below TLS 1.2 (RFC 8996), and those that contradict the preset.
func (p Preset) allows(minVersion uint16) error {
	switch {
	case minVersion == 0 || minVersion == tls.VersionTLS13 || minVersion == tls.VersionTLS12 && p == Intermediate:
		return nil
	case minVersion == tls.VersionTLS12:
		return fmt.Errorf("the preset %v is TLS 1.3 alone: a minimum of %s contradicts it", p, tls.VersionName(minVersion))
	}
	return fmt.Errorf("the minimum version is %s, and only TLS 1.2 and TLS 1.3 can be", tls.VersionName(minVersion))
}

// config returns what the preset says, and minVersion if that is not 0.
func (p Preset) config(minVersion uint16) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites, CurvePreferences: curves}
	if p == Modern {
		c.MinVersion = tls.VersionTLS13
	}
	if minVersion != 0 {
		c.MinVersion = minVersion
	}
	return c
}
