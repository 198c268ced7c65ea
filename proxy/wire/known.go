package wire

// Known names a header field that the gateway itself looks at, so that the scan recognises it once and later
// questions cost a bit test.
type Known uint8

const (
	Other Known = iota
	Accept
	Authorization
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
	Server
	SetCookie
	TE
	Trailer
	TransferEncoding
	Upgrade
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
	Accept: "accept", Authorization: "authorization", Connection: "connection", ContentLength: "content-length",
	ContentType: "content-type", Cookie: "cookie", Date: "date", Expect: "expect", Forwarded: "forwarded",
	Host: "host", HTTP2Settings: "http2-settings", KeepAlive: "keep-alive", ProxyAuthenticate: "proxy-authenticate",
	ProxyAuthorization: "proxy-authorization", ProxyConnection: "proxy-connection", Server: "server",
	SetCookie: "set-cookie", TE: "te", Trailer: "trailer", TransferEncoding: "transfer-encoding",
	Upgrade: "upgrade", Via: "via", XForwardedFor: "x-forwarded-for", XForwardedHost: "x-forwarded-host",
	XForwardedProto: "x-forwarded-proto", XRealIP: "x-real-ip", XRequestID: "x-request-id",
}

// knownByShape finds the candidate by length and last letter: names of one shape are told apart by the list.
var knownByShape = func() (t [32][32][]Known) {
	for k := Other + 1; k < knownCount; k++ {
		n := knownNames[k]
		last := n[len(n)-1] & 31
		t[len(n)][last] = append(t[len(n)][last], k)
	}
	return
}()

func identify(name []byte) Known {
	n := len(name)
	if n > len(xForwarded) && (name[0] == 'X' || name[0] == 'x') && disguises(name[:len(xForwarded)], xForwarded) {
		return identifyForwarded(name)
	}
	if n == 0 || n >= len(knownByShape) {
		return Other
	}
	for _, k := range knownByShape[n][name[n-1]&31] {
		if equalFoldString(name, knownNames[k]) {
			return k
		}
		if disguises(name, knownNames[k]) {
			return Disguised
		}
	}
	return Other
}

const xForwarded = "x-forwarded-"

func identifyForwarded(name []byte) Known {
	for _, k := range [...]Known{XForwardedFor, XForwardedHost, XForwardedProto} {
		if equalFoldString(name, knownNames[k]) {
			return k
		}
	}
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
