package jose

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// Bounds of the modulus of RSA: below the first it can be factored, and above the second each signature would cost milliseconds.
const (
	rsaBitsMin = 2048
	rsaBitsMax = 8192
)

// weakRSA returns why a key of RSA protects nobody, or nil.
func weakRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < rsaBitsMin:
		return fmt.Errorf("its modulus has %d bits, fewer than %d", bits, rsaBitsMin)
	case bits > rsaBitsMax:
		return fmt.Errorf("its modulus has %d bits, more than %d", bits, rsaBitsMax)
	case k.N.Bit(0) == 0:
		return errors.New("its modulus is even")
	case k.E < 65537 || k.E&1 == 0:
		return fmt.Errorf("its exponent is %d; one of 65537 or above is wanted, and odd", k.E)
	case isROCA(k.N):
		return errors.New("it was made by a faulty chip, and can be factored (ROCA, CVE-2017-15361)")
	}
	return nil
}

// isROCA recognises moduli that a library of Infineon's has made. Its primes are 65537^a mod M, plus a multiple of M, where M is the product
// of the first primes: modulo each of these the modulus is a power of 65537, too. For all of them up to 167 that happens to about one honest
// key in 2^27 (Nemec and others, "The Return of Coppersmith's Attack", section 2.3).
func isROCA(n *big.Int) bool {
	var r big.Int
	for _, p := range rocaPrimes {
		if !p.powers[r.Mod(n, p.prime).Int64()] {
			return false
		}
	}
	return true
}

type rocaPrime struct {
	prime  *big.Int
	powers []bool // of 65537, modulo the prime
}

var rocaPrimes = func() (list []rocaPrime) {
	for p := int64(3); p <= 167; p += 2 {
		if !big.NewInt(p).ProbablyPrime(10) {
			continue
		}
		powers := make([]bool, p)
		for x := int64(1); !powers[x]; x = x * 65537 % p {
			powers[x] = true
		}
		list = append(list, rocaPrime{big.NewInt(p), powers})
	}
	return list
}()

// CheckRSA returns why a key of RSA protects nobody, or nil. It is for keys that were not read here.
func CheckRSA(k *rsa.PublicKey) error { return weakRSA(k) }
