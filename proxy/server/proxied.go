package server

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"sluice/tlsterm/proxyproto"
)

// proxied reports whether connections from this address begin with a PROXY header.
func (s *Settings) proxied(a netip.Addr) bool { return contains(s.Proxied, a) }

// serveProxied reads the PROXY header that a balancer's connection begins with, and serves the client that it names.
func (l *Listener) serveProxied(c net.Conn, peer netip.AddrPort) {
	timeout := l.server.snapshot.Load().Limits.HeadTimeout
	_ = c.SetDeadline(time.Now().Add(timeout)) // fails only on a closed connection, as does taking it back
	header, err := proxyproto.Read(c)
	if err != nil {
		l.server.unproxied.Add(1)
		l.complain(peer, err)
		_ = c.Close()
		l.server.dismiss(netip.Addr{})
		return
	}
	_ = c.SetDeadline(time.Time{})
	from := origin{peer: peer, tls: header.TLS, serverName: header.Authority}
	if header.Source.IsValid() {
		from.peer = header.Source
	}
	if from.counted, err = l.server.claim(l.countedAs(from.peer.Addr())); err != nil {
		l.server.dismiss(netip.Addr{})
		refuseConnection(c)
		return
	}
	l.serve(c, from)
}

// complainEvery bounds how often the log hears of what goes wrong with every connection.
const complainEvery = int64(time.Minute)

// complain says, now and then, that a balancer does not send what it is configured to: nobody else would notice why its
// connections end.
func (l *Listener) complain(peer netip.AddrPort, err error) {
	now := time.Now().UnixNano()
	last := l.complained.Load()
	if now-last < complainEvery || !l.complained.CompareAndSwap(last, now) {
		return
	}
	slog.Warn("a connection from a network of proxy_protocol.from has no valid PROXY header and was closed",
		"listener", l.Name, "peer", peer.String(), "error", err)
}
