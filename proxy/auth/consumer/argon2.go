package consumer

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Argon2 is what argon2id (RFC 9106), in version 1.3, makes of a password, and how.
type Argon2 struct {
	Memory  uint32 // KiB
	Time    uint32
	Threads uint8
	Salt    []byte
	Sum     []byte
}

// NewArgon2 hashes a password with the parameters that OWASP names first: 19 MiB and two passes, on one core. A gateway hashes while others
// wait, so it is not for the largest ones that there are.
func NewArgon2(password, salt []byte) *Argon2 {
	a := &Argon2{Memory: 19 << 10, Time: 2, Threads: 1, Salt: salt, Sum: make([]byte, 32)}
	a.Sum = a.sumOf(password)
	return a
}

// isOf reports whether the sum is that of a password.
func (a *Argon2) isOf(password []byte) bool {
	return subtle.ConstantTimeCompare(a.sumOf(password), a.Sum) == 1
}

func (a *Argon2) sumOf(password []byte) []byte {
	return argon2.IDKey(password, a.Salt, a.Time, a.Memory, a.Threads, uint32(len(a.Sum)))
}

// cost grows with the time that a computation takes.
func (a *Argon2) cost() uint64 { return uint64(a.Memory) * uint64(a.Time) }

// String is the form in which files have it (the PHC string format).
func (a *Argon2) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.Memory, a.Time, a.Threads, b64.EncodeToString(a.Salt), b64.EncodeToString(a.Sum))
}

func (a *Argon2) text() string {
	if a == nil {
		return ""
	}
	return a.String()
}
