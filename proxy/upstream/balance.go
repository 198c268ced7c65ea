package upstream

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sort"
	"sync/atomic"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Balance is how a service chooses among its endpoints.
type Balance uint8

// The balancers. All leave out endpoints that could not be reached a moment ago while others are left; those that are not healthy
// are not among what they choose from, see publish.
const (
	RoundRobin   Balance = iota // in turn, by weight, interleaved
	LeastRequest                // the better of two chosen at random, by requests in flight per weight
	Hash                        // consistent hash with bounded load
)

// Key is what Hash looks at.
type Key struct {
	Kind KeyKind
	Name string // of the header, cookie or query parameter
}

// KeyKind is a kind of key.
type KeyKind uint8

// The kinds of key.
const (
	ByClient KeyKind = iota
	ByPath
	ByHeader
	ByCookie
	ByQuery
)

// Hash returns the 64-bit hash of x's key. A missing header, cookie or parameter falls back to the client, so that
// requests without it are spread and not all sent to one endpoint.
func (k Key) Hash(x *proxy.Exchange) uint64 {
	var v []byte
	switch k.Kind {
	case ByPath:
		v = x.Request.Path
	case ByHeader:
		v, _ = x.Header(k.Name)
	case ByCookie:
		v, _ = x.Cookie(k.Name)
	case ByQuery:
		v, _ = x.Query(k.Name)
	}
	if len(v) == 0 {
		v = x.Client.Text
	}
	return hashBytes(v)
}

