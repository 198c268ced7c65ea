package tlsterm

import (
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudflare/circl/hpke"
	"golang.org/x/crypto/cryptobyte"
)

// ECHKey is a key that clients encrypt the name with that they ask for (RFC 9849). Printing one does not show its private half.
type ECHKey struct {
	PublicName string // what an observer sees in the place of the name
	ID         uint8  // by which a server finds the key, where it looks at it
	config     []byte // an ECHConfig; clients must have it byte for byte
	private    *ecdh.PrivateKey
}

const (
	echVersion = 0xfe0d // of ECHConfig (RFC 9849 section 4)
	echKEM     = hpke.KEM_X25519_HKDF_SHA256
	// echNameLength is up to which length of a name a ClientHello looks like any other: clients pad shorter ones (RFC 9849
	// section 6.1.3). Longer names are padded to steps of 32 bytes.
	echNameLength = 64
)

// echSuites are what clients may choose from: those that every client has, and the hardware of nearly all of them is quick at.
var echSuites = []struct {
	kdf  hpke.KDF
	aead hpke.AEAD
}{
	{hpke.KDF_HKDF_SHA256, hpke.AEAD_AES128GCM},
	{hpke.KDF_HKDF_SHA256, hpke.AEAD_ChaCha20Poly1305},
}

// Format implements fmt.Formatter: no verb shows the private key.
func (k ECHKey) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "ECH key %02x for %s", k.ID, k.PublicName) // f keeps its errors to itself
}

// MarshalText implements encoding.TextMarshaler, for encoders and slog.
func (k ECHKey) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", k), nil }

// NewECHKey makes a key whose ID none of the others has.
func NewECHKey(publicName string, others []ECHFile) (ECHKey, error) {
	if err := validPublicName(publicName); err != nil {
		return ECHKey{}, err
	}
	public, secret, err := echKEM.Scheme().GenerateKeyPair()
	if err != nil {
		return ECHKey{}, fmt.Errorf("cannot make an ECH key: %w", err)
	}
	publicBytes, err := public.MarshalBinary()
	if err != nil {
		return ECHKey{}, fmt.Errorf("cannot make an ECH key: %w", err)
	}
	secretBytes, err := secret.MarshalBinary()
	if err != nil {
		return ECHKey{}, fmt.Errorf("cannot make an ECH key: %w", err)
	}
	k := ECHKey{PublicName: publicName, ID: freeID(others)}
	if k.private, err = ecdh.X25519().NewPrivateKey(secretBytes); err != nil {
		return ECHKey{}, fmt.Errorf("cannot make an ECH key: %w", err)
	}
	if k.config, err = encodeECHConfig(k.ID, publicBytes, publicName); err != nil {
		return ECHKey{}, fmt.Errorf("cannot make an ECH key: %w", err)
	}
	return k, nil
}

// freeID is a random one: what it says about the key to who sees it is nothing.
func freeID(others []ECHFile) uint8 {
	var id [1]byte
	for range 64 { // a folder has a few keys: the first one is free, nearly always
		rand.Read(id[:])
		if !slices.ContainsFunc(others, func(o ECHFile) bool { return o.ID == id[0] }) {
			break
		}
	}
	return id[0]
}

func encodeECHConfig(id uint8, public []byte, publicName string) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint16(echVersion)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(id)
		b.AddUint16(uint16(echKEM))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(public) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, s := range echSuites {
				b.AddUint16(uint16(s.kdf))
				b.AddUint16(uint16(s.aead))
			}
		})
		b.AddUint8(echNameLength)
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(publicName)) })
		b.AddUint16(0) // extensions: there are none yet
	})
	return b.Bytes()
}

// List is the ECHConfigList that the DNS publishes for clients. It holds nothing secret.
func (k ECHKey) List() []byte {
	return append([]byte{byte(len(k.config) >> 8), byte(len(k.config))}, k.config...)
}

// PEM is the key as a file (RFC 9934), which other servers read as well. It holds the private key.
func (k ECHKey) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("cannot encode an ECH key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "ECHCONFIG", Bytes: k.List()})...), nil
}

