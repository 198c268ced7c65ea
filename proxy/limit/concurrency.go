package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"sluice/proxy"
)

// What a request is refused with that is one too many at the same time. As a call of gRPC it is told RESOURCE_EXHAUSTED either way.
var (
	ErrConcurrency = &proxy.Error{Status: 503, Code: "concurrency_limited", Side: proxy.ByGateway, RetryAfter: 1, GRPC: proxy.GRPCResourceExhausted,
		Detail: "Too many requests are under way at the same time."}
	ErrClientConcurrency = &proxy.Error{Status: 429, Code: "concurrency_limited", Side: proxy.ByClient, RetryAfter: 1,
		Detail: "Too many requests are under way at the same time."}
)

// Ceiling is how many requests of one key may be under way.
type Ceiling struct {
	Text string // as it is configured, for people
	Max  int
	By   Key
}

// SlotOptions of a policy that limits concurrency.
type SlotOptions struct {
	Name     string
	Ceilings []Ceiling
	Keys     int  // how many keys of each ceiling can have requests under way
	Blame    bool // refuse with ErrClientConcurrency instead of ErrConcurrency
	// What is counted, as in Options.
	Allowed, Refused Counter
}

// Slots is the state of a policy that limits how many requests are under way at the same time. It outlives a reload as Rates does.
type Slots struct {
	options SlotOptions
	table   *table
	plain   []keyer
	// spill counts the requests of all keys that have found no place in the table: together they may have what one key may.
	spill []atomic.Uint64
	heavy heavy
}

// NewSlots reserves the memory.
func NewSlots(o SlotOptions) (*Slots, error) {
	if len(o.Ceilings) == 0 || len(o.Ceilings) > WindowsMax {
		return nil, fmt.Errorf("a policy has between 1 and %d limits", WindowsMax)
	}
	var by []Key
	for _, c := range o.Ceilings {
		if c.Max < 1 || c.Max >= int(countMask) {
			return nil, fmt.Errorf("%q is no number of requests", c.Text)
		}
		by = append(by, c.By)
	}
	t, err := newTable(tableKeys(o.Keys, by), countMask)
	if err != nil {
		return nil, err
	}
	s := &Slots{options: o, table: t, spill: make([]atomic.Uint64, len(by))}
	s.plain, err = newKeyers(by, nil)
	return s, err
}

// Concurrency is the guard of a route that uses Slots. It is immutable and safe for concurrent use; a check allocates nothing.
type Concurrency struct {
	*Slots
	keys    []keyer
	refused *proxy.Error
}

// Guard returns the guard for a route.
func (s *Slots) Guard(route *proxy.Route) (*Concurrency, error) {
	return s.GuardFirst(route, len(s.options.Ceilings))
}

// GuardFirst is Guard, for a route on which only the first n ceilings count.
func (s *Slots) GuardFirst(route *proxy.Route, n int) (*Concurrency, error) {
	var by []Key
	for _, c := range s.options.Ceilings[:n] {
		by = append(by, c.By)
	}
	g := &Concurrency{Slots: s, refused: ErrConcurrency}
	if s.options.Blame {
		g.refused = ErrClientConcurrency
	}
	var err error
	g.keys, err = newKeyers(by, route)
	return g, err
}

// Check takes a slot of each limit until the exchange is over: a download, a stream or a tunnel is not over when its head is known. It
// takes none and returns an error if one of them has no slot left.
func (g *Concurrency) Check(x *proxy.Exchange) error {
	h := holds.Get().(*hold)
	for i := range g.keys {
		key := g.keys[i].hash(x, &g.table.seed)
		slot := g.take(i, key)
		if slot == nil {
			h.Finish(x)
			g.options.Refused.Add(1)
			g.heavy.note(&g.keys[i], x, key, i, 0, 1)
			return g.refused
		}
		h.slots[i] = slot
		h.owner = g.Slots
		if rand.Uint32()%sampleEvery == 0 {
			g.heavy.note(&g.keys[i], x, key, i, sampleEvery, 0)
		}
	}
	g.options.Allowed.Add(1)
	x.OnFinish(h)
	return nil
}

// take returns the count that was raised, or nil if it is as high as it may be.
func (s *Slots) take(limit int, key uint64) *atomic.Uint64 {
	most := uint64(s.options.Ceilings[limit].Max)
	for i := 1; ; i++ {
		slot := s.table.find(key)
		if slot == nil {
			entered := false
			if slot, entered = s.table.enter(key, 0, 0); entered {
				return &slot.state
			}
			if slot == nil {
				return raiseSpilled(&s.spill[limit], most)
			}
		}
		state, ok := slot.load(key)
		switch {
		case !ok:
			pause(i)
		case state&countMask >= most:
			return nil
		case slot.state.CompareAndSwap(state, state+1):
			return &slot.state
		}
	}
}

// underWay is the count that take would raise.
func (s *Slots) underWay(limit int, key uint64) uint64 {
	for i := 1; ; i++ {
		slot := s.table.find(key)
		if slot == nil {
			if s.table.hasRoom(key, 0) {
				return 0
			}
			return s.spill[limit].Load()
		}
		if state, ok := slot.load(key); ok {
			return state & countMask
		}
		pause(i)
	}
}

func raiseSpilled(count *atomic.Uint64, most uint64) *atomic.Uint64 {
	for {
		state := count.Load()
		if state >= most {
			return nil
		}
		if count.CompareAndSwap(state, state+1) {
			return count
		}
	}
}

// hold is what a request has taken. A slot whose count is not 0 stays its key's, so that it can be kept by its address.
type hold struct {
	slots [WindowsMax]*atomic.Uint64
	owner *Slots // whose memory they lie in
}

var holds = sync.Pool{New: func() any { return new(hold) }}

// Finish gives everything back.
func (h *hold) Finish(*proxy.Exchange) {
	for i, slot := range h.slots {
		if slot == nil {
			break
		}
		if slot.Add(^uint64(0))&countMask == countMask {
			panic("BUG: a slot was given back twice")
		}
		h.slots[i] = nil
	}
	h.owner = nil
	holds.Put(h)
}
