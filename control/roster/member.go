package roster

import "time"

// Member is a consumer that is kept.
type Member struct {
	Name      string            `json:"-"`
	Plan      string            `json:"plan,omitempty"`
	Scopes    []string          `json:"scopes,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Keys      []Key             `json:"keys,omitempty"`
	Passwords []Password        `json:"passwords,omitempty"`
	Created   time.Time         `json:"created"`
	Changed   time.Time         `json:"changed"`
	Revision  uint64            `json:"revision"` // no two edits of a file have the same
	First     uint64            `json:"first"`    // the one that has made it: another member that has the name later has another one
}

// Key is what is kept of a key: never the key.
type Key struct {
	ID       string    `json:"id"`
	Sum      Bytes     `json:"sum"` // SHA-256
	Prefix   string    `json:"prefix"`
	Scopes   []string  `json:"scopes,omitempty"` // in the place of the member's
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
	LastUsed int64     `json:"-"`                // Unix time; 0: never. It is kept beside, and written late
}

// Password is what is kept of a password: the sum of one that the gateway has made, or else what argon2id makes of it.
type Password struct {
	ID       string    `json:"id"`
	Sum      Bytes     `json:"sum,omitempty"`
	Argon2   *Argon2   `json:"argon2,omitempty"`
	Scopes   []string  `json:"scopes,omitempty"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	LastUsed int64     `json:"-"`
}

// Argon2 is how a password was hashed, and what came of it.
type Argon2 struct {
	Memory  uint32 `json:"m"` // KiB
	Time    uint32 `json:"t"`
	Threads uint8  `json:"p"`
	Salt    Bytes  `json:"salt"`
	Sum     Bytes  `json:"sum"`
}

// Bytes are written in base64. They are not shown where a value is printed.
type Bytes []byte

// String keeps hashes out of logs and errors.
func (Bytes) String() string { return "(hidden)" }

// GoString is String for %#v.
func (Bytes) GoString() string { return "(hidden)" }

// Use is when a key or a password was used last.
type Use struct {
	Group, Name, ID string
	At              int64 // Unix time
}
