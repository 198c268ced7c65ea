package upstream

import (
	"math/rand/v2"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Split divides a route's requests among services by weight. It is a terminal policy: the service that a request falls
// to answers it.
type Split struct {
	shares []Share
	total  uint64
	sticky Sticky
}

// Share is a service and its part of the requests.
type Share struct {
	To     proxy.Policy
	Weight int
}

// Sticky keeps a client on its side of a split.
type Sticky struct {
	Kind StickyKind
	Name string // of the cookie or header
}

// StickyKind is what a client is recognised by.
type StickyKind uint8

// The kinds of stickiness.
const (
	NotSticky StickyKind = iota
	StickyClient
	StickyHeader
	StickyCookie
)

// Every client has a bucket, and a share owns a range of them: when weights shift, only the clients between the old
// boundary and the new one change sides.
const buckets = 1_000_000

// NewSplit returns a split. At least one weight must be above 0.
func NewSplit(shares []Share, sticky Sticky) *Split {
	s := &Split{shares: shares, sticky: sticky}
	for _, share := range shares {
		s.total += uint64(share.Weight)
	}
	if s.total == 0 {
		panic("BUG: a split without weight")
	}
	return s
}

// Serve hands the request to one of the services.
func (s *Split) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	point := uint64(s.bucket(x)) * s.total / buckets
	for i := range s.shares {
		w := uint64(s.shares[i].Weight)
		if point < w {
			return s.shares[i].To.Serve(x, next)
		}
		point -= w
	}
	panic("BUG: a bucket beyond all shares")
}

func (s *Split) bucket(x *proxy.Exchange) uint32 {
	var key []byte
	switch s.sticky.Kind {
	case NotSticky:
		return rand.Uint32N(buckets)
	case StickyHeader:
		key, _ = x.Header(s.sticky.Name)
	case StickyCookie:
		return s.cookieBucket(x)
	}
	if len(key) == 0 {
		key = x.Client.Text
	}
	return uint32(hashBytes(key) % buckets)
}

// cookieBucket reads the bucket from the cookie that an earlier response has set, or draws one and has it set. A cookie of
// that name with another value belongs to the application, whose session then decides.
func (s *Split) cookieBucket(x *proxy.Exchange) uint32 {
	value, _ := x.Cookie(s.sticky.Name)
	if len(value) == 0 {
		x.Bucket = rand.Uint32N(buckets)
		x.OnHead(s)
		return x.Bucket
	}
	if b, ok := parseBucket(value); ok {
		return b
	}
	return uint32(hashBytes(value) % buckets)
}

// parseBucket reads "b" and six digits.
func parseBucket(v []byte) (uint32, bool) {
	if len(v) != 7 || v[0] != 'b' {
		return 0, false
	}
	n := uint32(0)
	for _, c := range v[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint32(c-'0')
	}
	return n, true
}

// stickyFor is how long a browser keeps its bucket, in seconds: 30 days.
const stickyFor = 30 * 24 * 60 * 60

// EditHead sets the cookie on the response.
func (s *Split) EditHead(x *proxy.Exchange) {
	b := append(x.Scratch(), s.sticky.Name...)
	b = append(b, "=b"...)
	for unit := uint32(buckets / 10); unit > 0; unit /= 10 {
		b = append(b, byte('0'+x.Bucket/unit%10))
	}
	b = append(b, "; Path=/; Max-Age="...)
	b = wire.AppendUint(b, stickyFor)
	b = append(b, "; HttpOnly; SameSite=Lax"...)
	if x.Request.Scheme == "https" {
		b = append(b, "; Secure"...)
	}
	x.Response.Head.Add("Set-Cookie", x.KeepScratch(b))
}
