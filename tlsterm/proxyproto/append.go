package proxyproto

import (
	"cmp"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Append appends the header in version 1 or 2.
//
// A header that is Local, or has no valid Source, has no addresses: UNKNOWN, or LOCAL with UNSPEC. PROXY with UNSPEC would say more
// exactly that there is a client, one on a unix socket say, but receivers are free to reject it (section 2.2), and do. Where the
// families of the addresses differ, or the destination is not known, what is written still has one family: an IPv4 address mapped
// into IPv6, or the unspecified address. Version 1 has room for the addresses alone.
func (h *Header) Append(dst []byte, version int) ([]byte, error) {
	out := proxyproto.Header{Version: byte(version), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	known := !h.Local && h.Source.IsValid()
	if known {
		source, destination := oneFamily(h.Source, h.Destination)
		out.Command, out.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv6
		if source.Addr().Is4() {
			out.TransportProtocol = proxyproto.TCPv4
		}
		out.SourceAddr, out.DestinationAddr = net.TCPAddrFromAddrPort(source), net.TCPAddrFromAddrPort(destination)
	}
	if known && version == 2 {
		tlvs, err := h.tlvs()
		if err == nil {
			err = out.SetTLVs(tlvs)
		}
		if err != nil {
			return dst, err
		}
	}
	b, err := out.Format()
	return append(dst, b...), err
}

// oneFamily gives two addresses the same family.
func oneFamily(source, destination netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	s, d := source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	switch {
	case !d.IsValid() && s.Is4():
		d = netip.IPv4Unspecified()
	case !d.IsValid():
		d = netip.IPv6Unspecified()
	case s.Is4() != d.Is4():
		s, d = netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16())
	}
	return netip.AddrPortFrom(s, source.Port()), netip.AddrPortFrom(d, destination.Port())
}

func (h *Header) tlvs() ([]proxyproto.TLV, error) {
	var tlvs []proxyproto.TLV
	if h.ALPN != "" && len(h.ALPN) <= 255 {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(h.ALPN)})
	}
	if validAuthority([]byte(h.Authority)) {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(h.Authority)})
	}
	if !h.TLS {
		return tlvs, nil
	}
	ssl := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1}
	if h.Certificate {
		ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
		ssl.Verify = 0 // verified
		if !h.Resumed {
			ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN
		}
	}
	version := cmp.Or(h.TLSVersion, unknownTLS) // it has to be there
	ssl.TLV = []proxyproto.TLV{{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(version)}}
	tlv, err := ssl.Marshal()
	return append(tlvs, tlv), err
}
