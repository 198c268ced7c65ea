package oidc

import (
	"errors"
	"time"

	"sluice/proxy/auth/jose"
)

// session is what a cookie holds: who has signed in, and for how long that is good. Immutable.
type session struct {
	id      [16]byte
	created int64 // in Unix seconds
	expires int64 // whatever is done meanwhile
	seen    int64 // when the cookie was made
	access  int64 // when the access token ends, so that the session is refreshed; 0: never
	idToken string
	refresh string // a refresh token; empty: there is none

	claims  jose.Values // of the ID token
	subject string
}

// What a session may take. The fields of a request have room for its cookies beside others.
const (
	chunksMax     = 4
	chunkBytesMax = 3800 // of a cookie's value: browsers take 4,096 bytes with name and attributes
	sessionMax    = chunksMax*chunkBytesMax - 1
	packedMax     = 60 << 10
)

const (
	sessionVersion = 1
	sessionPurpose = "session"
)

var errTooLarge = errors.New("the tokens of the provider do not fit into cookies")

func (s *session) pack() ([]byte, error) {
	if len(s.idToken)+len(s.refresh) > packedMax {
		return nil, errTooLarge
	}
	var p packer
	p.version(sessionVersion)
	p.fixed(s.id[:])
	for _, n := range []int64{s.created, s.expires, s.seen, s.access} {
		p.number(n)
	}
	p.text(s.idToken)
	p.text(s.refresh)
	if sealedBytes(len(p.out)) > sessionMax {
		return nil, errTooLarge
	}
	return p.out, nil
}

// unpackSession reads what was sealed. The signature of the ID token was verified before that.
func unpackSession(text []byte) (*session, error) {
	u := unpacker{in: text}
	s := &session{}
	u.version(sessionVersion)
	u.fixed(s.id[:])
	s.created, s.expires, s.seen, s.access = u.number(), u.number(), u.number(), u.number()
	s.idToken, s.refresh = u.text(), u.text()
	if err := u.end(); err != nil {
		return nil, err
	}
	token, err := jose.Parse([]byte(s.idToken))
	if err != nil {
		return nil, err
	}
	if s.claims, err = token.Claims(); err != nil {
		return nil, err
	}
	subject := s.claims.Get("sub")
	if subject == nil {
		return nil, errSubject
	}
	s.subject = string(subject.Text)
	return s, nil
}

// ends is when the session ends if nothing more is heard of it.
func (s *session) ends(idle time.Duration) int64 {
	if idle == 0 {
		return s.expires
	}
	return min(s.expires, s.seen+int64(idle/time.Second))
}
