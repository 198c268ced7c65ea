package upstream

import (
	"fmt"
	"net/netip"

	"sluice/proxy"
	"sluice/tlsterm/proxyproto"
)

// proxyHeader returns the PROXY header for a client, or for the gateway itself if there is none; empty if the service wants no header.
//
// What is said about TLS is about the connection from the client's address to us. Where that address is from X-Forwarded-For,
// the connection is one of a proxy in between, and nothing is said: not even the port is known.
func (e *endpoint) proxyHeader(client *proxy.Client) (string, error) {
	if e.options.Proxied == 0 {
		return "", nil
	}
	h := proxyproto.Header{Local: client == nil}
	if client != nil {
		h.Source = netip.AddrPortFrom(client.Addr, 0)
		t := client.Transport
		if t != nil {
			h.Destination = t.Local
		}
		if client.Addr == client.Peer.Addr() {
			h.Source, h.Authority = client.Peer, client.ServerName
			if t != nil {
				h.TLS, h.TLSVersion, h.ALPN = t.TLS != "", t.TLS, t.ALPN
				h.Certificate, h.Resumed = client.Certificate != nil, t.Resumed
			}
		}
	}
	b, err := h.Append(nil, e.options.Proxied)
	if err != nil {
		return "", proxy.ErrInternal.With(fmt.Errorf("cannot write a PROXY header: %w", err))
	}
	return string(b), nil
}
