package server

import (
	"net"
	"strconv"

	"sluice/proxy"
)

// altSvcFor is the field that tells clients over TCP that there is HTTP/3 (RFC 7838); empty: there is not, or they are not to be told.
func (l *Listener) altSvcFor(s *settings) string {
	switch {
	case s.TLS == nil || s.HideH3:
		return ""
	case s.AltSvc != "":
		return s.AltSvc
	}
	if a, ok := l.net.Addr().(*net.TCPAddr); ok {
		return `h3=":` + strconv.Itoa(a.Port) + `"; ma=86400`
	}
	return ""
}

// advertise adds Alt-Svc to a response over TCP, unless it has one.
func (s *settings) advertise(x *proxy.Exchange) {
	const name = "Alt-Svc"
	if s.altSvc != "" && !x.Response.Head.Has(name) {
		x.Response.Head.AddString(name, s.altSvc)
	}
}
