package consumer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// basicBytesMax is longer than any name and password, in base64, that people type or programs keep.
const basicBytesMax = 1 << 10

// BasicOptions say who is admitted.
type BasicOptions struct {
	Group     *Group
	Passwords *Passwords
	Keep      bool // the service gets name and password, too
	Require   Requirement
}

// Basic admits those who show the name and a password of a consumer (RFC 7617), and says who they are. Immutable and safe for concurrent
// use; a check of a password that is remembered allocates nothing.
type Basic struct{ options BasicOptions }

// NewBasic returns a guard.
func NewBasic(o BasicOptions) (*Basic, error) {
	if o.Passwords == nil {
		return nil, errors.New("nothing computes what passwords hash to")
	}
	return &Basic{o}, o.Require.Check()
}

// Check returns nil or one of the errors about passwords.
func (g *Basic) Check(x *proxy.Exchange) error {
	var shown []byte
	var err error
	found := false
	for value := range x.Request.Head.ValuesKnown(wire.Authorization) {
		credentials, ok := basicCredentials(value)
		switch {
		case !ok: // of another scheme
		case found && !bytes.Equal(shown, credentials):
			err = ErrPasswords
		default:
			shown, found = credentials, true
		}
	}
	if found && !g.options.Keep { // also if it is refused: in mode report the request goes on
		x.Request.Head.DelKnown(wire.Authorization.Bit())
		x.Request.Decided = append(x.Request.Decided, "Authorization")
	}
	switch {
	case g.options.Group.closed():
		return ErrClosed
	case !found:
		return ErrNoPassword
	case err != nil:
		return err
	}
	name, password, ok := parseBasic(x.Scratch(), shown)
	if !ok {
		return ErrPassword
	}
	u, pad := g.options.Group.user(name)
	c, err := g.options.Passwords.find(x, u, pad, name, password) // nobody asks for the scratch meanwhile
	clear(password)                                               // it need not lie about in an exchange that is used again
	switch {
	case err != nil:
		return err
	case c == nil:
		return ErrPassword
	case !c.isGood(time.Now().Unix()):
		return errPasswordExpired
	}
	x.Identify(c.identity, true)
	if !g.options.Require.allows(c) {
		return ErrInsufficient
	}
	return nil
}

// basicCredentials returns what follows the scheme, and whether it is this one.
func basicCredentials(value []byte) ([]byte, bool) {
	const scheme = "basic"
	if len(value) < len(scheme) || !wire.EqualFold(value[:len(scheme)], scheme) {
		return nil, false
	}
	rest := value[len(scheme):]
	if len(rest) > 0 && rest[0] != ' ' {
		return nil, false
	}
	return bytes.Trim(rest, " "), true
}

// parseBasic takes credentials apart (RFC 7617 section 2), into dst. Neither part holds a control character.
func parseBasic(dst, credentials []byte) (name, password []byte, ok bool) {
	if len(credentials) > basicBytesMax {
		return nil, nil, false
	}
	// Of two spellings of the same bytes one is enough, so that the last bits are zero: Strict.
	plain, err := strict.AppendDecode(dst, credentials)
	if err != nil || bytes.ContainsAny(credentials, "\r\n") {
		return nil, nil, false
	}
	name, password, ok = bytes.Cut(plain, colon)
	if !ok || bytes.ContainsFunc(plain, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, nil, false
	}
	return name, password, true
}

var (
	strict = base64.StdEncoding.Strict()
	colon  = []byte(":")
)
