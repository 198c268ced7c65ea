package proxy

import (
	"crypto/sha256"
	"encoding/binary"
)

// Identity is who a client was proven to be, whichever policy has proven it. It belongs to what the proof was remembered as, a
// verified token or a connection, and not to an exchange: setting it costs a pointer, and it may be kept. Immutable.
type Identity struct {
	kind, issuer, subject string
	claims                []Claim
	name                  []byte
	key                   [sha256.Size]byte
}

// Claim is one thing that the proof says about the client. A claim inside another has a path with a dot in it: the roles of
// realm_access are realm_access.roles, and realm_access itself is a claim, too.
type Claim struct {
	Path  string
	Value []byte // the content of a string, the JSON text of anything else
	JSON  bool   // it is that of anything else
}

// NewIdentity returns an identity. kind is the policy's ("jwt"), issuer who vouches for it, if that is somebody else than the
// gateway, and subject the client, unique for kind and issuer; empty if it has none. Whoever differs in one of them has another
// Key, and who differs in one of distinct, too: what an origin may answer differently about, such as the scopes of a token.
func NewIdentity(kind, issuer, subject string, claims []Claim, distinct ...[]byte) *Identity {
	i := &Identity{kind: kind, issuer: issuer, subject: subject, claims: claims}
	i.name = append(append(append([]byte(issuer), ' '), subject...), " by "+kind...)
	h := sha256.New()
	var size [8]byte
	add := func(b []byte) { // with its length: "ab" and "c" are not "a" and "bc"
		binary.BigEndian.PutUint64(size[:], uint64(len(b)))
		h.Write(size[:])
		h.Write(b)
	}
	add([]byte(kind))
	add([]byte(issuer))
	add([]byte(subject))
	for _, b := range distinct {
		add(b)
	}
	h.Sum(i.key[:0])
	return i
}

// Kind is that of the policy which has proven the identity, "" for nobody.
func (i *Identity) Kind() string {
	if i == nil {
		return ""
	}
	return i.kind
}

// Issuer is who vouches for the identity, "" for the gateway itself and for nobody.
func (i *Identity) Issuer() string {
	if i == nil {
		return ""
	}
	return i.issuer
}

// Subject is the client's name, unique for Kind and Issuer; "" if it has none, and for nobody.
func (i *Identity) Subject() string {
	if i == nil {
		return ""
	}
	return i.subject
}

// Name tells clients apart for people and for limits: issuer, subject and kind. Unlike Key it is the same for all tokens of a client, whatever
// else they say. It is nil for nobody. The bytes must not be changed.
func (i *Identity) Name() []byte {
	if i == nil {
		return nil
	}
	return i.name
}

// Claim returns the claim at a path, nil if there is none. The bytes must not be changed.
func (i *Identity) Claim(path string) []byte {
	if i == nil {
		return nil
	}
	for n := range i.claims { // some twenty: to go through them is as fast as a map
		if c := &i.claims[n]; c.Path == path {
			return c.Value
		}
	}
	return nil
}

// Look returns the claim at a path. Its bytes must not be changed.
func (i *Identity) Look(path string) (c Claim, there bool) {
	if i == nil {
		return c, false
	}
	for n := range i.claims {
		if i.claims[n].Path == path {
			return i.claims[n], true
		}
	}
	return c, false
}

// Paths are those of all claims.
func (i *Identity) Paths() []string {
	if i == nil {
		return nil
	}
	paths := make([]string, len(i.claims))
	for n := range i.claims {
		paths[n] = i.claims[n].Path
	}
	return paths
}

// Key returns opaque bytes, of one length, that differ between any two clients that are not the same: what is kept for one of
// them is kept under this key. It is nil for nobody. The bytes must not be changed.
func (i *Identity) Key() []byte {
	if i == nil {
		return nil
	}
	return i.key[:]
}
