package proxy

import "net/netip"

// Transport is what is known of a client's connection beside the client. It is made once for a connection; immutable.
type Transport struct {
	// Local is our end, or what a PROXY header says in its place; zero for a unix socket.
	Local netip.AddrPort
	// TLS is the version that the client speaks, to us or to the balancer: "TLSv1.3"; empty: none, or it is passed through.
	TLS string
	// ALPN is the protocol that was agreed upon in the handshake, if any.
	ALPN string
	// Resumed says that the connection resumes a session, in which a certificate was shown before.
	Resumed bool
}
