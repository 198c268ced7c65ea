package server

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"sluice/proxy"
	"sluice/tlsterm/proxyproto"
)

// proxied reports whether connections from this address begin with a PROXY header.
func (s *settings) proxied(a netip.Addr) bool { return contains(s.Proxied, a) }

// unwrap reads the PROXY header that a balancer's connection begins with into from, and reports whether the client that it names is to be
// served; if not, the connection is closed and dismissed.
func (l *Listener) unwrap(c net.Conn, from *origin) bool {
	timeout := l.server.snapshot.Load().Limits.HeadTimeout
	_ = c.SetDeadline(time.Now().Add(timeout)) // fails only on a closed connection, as does taking it back
	header, err := proxyproto.Read(c)
	if err != nil {
		l.server.unproxied.Add(1)
		l.complain(from.peer, err)
		_ = c.Close()
		l.server.dismiss(netip.Addr{})
		return false
	}
	_ = c.SetDeadline(time.Time{})
	from.tls, from.serverName = header.TLS, header.Authority
	from.transport = &proxy.Transport{Local: from.transport.Local, TLS: header.TLSVersion, ALPN: header.ALPN}
	if header.Source.IsValid() {
		from.peer, from.transport.Local = header.Source, header.Destination
	}
	settings := l.settings.Load()
	client := l.countedAs(from.peer.Addr())
	var ok bool
	if from.leave, ok = l.server.mayEnter(settings, from.peer.Addr(), client); !ok {
		l.server.dismiss(netip.Addr{})
		turnAway(c)
		return false
	}
	if from.counted, err = l.server.claim(client); err != nil {
		l.server.ended(from)
		l.refuse(c)
		return false
	}
	return true
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
