package respond

import (
	"fmt"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// ErrNoHost refuses a request that does not say which host it is for, as HTTP/1.0 allows: nobody knows where to
// send the client.
var ErrNoHost = &proxy.Error{Status: 400, Code: "no_host", Detail: "The request names no valid host, so it cannot be redirected.", Side: proxy.ByClient}

// HTTPS sends the client to the same host, path and query with https. The status is 308, with which a client
// repeats method and body (RFC 9110 section 15.4.9).
type HTTPS struct {
	port string // ":8443", or empty for 443
}

// NewHTTPS makes one for a port on which https is served; 0 means 443. The port in the request's Host is that of
// the plain listener and is dropped.
func NewHTTPS(port int) (*HTTPS, error) {
	switch {
	case port < 0 || port > 65535:
		return nil, fmt.Errorf("cannot redirect to port %d: it must be from 1 to 65535", port)
	case port == 0 || port == 443:
		return new(HTTPS), nil
	}
	return &HTTPS{port: fmt.Sprintf(":%d", port)}, nil
}

// Serve answers with the redirect, or refuses with ErrNoHost.
func (h *HTTPS) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	if !wire.ValidHost(x.Request.Host) {
		return ErrNoHost
	}
	host, _ := wire.SplitHostPort(x.Request.Host)
	buf := wire.GetBuf(wire.Small)
	defer buf.Free()
	location := append(buf.B[:0], "https://"...)
	location = append(location, host...)
	location = appendTarget(append(location, h.port...), x)
	redirect(x, 308, location)
	return nil
}

// appendTarget appends path and query as they were received, byte for byte: what was signed stays so, and it is for whoever serves
// https to judge them. The host is complete, and a slash follows it, so that nothing here can lead elsewhere. What can be no part of a
// URL, or would end it, is escaped.
func appendTarget(dst []byte, x *proxy.Exchange) []byte {
	t := x.Received.Origin
	if len(t) == 0 || t[0] != '/' { // the asterisk of OPTIONS
		dst, t = append(dst, '/'), nil
	}
	start := len(dst)
	return proxy.EscapeURLTail(append(dst, t...), start, &targetBytes)
}

// targetBytes is what is left as it is: what is visible, but for the beginning of a fragment.
var targetBytes = func() (s proxy.ByteSet) {
	for c := '!'; c <= '~'; c++ {
		s[c] = c != '#'
	}
	return s
}()
