package jose

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// Bounds of a token.
const (
	TokenBytesMax  = 16 << 10 // in its compact form
	headerBytesMax = 4 << 10  // of the header, encoded
	keyIDBytesMax  = 512
)

// What is wrong with a token's form. None of them repeats anything of it.
var (
	ErrTooLong    = errors.New("the token is longer than 16 KiB")
	ErrForm       = errors.New("the token does not consist of three parts joined by dots")
	ErrEncrypted  = errors.New("the token is encrypted (JWE), not signed")
	ErrEncoding   = errors.New("a part of the token is not base64url without padding")
	ErrHeader     = errors.New("the token's header is not an object as RFC 7515 wants it")
	ErrAlgorithm  = errors.New("the token's algorithm is none that is accepted")
	ErrCritical   = errors.New("the token's header holds critical extensions")
	ErrOwnKey     = errors.New("the token brings its own key, or says where it is")
	ErrCompressed = errors.New("the token is compressed or not encoded")
	ErrNested     = errors.New("the token holds another token")
	ErrClaims     = errors.New("the token's claims are not an object of JSON, or one with a name that stands in it twice")
)

// Token is a token that was read; nothing of it is proven before Verify.
type Token struct {
	Algorithm Algorithm
	KeyID     string
	HasKeyID  bool
	Type      string // typ, as it stands there
	payload   []byte // encoded
	signed    []byte // what the signature is of
	signature []byte
}

// Parse reads a token in its compact form (RFC 7515 section 7.1). The token refers to it afterwards.
func Parse(compact []byte) (*Token, error) {
	t, _, err := parse(compact, false)
	return t, err
}

// parse reads a token, and the JWK in its header if it has to have one.
func parse(compact []byte, ownKey bool) (*Token, []byte, error) {
	if len(compact) > TokenBytesMax {
		return nil, nil, ErrTooLong
	}
	header, rest, ok := bytes.Cut(compact, dot)
	payload, signature, ok2 := bytes.Cut(rest, dot)
	switch n := bytes.Count(compact, dot); {
	case n == 4:
		return nil, nil, ErrEncrypted
	case n != 2 || !ok || !ok2 || len(header) == 0 || len(payload) == 0:
		return nil, nil, ErrForm
	case len(header) > headerBytesMax:
		return nil, nil, ErrHeader
	}
	t := &Token{payload: payload, signed: compact[:len(header)+1+len(payload)]}
	text, err := decode(header)
	if err != nil {
		return nil, nil, err
	}
	if t.signature, err = decode(signature); err != nil {
		return nil, nil, err
	}
	jwk, err := t.readHeader(text, ownKey)
	if err != nil {
		return nil, nil, err
	}
	return t, jwk, nil
}

var dot = []byte(".")

// readHeader judges every member that could lead a reader astray. Others are ignored, as RFC 7515 section 4 wants it: x5t, say, is no
// more than a hint.
func (t *Token) readHeader(text []byte, ownKey bool) (jwk []byte, err error) {
	members, err := parseObject(text)
	if err != nil {
		return nil, ErrHeader
	}
	for i := range members {
		m := &members[i]
		switch m.Path {
		case "crit":
			return nil, ErrCritical // there is no extension that this reader understands
		case "b64", "zip", "enc":
			return nil, ErrCompressed
		case "jwk":
			switch {
			case !ownKey:
				return nil, ErrOwnKey
			case m.Kind != Object:
				return nil, ErrHeader
			}
			jwk = m.Text
		case "jku", "x5u", "x5c":
			return nil, ErrOwnKey
		case "alg", "kid", "typ", "cty":
			if m.Kind != String {
				return nil, ErrHeader
			}
		}
	}
	alg := members.Get("alg")
	if alg == nil {
		return nil, ErrHeader
	}
	t.Algorithm = Algorithm(alg.Text)
	if !t.Algorithm.known() { // "none", in whichever case, is not
		return nil, ErrAlgorithm
	}
	if kid := members.Get("kid"); kid != nil {
		if len(kid.Text) > keyIDBytesMax {
			return nil, ErrHeader
		}
		t.KeyID, t.HasKeyID = string(kid.Text), true
	}
	if typ := members.Get("typ"); typ != nil {
		t.Type = string(typ.Text)
	}
	if members.Get("cty") != nil {
		return nil, ErrNested // RFC 7519 section 5.2: a token of claims has none
	}
	if ownKey && jwk == nil {
		return nil, ErrNoKey
	}
	return jwk, nil
}

// Verify reports whether the key has signed the token, in the way that the key is for.
func (t *Token) Verify(k *Key) bool { return k.Verify(t.Algorithm, t.signed, t.signature) }

// Claims reads the claims. It is for after Verify: until then they are anybody's.
func (t *Token) Claims() (Values, error) {
	text, err := decode(t.payload)
	if err != nil {
		return nil, err
	}
	claims, err := parseObject(text)
	if err != nil {
		return nil, ErrClaims
	}
	return claims, nil
}

// decode reads base64url without padding (RFC 7515 section 2). The same bytes have one form only: with bits left over in the last character
// a token could be changed and stay the same token.
func decode(text []byte) ([]byte, error) {
	if bytes.ContainsAny(text, "\r\n") { // the decoder skips them
		return nil, ErrEncoding
	}
	out := make([]byte, base64.RawURLEncoding.DecodedLen(len(text)))
	n, err := strict.Decode(out, text)
	if err != nil {
		return nil, ErrEncoding
	}
	return out[:n], nil
}

var strict = base64.RawURLEncoding.Strict()
