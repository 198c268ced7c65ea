package server

import (
	"bytes"

	"sluice/proxy"
)

// made is by which rules for client certificates a connection was made.
type made struct {
	rules proxy.CertificateRules // nil: the same for all names, or there was no TLS
	rule  int                    // its number, for the name that the client asked for
}

// madeFor is how a connection is made for a name, or for none.
func (s *settings) madeFor(serverName string) made {
	if s.ClientCerts == nil {
		return made{}
	}
	return made{s.ClientCerts, s.ClientCerts.OfServerName(serverName)}
}

// misdirects reports whether a request has come over a connection that was made by other rules than the host of the request has,
// and gets 421 (RFC 9110 section 15.5.20). Clients send requests for several hosts over one connection if its certificate is for
// all of them (RFC 9113 section 9.1.1), and whoever means harm asks for a host without a rule to be let in, and then names one that
// has. The other way round no harm is done, but the client would show its certificate to who has not asked for it.
//
// A connection that was made before a reload has proven nothing by the rules that hold now. And a host whose connections are passed on
// is not served here, even if a certificate of ours is for it as well.
func (s *settings) misdirects(m made, host []byte) bool {
	if s.Through != nil && s.Through.Find(string(bytes.ToLower(proxy.HostName(host)))) != nil {
		return true
	}
	if s.ClientCerts == nil {
		return false
	}
	rule := s.ClientCerts.Of(proxy.HostName(host))
	if m.rules != s.ClientCerts {
		return rule != 0
	}
	return rule != m.rule
}
