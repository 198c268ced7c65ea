package observe

import (
	"bytes"
	"strings"
)

// redacted stands in the log for what must not be there.
const redacted = "***"

// secretNames are the names of parameters whose values never reach the log, in lower case and without punctuation.
const secretNames = "key code codeverifier sig auth pass pwd otp session sid ticket samlresponse samlrequest"

// secretEndings are what other names of secrets end in: access_token, client-secret, X-Amz-Signature. A harmless
// parameter that is redacted as well, a page_token say, is the cheaper mistake.
const secretEndings = "token secret password passwd passphrase apikey accesskey secretkey privatekey signature " +
	"credential credentials authorization assertion jwt sessionid sessid"

// secretsByLast holds both by their last letter, so that a name is compared with two or three of them.
var secretsByLast = func() (t [256][]secretName) {
	add := func(names string, whole bool) {
		for name := range strings.FieldsSeq(names) {
			last := name[len(name)-1]
			t[last] = append(t[last], secretName{name, whole})
		}
	}
	add(secretNames, true)
	add(secretEndings, false)
	return t
}()

type secretName struct {
	text  string
	whole bool // the name is this, not only its end
}

// secretNameMax is how long a name may be to be looked at; a longer one is taken for a secret's.
const secretNameMax = 128

// isSecret reports whether a parameter of this name, as it stands in a query, holds a secret. Escapes are decoded:
// the origin will do the same.
func isSecret(name []byte) bool {
	if len(name) > secretNameMax {
		return true
	}
	var buf [secretNameMax]byte
	bare := buf[:0]
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' && i+2 < len(name) && unhex(name[i+1]) < 16 && unhex(name[i+2]) < 16 {
			c = unhex(name[i+1])<<4 | unhex(name[i+2])
			i += 2
		}
		switch {
		case 'A' <= c && c <= 'Z':
			bare = append(bare, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c >= 0x80:
			bare = append(bare, c)
		}
	}
	if len(bare) == 0 {
		return false
	}
	for _, s := range secretsByLast[bare[len(bare)-1]] {
		if rest := len(bare) - len(s.text); rest == 0 || rest > 0 && !s.whole {
			if string(bare[rest:]) == s.text {
				return true
			}
		}
	}
	return false
}

// SecretHeader reports whether the value of a header field is never shown: not in the log, not in an explanation.
func SecretHeader(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "dpop":
		return true
	case "access-control-allow-credentials":
		return false // it says that there may be some
	}
	return isSecret([]byte(name))
}

// Secrets are names of parameters that hold secrets although they do not look like it, in lower case: somebody keeps keys there.
type Secrets []string

// holds reports whether a name, as it stands in a query, is one of these.
func (s Secrets) holds(name []byte) bool {
	if len(s) == 0 || len(name) > secretNameMax {
		return false // a longer one is a secret anyway
	}
	var buf [secretNameMax]byte
	plain := buf[:0]
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' && i+2 < len(name) && unhex(name[i+1]) < 16 && unhex(name[i+2]) < 16 {
			c = unhex(name[i+1])<<4 | unhex(name[i+2])
			i += 2
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		plain = append(plain, c)
	}
	for _, secret := range s {
		if string(plain) == secret {
			return true
		}
	}
	return false
}

// Hold reports whether a field of this name is one of these.
func (s Secrets) Hold(name string) bool { return s.holds([]byte(name)) }

// RedactURI returns path and query for people: without the values of secret parameters, if there are any of these.
func (s Secrets) RedactURI(uri []byte) string {
	if len(s) == 0 {
		return string(uri)
	}
	return string(appendRedacted(nil, uri, s, false))
}

// appendQuery appends a query as appendText does, without the values of secret parameters.
func appendQuery(dst, query []byte, also Secrets) []byte {
	return appendRedacted(dst, query, also, true)
}

// appendURL appends a URL, or text that holds one, as appendText does, without the values of secret parameters and
// without userinfo (RFC 3986 section 3.2.1). Parameters may follow "?" and "#", where OAuth puts a token, and in a
// path ";".
func appendURL(dst, v []byte, also Secrets) []byte {
	start, end := userinfo(v)
	if start == end {
		return appendRedacted(dst, v, also, false)
	}
	dst = appendRedacted(dst, v[:start], also, false)
	dst = append(dst, redacted...)
	return appendRedacted(dst, v[end:], also, false)
}

// userinfo finds "user:password" in "scheme://user:password@host/".
func userinfo(v []byte) (start, end int) {
	if bytes.IndexByte(v, '@') < 0 {
		return 0, 0
	}
	i := bytes.Index(v, []byte("://"))
	if i < 0 {
		return 0, 0
	}
	start = i + len("://")
	authority := v[start:]
	if i := bytes.IndexAny(authority, "/?# \t\""); i >= 0 {
		authority = authority[:i]
	}
	return start, start + max(0, bytes.LastIndexByte(authority, '@'))
}

// appendRedacted takes every name between a separator and "=" for a parameter's, and a secret's value to reach to the
// next "&": servers differ on whether ";" separates too, and the longer reading holds the shorter. atName says that v
// begins with a name.
func appendRedacted(dst, v []byte, also Secrets, atName bool) []byte {
	v, mark := cut(dst, v)
	if bytes.IndexByte(v, '=') < 0 {
		return append(appendEscaped(dst, v), mark...)
	}
	logged := 0 // v up to here is in dst
	nameAt := -1
	if atName {
		nameAt = 0
	}
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '?', '&', ';', '#':
			nameAt = i + 1
		case '=':
			if nameAt < 0 || !isSecret(v[nameAt:i]) && !also.holds(v[nameAt:i]) {
				nameAt = -1 // a second "=" belongs to the value
				continue
			}
			dst = appendEscaped(dst, v[logged:i+1])
			dst = append(dst, redacted...)
			logged = len(v)
			if n := bytes.IndexByte(v[i:], '&'); n >= 0 {
				logged = i + n
			}
			i = logged - 1
		}
	}
	dst = appendEscaped(dst, v[logged:])
	return append(dst, mark...)
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
