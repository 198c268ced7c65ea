package proxy

import "net/netip"

// Countries says which country an address belongs to, as its two letters (ISO 3166), or "" if it belongs to none. Safe for concurrent use.
type Countries interface{ Country(netip.Addr) string }

// Country is that of the client's address, or "" if nobody knows.
func (x *Exchange) Country() string {
	if x.Snapshot == nil || x.Snapshot.Countries == nil {
		return ""
	}
	return x.Snapshot.Countries.Country(x.Client.Addr.Unmap())
}
