package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// Key verifies signatures of the algorithms that it is for. Immutable.
type Key struct {
	ID         string
	HasID      bool
	algorithms []Algorithm
	key        any
	print      [sha256.Size]byte // the same exactly if all of the above is
}

// NewSecret returns a key of HMAC. It must be as long as the hash of one of its algorithms at least, which are 32 bytes.
func NewSecret(text []byte) (*Key, error) {
	if len(text) < sha256.Size {
		return nil, fmt.Errorf("the secret has %d bytes; a key of HMAC has %d at least (RFC 7518 section 3.2)", len(text), sha256.Size)
	}
	return newKey("", false, "", secret(slices.Clone(text)), text)
}

// Admits reports whether the key is for an algorithm.
func (k *Key) Admits(a Algorithm) bool { return slices.Contains(k.algorithms, a) }

// Algorithms returns those that the key is for.
func (k *Key) Algorithms() []Algorithm { return slices.Clone(k.algorithms) }

// newKey makes a key for one algorithm, or, if none is named, for all that suit it.
func newKey(id string, hasID bool, only Algorithm, key any, material ...[]byte) (*Key, error) {
	k := &Key{ID: id, HasID: hasID, key: key, algorithms: suits(key)}
	if only != "" {
		if !k.Admits(only) {
			return nil, fmt.Errorf("it says that it is for %.20q, which it cannot be", only)
		}
		k.algorithms = []Algorithm{only}
	}
	h := sha256.New()
	fmt.Fprintf(h, "%t %q %q %T", hasID, id, k.algorithms, key)
	for _, m := range material {
		fmt.Fprintf(h, " %x", m)
	}
	h.Sum(k.print[:0])
	return k, nil
}

// errUnused is of keys that are for something else, which is no fault of theirs.
var errUnused = errors.New("it is not for signatures")

// members of a JWK that were read.
type members struct{ Values }

// text returns a member that has to be a string; "" if it is absent.
func (m members) text(name string) (string, error) {
	v := m.Get(name)
	if v == nil {
		return "", nil
	}
	if v.Kind != String {
		return "", fmt.Errorf("its %s is no string", name)
	}
	return string(v.Text), nil
}

// bytes returns a member that is bytes in base64url. It has to be there.
func (m members) bytes(name string) ([]byte, error) {
	text, err := m.text(name)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, fmt.Errorf("it has no %s", name)
	}
	b, err := decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("its %s is not base64url without padding", name)
	}
	return b, nil
}

// parseKey reads a JWK. Its errors repeat nothing but kinds and names.
func parseKey(text []byte) (*Key, error) {
	values, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	m := members{values}
	if err := m.forSignatures(); err != nil {
		return nil, err
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if m.Get(private) != nil {
			return nil, errors.New("it is a private key: whoever can read it makes tokens of their own")
		}
	}
	var alg, kty string
	if alg, err = m.text("alg"); err != nil {
		return nil, err
	}
	if kty, err = m.text("kty"); err != nil {
		return nil, err
	}
	id, err := m.text("kid")
	if err != nil {
		return nil, err
	}
	if len(id) > keyIDBytesMax {
		return nil, errors.New("its kid is too long")
	}
	key, material, err := m.material(kty, Algorithm(alg))
	if err != nil {
		return nil, err
	}
	return newKey(id, m.Get("kid") != nil, Algorithm(alg), key, material...)
}

// forSignatures wants that neither use nor key_ops says otherwise (RFC 7517 sections 4.2 and 4.3).
func (m members) forSignatures() error {
	use, err := m.text("use")
	if err != nil {
		return err
	}
	if m.Get("use") != nil && use != "sig" {
		return errUnused
	}
	ops := m.Get("key_ops")
	if ops == nil {
		return nil
	}
	if ops.Kind != Array {
		return errors.New("its key_ops is no list")
	}
	var list []string
	if json.Unmarshal(ops.Text, &list) != nil {
		return errors.New("its key_ops is no list of strings")
	}
	if !slices.Contains(list, "verify") {
		return errUnused
	}
	for i, op := range list {
		if op != "verify" && op != "sign" || slices.Contains(list[:i], op) {
			return errors.New("its key_ops mixes signatures with something else")
		}
	}
	return nil
}

// material reads the key itself, and returns its bytes, too.
func (m members) material(kty string, alg Algorithm) (key any, material [][]byte, err error) {
	switch kty {
	case "RSA":
		return m.rsa()
	case "EC":
		return m.ec()
	case "OKP":
		return m.okp()
	case "AKP":
		return m.akp(alg)
	case "oct":
		return nil, nil, errors.New("it is a secret of HMAC, which is accepted from the configuration alone")
	case "":
		return nil, nil, errors.New("it has no kty")
	}
	return nil, nil, fmt.Errorf("its kind %.20q is not supported", kty)
}

func (m members) rsa() (any, [][]byte, error) {
	n, err := m.bytes("n")
	if err != nil {
		return nil, nil, err
	}
	e, err := m.bytes("e")
	if err != nil {
		return nil, nil, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	if len(e) > 4 {
		return nil, nil, errors.New("its exponent is too large")
	}
	for _, b := range e {
		key.E = key.E<<8 | int(b)
	}
	if err := weakRSA(key); err != nil {
		return nil, nil, err
	}
	return key, [][]byte{key.N.Bytes(), e}, nil
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

func (m members) ec() (any, [][]byte, error) {
	name, err := m.text("crv")
	if err != nil {
		return nil, nil, err
	}
	curve := curves[name]
	if curve == nil {
		return nil, nil, fmt.Errorf("its curve %.20q is not supported", name)
	}
	x, err := m.bytes("x")
	if err != nil {
		return nil, nil, err
	}
	y, err := m.bytes("y")
	if err != nil {
		return nil, nil, err
	}
	// RFC 7518 section 6.2.1.2: both are as long as the curve's field, zeros in front included.
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return nil, nil, fmt.Errorf("its coordinates are not of the curve %s", name)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, nil, fmt.Errorf("its point is not on the curve %s", name)
	}
	return key, [][]byte{x, y}, nil
}

func (m members) okp() (any, [][]byte, error) {
	name, err := m.text("crv")
	if err != nil {
		return nil, nil, err
	}
	x, err := m.bytes("x")
	if err != nil {
		return nil, nil, err
	}
	switch {
	case name == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x), [][]byte{x}, nil
	case name == "Ed448" && len(x) == ed448.PublicKeySize:
		return ed448.PublicKey(x), [][]byte{x}, nil
	case name == "Ed25519" || name == "Ed448":
		return nil, nil, fmt.Errorf("its point is not of the curve %s", name)
	case name == "X25519" || name == "X448":
		return nil, nil, errUnused
	}
	return nil, nil, fmt.Errorf("its curve %.20q is not supported", name)
}

// akp reads keys that are for one algorithm, which they have to name.
func (m members) akp(alg Algorithm) (any, [][]byte, error) {
	b, err := m.bytes("pub")
	if err != nil {
		return nil, nil, err
	}
	var key interface{ UnmarshalBinary([]byte) error }
	switch alg {
	case "ML-DSA-44":
		key = new(mldsa44.PublicKey)
	case "ML-DSA-65":
		key = new(mldsa65.PublicKey)
	case "ML-DSA-87":
		key = new(mldsa87.PublicKey)
	default:
		return nil, nil, fmt.Errorf("its algorithm %.20q is not supported", alg)
	}
	if err := key.UnmarshalBinary(b); err != nil {
		return nil, nil, fmt.Errorf("its key is not one of %s", alg)
	}
	return key, [][]byte{b}, nil
}