// hashBytes is FNV-1a with a final mix, the same on every host: endpoints of one key must agree across a fleet.
func hashBytes[T string | []byte](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(b); i++ {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// endpointSet is an immutable choice of endpoints, with what its balancer needs precomputed.
type endpointSet struct {
	endpoints []*endpoint
	order     []uint16 // round robin: the turns of one round
	ring      []point  // hash: sorted
}

type point struct {
	hash uint64
	at   uint16
}

// pointsPerWeight is how many places on the ring a weight of one gets: enough for shares within some percent.
const pointsPerWeight = 160

// setMax bounds endpoints per service; ringMax and orderMax what is precomputed for them.
const (
	setMax   = 4096
	ringMax  = 1 << 20
	orderMax = 1 << 16
)

func newSet(endpoints []*endpoint, b Balance) *endpointSet {
	endpoints = endpoints[:min(len(endpoints), setMax)]
	s := &endpointSet{endpoints: endpoints}
	divisor, weights := 0, 0
	for _, e := range endpoints {
		weights += e.target.Weight
		divisor = gcd(divisor, e.target.Weight)
	}
	switch {
	case len(endpoints) == 0:
	case b == RoundRobin:
		s.order = interleave(endpoints, divisor)
	case b == Hash:
		per := min(pointsPerWeight, max(1, ringMax*divisor/weights))
		for i, e := range endpoints {
			for n := range per * e.target.Weight / divisor {
				s.ring = append(s.ring, point{hashBytes(fmt.Sprintf("%s#%d", e.name, n)), uint16(i)})
			}
		}
		sort.Slice(s.ring, func(i, j int) bool { return s.ring[i].hash < s.ring[j].hash })
	}
	return s
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// interleave is smooth weighted round robin (as in nginx), written down for one round.
func interleave(endpoints []*endpoint, divisor int) []uint16 {
	total := 0
	for _, e := range endpoints {
		total += e.target.Weight / divisor
	}
	total = min(total, orderMax)
	current := make([]int, len(endpoints))
	order := make([]uint16, 0, total)
	for range total {
		best, sum := 0, 0
		for i, e := range endpoints {
			current[i] += e.target.Weight / divisor
			sum += e.target.Weight / divisor
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= sum
		order = append(order, uint16(best))
	}
	return order
}

// pick chooses an endpoint for a request.
func (s *Service) pick(x *proxy.Exchange, tried []*endpoint) *endpoint {
	set := s.set.Load()
	var key uint64
	if s.options.Balance == Hash && len(set.endpoints) > 1 {
		key = s.options.HashOn.Hash(x)
	}
	return s.choose(set, key, x.Started, tried)
}

// choose takes an endpoint that was not tried. If all that are left could not be reached lately, it takes the one whose time is
// up first: trying beats refusing. began is when what the endpoint is for began.
func (s *Service) choose(set *endpointSet, key uint64, began int64, tried []*endpoint) *endpoint {
	n := len(set.endpoints)
	if n == 0 {
		return nil
	}
	if n == 1 {
		// It may not be the one that was tried: the set may have been another one then.
		if e := set.endpoints[0]; !contains(tried, e) {
			return e
		}
		return nil
	}
	now := began
	if len(tried) > 0 {
		now = wire.Now()
	}
	var e *endpoint
	switch s.options.Balance {
	case RoundRobin:
		e = set.inTurn(&s.turn, now, tried)
	case LeastRequest:
		e = set.leastRequest(now, tried)
	default:
		e = set.byHash(key, now, tried)
	}
	if e != nil {
		return e
	}
	return set.soonest(tried)
}

// inTurn takes turns until one falls to an endpoint that can be used: so the turns of one that is left out are shared by
// all the others and do not go to its neighbour alone.
func (s *endpointSet) inTurn(turn *atomic.Uint64, now int64, tried []*endpoint) *endpoint {
	n := uint64(len(s.order))
	for range min(n, turnsMax) {
		if e := s.endpoints[s.order[(turn.Add(1)-1)%n]]; e.usable(now) && !contains(tried, e) {
			return e
		}
	}
	return s.next(0, now, tried)
}

// turnsMax bounds how many turns a request takes before it looks for any endpoint that can be used.
const turnsMax = 256

// leastRequest is the power of two choices: looking at two is nearly as good as looking at all, and does not send
// everybody to the same one.
func (s *endpointSet) leastRequest(now int64, tried []*endpoint) *endpoint {
	n := len(s.endpoints)
	r := rand.Uint64()
	i, _ := bits.Mul64(r, uint64(n))
	j, _ := bits.Mul64(r<<32|r>>32, uint64(n-1))
	if j >= i {
		j++ // never the same one twice
	}
	a, b := s.next(int(i), now, tried), s.next(int(j), now, tried)
	if a == nil || b == nil {
		return a // next looks at all of them: both are nil, or neither
	}
	if (b.inFlight.Load()+1)*int64(a.target.Weight) < (a.inFlight.Load()+1)*int64(b.target.Weight) {
		return b
	}
	return a
}

func (s *endpointSet) next(from int, now int64, tried []*endpoint) *endpoint {
	for i := range s.endpoints {
		if e := s.endpoints[(from+i)%len(s.endpoints)]; e.usable(now) && !contains(tried, e) {
			return e
		}
	}
	return nil
}

// byHash walks the ring from the key's place to the first endpoint that is not overloaded: one that has more than
// 1.25 times its share of what is in flight hands on (Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with
// Bounded Loads, 2017).
func (s *endpointSet) byHash(key uint64, now int64, tried []*endpoint) *endpoint {
	// The share is one of what can be used: else the first neighbour of those that are left out would get all of theirs.
	total, weights := int64(1), int64(0)
	for _, e := range s.endpoints {
		if e.usable(now) {
			total += e.inFlight.Load()
			weights += int64(e.target.Weight)
		}
	}
	if weights == 0 || len(tried) > 0 && s.next(0, now, tried) == nil {
		return nil // without a walk through all of the ring, of which there may be a million points
	}
	at := sort.Search(len(s.ring), func(i int) bool { return s.ring[i].hash >= key })
	var fallback *endpoint
	for i := range s.ring {
		e := s.endpoints[s.ring[(at+i)%len(s.ring)].at]
		if !e.usable(now) || contains(tried, e) {
			continue
		}
		if fallback == nil {
			fallback = e
		}
		// ceil(1.25 * total * weight / weights)
		most := (5*total*int64(e.target.Weight) + 4*weights - 1) / (4 * weights)
		if e.inFlight.Load() < most {
			return e
		}
	}
	return fallback
}

func (s *endpointSet) soonest(tried []*endpoint) *endpoint {
	var best *endpoint
	for _, e := range s.endpoints {
		if !contains(tried, e) && (best == nil || e.leftOutUntil.Load() < best.leftOutUntil.Load()) {
			best = e
		}
	}
	return best
}
