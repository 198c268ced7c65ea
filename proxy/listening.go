package proxy

import (
	"crypto/tls"
	"net/netip"
)

// Listening is how a listener takes connections: what a reload may change about it while it goes on accepting.
type Listening struct {
	// Trust lists the proxies whose word about the client is believed.
	Trust []netip.Prefix
	// Proxied lists the balancers whose connections begin with a PROXY header.
	Proxied []netip.Prefix
	// TLS, if not nil, is what connections are protected with. It may look up what is current with each handshake.
	TLS *tls.Config
	// HSTS is the value of Strict-Transport-Security in responses over https, unless they have one; empty: none.
	HSTS string
	// ClientCerts, if not nil, say by which rules for client certificates a connection has to be made for a host; nil: by the same
	// for all of them.
	ClientCerts CertificateRules
	// Instead, if not nil, answers every request of this listener in the place of the routes.
	Instead *Route
	// Ahead, if not nil, is shown every request before the routes and Instead are. The route that it returns, if any, answers.
	Ahead func(*Exchange) *Route
	// H2 lets connections speak HTTP/2 with prior knowledge (RFC 9113 section 3.3), or when the handshake of TLS has chosen it;
	// NoH1 lets none speak HTTP/1.
	H2, NoH1 bool
	// AltSvc is what responses over TCP say about HTTP/3 while packets are served, too (RFC 7838); empty: h3 on the listener's port.
	// HideH3 lets them say nothing.
	AltSvc string
	HideH3 bool
	// EarlyData lets safe requests over HTTP/3 be served that come before the end of the handshake, and that others may have recorded
	// and sent again (RFC 8470).
	EarlyData bool

	// Pass, if not nil, is where every connection is passed on to as it is, and Through, if not nil, where those are whose
	// client asks for one of its names with TLS; others go on to TLS here, or are refused if there is none.
	Pass    *Way
	Through *Names
	// Door, if not nil, is asked about every connection, and every handshake of TLS.
	Door Door
	// Allow lists whose connections are passed on; empty: everybody's.
	Allow []netip.Prefix
	// Passages sees the connections that are passed on; it is there where Pass or Through is.
	Passages PassageObserver
}

// Door lets clients in, or not, before there is a request that a policy could see. Safe for concurrent use. It is not asked about those whose
// word about clients is trusted, which bring everybody's connections.
type Door interface {
	// Enter lets a connection in, or not. leave, if it is not nil, is called once when it has ended.
	Enter(client netip.Addr) (leave func(), ok bool)
	// Handshake lets a client begin a handshake, or not.
	Handshake(client netip.Addr) bool
	// Doubts reports whether an address should be proven, where anybody can write any.
	Doubts(client netip.Addr) bool
}

// CertificateRules are rules for client certificates that depend on the name that a client asks for. They are numbered; 0 is that
// no certificate is asked for, as for every name without a rule.
type CertificateRules interface {
	// OfServerName is the rule for the name in a handshake, and Of that for the host of a request.
	OfServerName(name string) int
	Of(host []byte) int
}
