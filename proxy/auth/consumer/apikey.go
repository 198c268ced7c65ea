package consumer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"math/big"
	"strings"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

var ampersand, equals, space = []byte("&"), []byte("="), []byte(" ")

// KeyBytesMax is longer than any key that is handed out.
const KeyBytesMax = 512

// KeyOptions say where a key is and what it has to allow.
type KeyOptions struct {
	Group *Group
	// Header, Query and Cookie are where the key may be. All that are not empty are looked at, and at least one of them is.
	Header, Query, Cookie string
	Pepper                []byte // the secret of keys that are Keyed
	Keep                  bool   // the service gets the key, too
	Require               Requirement

	isAuthorization bool // Header is, which has a scheme before what counts
}

// APIKey admits those who show a key of a consumer, and says who they are. Immutable and safe for concurrent use; a check allocates
// nothing.
type APIKey struct {
	options KeyOptions
	macs    sync.Pool // of *mac
}

// mac makes the HMAC of a key. It is kept, since making one hashes the secret.
type mac struct {
	hash hash.Hash
	sum  []byte
}

// NewAPIKey returns a guard.
func NewAPIKey(o KeyOptions) (*APIKey, error) {
	switch {
	case o.Header == "" && o.Query == "" && o.Cookie == "":
		return nil, errors.New("nothing says where a key is")
	case len(o.Group.keyed) > 0 && len(o.Pepper) == 0:
		return nil, errors.New("some keys of the group are hashed with a pepper, and there is none")
	}
	o.isAuthorization = strings.EqualFold(o.Header, "Authorization")
	g := &APIKey{options: o}
	g.macs.New = func() any { return &mac{hmac.New(sha256.New, o.Pepper), make([]byte, 0, sha256.Size)} }
	return g, o.Require.Check()
}

// Check returns nil or one of the errors about keys.
func (g *APIKey) Check(x *proxy.Exchange) error {
	f := finding{x: x}
	f.look(&g.options)
	if f.found() && !g.options.Keep {
		f.strip(&g.options) // also if it is refused: in mode report the request goes on
	}
	switch {
	case g.options.Group.closed():
		return ErrClosed
	case f.differ:
		return ErrKeys
	case len(f.key) == 0:
		return ErrNoKey
	}
	c := g.find(f.key)
	switch {
	case c == nil:
		return ErrKey
	case !c.isGood(time.Now().Unix()):
		return errKeyExpired
	}
	x.Identify(c.identity, false) // what else stands in Authorization is not looked at
	if !g.options.Require.allows(c) {
		return ErrInsufficient // whoever it is, it is proven: the log and those who only report want to know
	}
	return nil
}

// find returns what a key stands for, or nil.
//
// How long the table takes depends on the hash of what was shown, and on the hashes that are in it. Somebody who measures that learns a few
// bits of a hash, at the most. To get nearer to a key with it he would have to choose keys by how their SHA-256 begins, and when he knows
// all of the hash he still has to find what hashes to it, which is what the hash is for. The key itself is compared with nothing.
func (g *APIKey) find(key []byte) *credential {
	if len(key) > KeyBytesMax {
		return nil
	}
	group := g.options.Group
	if len(group.plain) > 0 || group.live != nil {
		if c := group.key(sha256.Sum256(key)); c != nil {
			return c
		}
	}
	if len(group.keyed) > 0 {
		m := g.macs.Get().(*mac)
		m.hash.Reset()
		m.hash.Write(key) // it never fails: see hash.Hash
		sum := [sha256.Size]byte(m.hash.Sum(m.sum))
		g.macs.Put(m)
		if c := group.keyed[sum]; c != nil && subtle.ConstantTimeCompare(c.sum[:], sum[:]) == 1 {
			return c
		}
	}
	return nil
}

// finding is what a request has for a key.
type finding struct {
	x                     *proxy.Exchange
	key                   []byte
	differ                bool // there are two
	header, query, cookie bool // where there is something
}

func (f *finding) found() bool { return f.header || f.query || f.cookie }

// take counts what stands in one of the places. The same key in two of them is one key; which of two different ones counts would depend
// on who is asked, so none does.
func (f *finding) take(value []byte) {
	switch {
	case len(value) == 0:
	case len(f.key) == 0:
		f.key = value
	case !bytes.Equal(f.key, value):
		f.differ = true
	}
}

func (f *finding) look(o *KeyOptions) {
	if o.Header != "" {
		for value := range f.x.Request.Head.Values(o.Header) {
			if o.isAuthorization {
				value = withoutScheme(value)
			}
			f.header = f.header || value != nil
			f.take(value)
		}
	}
	if o.Query != "" {
		f.lookQuery(o.Query)
	}
	if o.Cookie != "" {
		for name, value := range f.x.Cookies() {
			if string(name) == o.Cookie {
				f.cookie = true
				f.take(value)
			}
		}
	}
}

func (f *finding) lookQuery(name string) {
	value, ok := f.x.Query(name)
	if !ok {
		return
	}
	f.query = true
	f.take(value)
	var first []byte
	for rest, n := f.x.Request.Query, 0; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, ampersand)
		key, value, _ := bytes.Cut(pair, equals)
		switch {
		case !proxy.UnescapesTo(key, name):
			continue
		case n == 0:
			first = value
		case !bytes.Equal(first, value):
			f.differ = true
		}
		n++
	}
}

// withoutScheme takes the word in front of a key away that Authorization has (RFC 9110 section 11.4). Other schemes are for somebody else:
// then it returns nil.
func withoutScheme(value []byte) []byte {
	scheme, key, found := bytes.Cut(value, space)
	if found && (wire.EqualFold(scheme, "ApiKey") || wire.EqualFold(scheme, "Bearer")) {
		return bytes.Trim(key, " \t")
	}
	return nil
}

// strip takes the key out of the request: the service has no use for it, and its log is read by others.
func (f *finding) strip(o *KeyOptions) {
	r := &f.x.Request
	if f.header {
		r.Head.Del(o.Header)
		r.Decided = append(r.Decided, o.Header)
	}
	if f.query {
		rest := f.x.Scratch()
		for query, n := r.Query, 0; len(query) > 0; {
			var pair []byte
			pair, query, _ = bytes.Cut(query, ampersand)
			if key, _, _ := bytes.Cut(pair, equals); proxy.UnescapesTo(key, o.Query) {
				continue
			}
			if n++; n > 1 {
				rest = append(rest, '&')
			}
			rest = append(rest, pair...)
		}
		r.Query = f.x.KeepScratch(rest)
		r.HasQuery = len(r.Query) > 0
	}
	if f.cookie {
		f.x.StripCookie(o.Cookie)
	}
}

// NewKey makes a key of 256 random bits, which begins with a prefix to tell it apart by. It is letters and digits: a double click selects it,
// and no shell, URL or YAML file minds.
func NewKey(prefix string) string { return prefix + "_" + RandomText() }

// RandomText is 256 random bits in letters and digits.
func RandomText() string {
	var bits [32]byte
	rand.Read(bits[:]) // it never fails: see crypto/rand.Read
	text := new(big.Int).SetBytes(bits[:]).Text(62)
	const digits = 43 // of base 62, for 256 bits
	return strings.Repeat("0", digits-len(text)) + text
}
