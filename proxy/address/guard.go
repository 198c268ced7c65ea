package address

import (
	"errors"
	"fmt"
	"net/netip"

	"sluice/proxy"
)

// ErrDenied refuses a client whose address is denied, or not among those that are allowed.
var ErrDenied = &proxy.Error{Status: 403, Code: "address_denied", Detail: "Requests from this address are not accepted.", Side: proxy.ByClient}

// Guard admits or refuses clients by lists of prefixes. Deny wins over allow; with an allow list, who is not on it
// is refused. It is immutable and safe for concurrent use. A check costs one binary search in each list, whatever
// the prefixes overlap, and allocates nothing.
type Guard struct {
	allow, deny set
	closed      bool // there is an allow list
}

// New compiles lists of prefixes, of which at least one must not be empty. Host bits may be set. Prefixes of
// IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) mean the IPv4 prefix.
func New(allow, deny []netip.Prefix) (*Guard, error) {
	if len(allow) == 0 && len(deny) == 0 {
		return nil, errors.New("no address is allowed or denied: nothing would be checked")
	}
	g := &Guard{closed: len(allow) > 0}
	var err error
	if g.allow, err = newSet(allow); err != nil {
		return nil, fmt.Errorf("cannot use the list of allowed addresses: %w", err)
	}
	if g.deny, err = newSet(deny); err != nil {
		return nil, fmt.Errorf("cannot use the list of denied addresses: %w", err)
	}
	return g, nil
}

// Check returns nil or ErrDenied. A client without an IP address, behind a unix socket say, is on no list.
func (g *Guard) Check(x *proxy.Exchange) error {
	// Unmap first: "::ffff:10.0.0.1" is how a dual-stack socket reports 10.0.0.1.
	addr := x.Client.Addr.Unmap()
	if g.deny.contains(addr) || g.closed && !g.allow.contains(addr) {
		return ErrDenied
	}
	return nil
}
