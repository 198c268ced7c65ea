package address

import (
	"errors"
	"fmt"
	"net/netip"

	"sluice/proxy"
)

// ErrDenied refuses a client whose address is denied, or not among those that are allowed.
var ErrDenied = &proxy.Error{Status: 403, Code: "address_denied", Detail: "Requests from this address are not accepted.", Side: proxy.ByClient}

// Guard admits or refuses clients by sets of addresses. Deny wins over allow; with an allow list, who is not on it
// is refused. It is immutable and safe for concurrent use. A check costs a lookup in each set, whatever
// the prefixes overlap, and allocates nothing.
type Guard struct {
	allow, deny *Set // nil: there is none
}

// New compiles lists of prefixes, of which at least one must not be empty.
func New(allow, deny []netip.Prefix) (*Guard, error) {
	if len(allow) == 0 && len(deny) == 0 {
		return nil, errors.New("no address is allowed or denied: nothing would be checked")
	}
	var a, d *Set
	var err error
	if len(allow) > 0 {
		if a, err = NewSet(allow); err != nil {
			return nil, fmt.Errorf("cannot use the list of allowed addresses: %w", err)
		}
	}
	if len(deny) > 0 {
		if d, err = NewSet(deny); err != nil {
			return nil, fmt.Errorf("cannot use the list of denied addresses: %w", err)
		}
	}
	return NewGuard(a, d), nil
}

// NewGuard returns a guard by sets, either of which may be nil: then nobody is denied, or who is not denied is allowed. An empty set of
// allowed addresses allows nobody.
func NewGuard(allow, deny *Set) *Guard { return &Guard{allow: allow, deny: deny} }

// Check returns nil or ErrDenied. A client without an IP address, behind a unix socket say, is on no list.
func (g *Guard) Check(x *proxy.Exchange) error {
	// Unmap first: "::ffff:10.0.0.1" is how a dual-stack socket reports 10.0.0.1.
	addr := x.Client.Addr.Unmap()
	if g.deny != nil && g.deny.Contains(addr) || g.allow != nil && !g.allow.Contains(addr) {
		return ErrDenied
	}
	return nil
}
