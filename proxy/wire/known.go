package wire

import (
	"encoding/binary"
	"unsafe"
)

// Known names a header field that the gateway itself looks at, so that the scan recognises it once and later
// questions cost a bit test.
type Known uint8

const (
	Other Known = iota
	Accept
	Age
	Authorization
	ClientCert
	ClientCertChain
	Connection
	ContentLength
	ContentType
	Cookie
	Date
	Expect
	Forwarded
	Host
	HTTP2Settings
	KeepAlive
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	Referer
	Server
	SetCookie
	TE
	Trailer
	TransferEncoding
	Upgrade
	UserAgent
	Via
	XForwardedFor
	XForwardedHost
	XForwardedProto
	XRealIP
	XRequestID
	knownCount
	// Disguised is a name that is one of the others with "_" for "-". Origins behind CGI or WSGI cannot tell the two apart,
	// so that X_Forwarded_For would speak for X-Forwarded-For: it is never passed on.
	Disguised = knownCount
	// XForwardedOther is any other name that begins with X-Forwarded-: frameworks act upon -Port, -Prefix and -Ssl.
	XForwardedOther = knownCount + 1
)

// Bit is the field's place in a mask.
func (k Known) Bit() uint64 { return 1 << k }

var knownNames = [knownCount]string{
	Accept: "accept", Age: "age", Authorization: "authorization", ClientCert: "client-cert", ClientCertChain: "client-cert-chain", Connection: "connection", ContentLength: "content-length",
	ContentType: "content-type", Cookie: "cookie", Date: "date", Expect: "expect", Forwarded: "forwarded",
	Host: "host", HTTP2Settings: "http2-settings", KeepAlive: "keep-alive", ProxyAuthenticate: "proxy-authenticate",
	ProxyAuthorization: "proxy-authorization", ProxyConnection: "proxy-connection", Referer: "referer", Server: "server",
	SetCookie: "set-cookie", TE: "te", Trailer: "trailer", TransferEncoding: "transfer-encoding",
	Upgrade: "upgrade", UserAgent: "user-agent", Via: "via", XForwardedFor: "x-forwarded-for", XForwardedHost: "x-forwarded-host",
	XForwardedProto: "x-forwarded-proto", XRealIP: "x-real-ip", XRequestID: "x-request-id",
}

// knownByShape finds the one candidate by length and first letter, in either case: no two of the names agree in both.
var knownByShape = func() (t [32][32]Known) {
	for k := Other + 1; k < knownCount; k++ {
		n := knownNames[k]
		cell := &t[len(n)][n[0]&31]
		if *cell != Other {
			panic("BUG: " + n + " has the shape of " + knownNames[*cell])
		}
		*cell = k
	}
	return
}()

// identify finds out whether name, which must be a token, is one of the known ones.
func identify(name []byte) Known {
	n := len(name)
	if n == 0 || n >= len(knownByShape) {
		return unlisted(name)
	}
	k := knownByShape[n][name[0]&31]
	switch {
	case k != Other && isToken(name, knownNames[k]):
		return k
	case k != Other && disguises(name, knownNames[k]):
		return Disguised
	}
	return unlisted(name)
}

// isToken compares a token with a name of lower-case letters, digits and hyphens, which has to have the same length. No two
// of the bytes that a token may hold and such a name does differ in the bit for upper case alone, but letters.
func isToken(token []byte, name string) bool {
	const upper = 0x2020202020202020
	if len(token) < 8 {
		for i, c := range token {
			if c|0x20 != name[i] {
				return false
			}
		}
		return true
	}
	known := unsafe.Slice(unsafe.StringData(name), len(token))
	last := len(token) - 8
	for i := 0; i < last; i += 8 {
		if binary.LittleEndian.Uint64(token[i:])|upper != binary.LittleEndian.Uint64(known[i:]) {
			return false
		}
	}
	return binary.LittleEndian.Uint64(token[last:])|upper == binary.LittleEndian.Uint64(known[last:])
}

// unlisted tells the names that only begin like the known ones from all others.
func unlisted(name []byte) Known {
	if len(name) > len(xForwarded) && name[0]|0x20 == 'x' && disguises(name[:len(xForwarded)], xForwarded) {
		return identifyForwarded(name)
	}
	return Other
}

const xForwarded = "x-forwarded-"

func identifyForwarded(name []byte) Known {
	if indexByte(name, '_') >= 0 {
		return Disguised
	}
	return XForwardedOther
}

// disguises compares with "_" taken for "-".
func disguises(name []byte, known string) bool {
	for i, c := range name {
		if lower[c] != known[i] && !(c == '_' && known[i] == '-') {
			return false
		}
	}
	return true
}

// HopByHop is the mask of fields that mean something on one connection only (RFC 9110 section 7.6.1), with the
// proxy's own credentials, the framing fields, which derive from the body, and what only looks like one of ours.
const HopByHop = 1<<Disguised | 1<<Connection | 1<<KeepAlive | 1<<ProxyConnection | 1<<ProxyAuthenticate | 1<<ProxyAuthorization |
	1<<TE | 1<<Trailer | 1<<TransferEncoding | 1<<Upgrade | 1<<HTTP2Settings | 1<<ContentLength

// fieldNames are the known names as the gateway writes them, with what separates them from a value.
var fieldNames = func() (t [knownCount]string) {
	for k := Other + 1; k < knownCount; k++ {
		name := []byte(knownNames[k])
		for i := range name {
			if i == 0 || name[i-1] == '-' {
				name[i] = upperCase(name[i])
			}
		}
		t[k] = string(name) + ": "
	}
	return
}()

func upperCase(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}