// parseECHKey reads a file of RFC 9934 with one key and its ECHConfig. As with other keys, no error shows anything of it.
func parseECHKey(data []byte) (k ECHKey, err error) {
	var private, config *pem.Block
	for blocks := 0; ; blocks++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			if blocks == 0 {
				return k, errors.New("it is not PEM")
			}
			break
		}
		into := &config
		switch {
		case block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY"):
			into = &private
		case block.Type != "ECHCONFIG":
			continue
		}
		if *into != nil {
			return k, fmt.Errorf("it holds more than one %s: each key has a file of its own", block.Type)
		}
		*into = block
	}
	switch {
	case private == nil:
		return k, errNoKey
	case config == nil:
		return k, errors.New("it holds no ECHCONFIG: it is no key for ECH, which `sluice ech` makes")
	}
	if k.private, err = parseECHPrivate(private.Bytes); err != nil {
		return k, err
	}
	return k, k.parseList(config.Bytes)
}

// parseECHPrivate wants an X25519 key (RFC 8410).
func parseECHPrivate(der []byte) (*ecdh.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if private, ok := key.(*ecdh.PrivateKey); ok && err == nil && private.Curve() == ecdh.X25519() {
		return private, nil
	}
	if signer, ok := parseKeyBytes(der); ok {
		return nil, fmt.Errorf("its private key is of the wrong kind: ECH takes X25519, and it is %s", algorithm(signer.Public()))
	}
	return nil, errors.New("its private key is damaged, encrypted, or of another kind than X25519")
}

// parseList reads an ECHConfigList of one, which belongs to the private key.
func (k *ECHKey) parseList(data []byte) error {
	damaged := errors.New("its ECHConfigList is damaged")
	list := cryptobyte.String(data)
	var configs, config cryptobyte.String
	var version uint16
	if !list.ReadUint16LengthPrefixed(&configs) || !list.Empty() || len(configs) == 0 {
		return damaged
	}
	k.config = slices.Clone([]byte(configs))
	if !configs.ReadUint16(&version) || !configs.ReadUint16LengthPrefixed(&config) {
		return damaged
	}
	if !configs.Empty() {
		return errors.New("its ECHConfigList holds more than one ECHConfig: each key has a file of its own")
	}
	if version != echVersion {
		return fmt.Errorf("its ECHConfig is of version %#04x, and RFC 9849 is %#04x", version, echVersion)
	}
	var kem uint16
	var public, suites, name, extensions cryptobyte.String
	var nameLength uint8
	if !config.ReadUint8(&k.ID) || !config.ReadUint16(&kem) || !config.ReadUint16LengthPrefixed(&public) ||
		!config.ReadUint16LengthPrefixed(&suites) || !config.ReadUint8(&nameLength) || !config.ReadUint8LengthPrefixed(&name) ||
		!config.ReadUint16LengthPrefixed(&extensions) || !config.Empty() || len(suites) == 0 || len(suites)%4 != 0 {
		return damaged
	}
	for !extensions.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&value) {
			return damaged
		}
	}
	if hpke.KEM(kem) != echKEM {
		return fmt.Errorf("its ECHConfig is of the wrong kind: it names KEM %#04x, and %#04x, X25519, is understood", kem, uint16(echKEM))
	}
	if !k.private.PublicKey().Equal(publicX25519(public)) {
		return errors.New("its private key does not belong to its ECHConfig")
	}
	k.PublicName = string(name)
	if err := validPublicName(k.PublicName); err != nil {
		return fmt.Errorf("its ECHConfig cannot be used: %w", err)
	}
	return nil
}

// publicX25519 is nil for what is no key.
func publicX25519(b []byte) crypto.PublicKey {
	key, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil
	}
	return key
}

// validPublicName wants what clients accept (RFC 9849 section 4): a host name of two labels or more that cannot be taken for an
// address.
func validPublicName(name string) error {
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	if !isHost(name) || strings.ContainsAny(name, "*_:") || len(labels) < 2 || last[0] >= '0' && last[0] <= '9' {
		return fmt.Errorf("%q is no public name: clients want a host name with a dot, such as cdn.example", name)
	}
	return nil
}

// reveal is the private key as crypto/tls wants it.
func (k ECHKey) reveal() []byte { return k.private.Bytes() }
