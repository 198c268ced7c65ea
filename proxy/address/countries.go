package address

import "sluice/proxy"

// ErrCountry refuses clients by the country of their address.
var ErrCountry = &proxy.Error{Status: 403, Code: "country_denied", Detail: "Requests from this country are not accepted.", Side: proxy.ByClient}

// Countries admits or refuses clients by the country that their address belongs to. The sets come from a database, which is not looked at
// for a request.
type Countries struct {
	listed, known *Set
	allow         bool
}

// NewCountries returns a guard that admits, if allow is set, or else refuses the addresses that are listed, those of some countries. known, if
// not nil, are the addresses of any country: all others are treated as if they were listed. Without it they are treated as those of countries
// that are not.
func NewCountries(listed, known *Set, allow bool) *Countries {
	return &Countries{listed: listed, known: known, allow: allow}
}

// Check returns nil or ErrCountry.
func (c *Countries) Check(x *proxy.Exchange) error {
	addr := x.Client.Addr.Unmap()
	listed := c.listed.Contains(addr) || c.known != nil && !c.known.Contains(addr)
	if listed != c.allow {
		return ErrCountry
	}
	return nil
}
