package tlsterm

import (
	"crypto/tls"
	"slices"
	"time"

	"sluice/tlsterm/acme"
)

// orders are the certificates of a set that are ordered.
func (o Options) orders() []*acme.Options {
	var list []*acme.Options
	for _, s := range o.Certificates {
		if s.ACME != nil {
			list = append(list, s.ACME)
		}
	}
	return list
}

// challenges are where the answers are that authorities may ask for by TLS.
func (o Options) challenges() []acme.Challenges {
	var list []acme.Challenges
	for _, order := range o.orders() {
		if c := (acme.Challenges{Folder: order.Folder}); order.TLSALPN01 && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// answering is a GetConfigForClient that lets an authority make its handshake (RFC 8737 section 3), and hands on everybody else to the
// one before it. Who asks for a host that no order is under way for gets what every other client gets that wants a protocol which is
// not spoken: an alert.
func answering(list []acme.Challenges, now func() time.Time, others func(*tls.ClientHelloInfo) (*tls.Config, error)) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, []string{acme.ALPN}) {
			for _, c := range list {
				if certificate := c.Certificate(hello.ServerName); certificate != nil {
					return &tls.Config{
						Certificates: []tls.Certificate{*certificate}, NextProtos: []string{acme.ALPN}, Time: now,
						MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
					}, nil
				}
			}
		}
		if others != nil {
			return others(hello)
		}
		return nil, nil
	}
}

// IsChallenge tells a handshake that an authority has made to verify a host. Its connection carries nothing (RFC 8737 section 3).
func IsChallenge(state tls.ConnectionState) bool { return state.NegotiatedProtocol == acme.ALPN }
