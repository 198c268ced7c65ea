package limit

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"

	"sluice/proxy"
)

// heavy remembers the text of the keys that are used most, which the table does not know: of those that are refused, and of a
// sample of all. It is the algorithm Space-Saving (Metwally, Agrawal, El Abbadi, 2005): a bounded number of keys with counts, where one
// that is not there takes the place of the least, and its count along. Whoever uses one request in heavyMax or more is there.
//
// It is beside the hot path. Who finds it locked goes on without: nobody waits for a list.
type heavy struct {
	mu      sync.Mutex
	entries []heavyKey
	at      map[uint64]int // where a key is in entries
	halved  int64          // when all counts were last halved
}

type heavyKey struct {
	key      uint64
	limit    int // which of the policy's
	requests uint64
	least    uint64 // what of requests was the count of the key that was here before
	refused  uint64
	text     []byte
}

const (
	heavyMax      = 128
	heavyTextMax  = 256
	heavyHalfLife = int64(60e9) // what was a minute ago counts half
	// newcomers is how many keys that are not there go by, when all places are taken, for each that gets one: a flood of keys that
	// are refused once each must not cost more than the refusals.
	newcomers = 16
)

// note counts a key of a request. requests and refused are how many it stands for.
func (h *heavy) note(k *keyer, x *proxy.Exchange, key uint64, limit int, requests, refused uint64) {
	if !h.mu.TryLock() {
		return
	}
	defer h.mu.Unlock()
	if e := h.count(x.Started, key, limit, requests, refused); e != nil {
		e.name(k.appendText(e.text[:0], x))
	}
}

// noteAddress is note for a connection.
func (h *heavy) noteAddress(k *keyer, a netip.Addr, now int64, key uint64, limit int, requests, refused uint64) {
	if !h.mu.TryLock() {
		return
	}
	defer h.mu.Unlock()
	if e := h.count(now, key, limit, requests, refused); e != nil {
		e.name(k.appendAddress(e.text[:0], a))
	}
}

// count counts. It returns the entry of a key that was not there and is now, which has no text yet, or nil.
func (h *heavy) count(now int64, key uint64, limit int, requests, refused uint64) *heavyKey {
	if h.at == nil {
		h.at = make(map[uint64]int, heavyMax)
		h.entries = make([]heavyKey, 0, heavyMax)
	}
	h.age(now)
	requests += refused
	if i, known := h.at[key]; known {
		h.entries[i].requests += requests
		h.entries[i].refused += refused
		return nil
	}
	i := len(h.entries)
	if i < heavyMax {
		h.entries = append(h.entries, heavyKey{text: make([]byte, 0, heavyTextMax)})
	} else {
		if rand.Uint32()%newcomers != 0 {
			return nil
		}
		i = h.lightest()
		delete(h.at, h.entries[i].key)
		requests, refused = requests*newcomers, refused*newcomers
	}
	e := &h.entries[i]
	e.least = e.requests
	e.key, e.limit, e.requests, e.refused = key, limit, e.least+requests, refused
	h.at[key] = i
	return e
}

// name gives an entry its text, of which it keeps the memory that it had.
func (e *heavyKey) name(text []byte) {
	if e.text = text; len(text) > heavyTextMax {
		e.text = append(make([]byte, 0, heavyTextMax), text[:heavyTextMax]...)
	}
}

func (h *heavy) lightest() int {
	lightest := 0
	for i := range h.entries {
		if h.entries[i].requests < h.entries[lightest].requests {
			lightest = i
		}
	}
	return lightest
}

// age halves all counts once in a while, so that the list is about now.
func (h *heavy) age(now int64) {
	if now-h.halved < heavyHalfLife {
		return
	}
	h.halved = now
	for i := range h.entries {
		h.entries[i].requests /= 2
		h.entries[i].least /= 2
		h.entries[i].refused /= 2
	}
}

// list returns what is known, the heaviest first: with the requests that were counted for the key itself.
func (h *heavy) list() []heavyKey {
	h.mu.Lock()
	list := make([]heavyKey, len(h.entries))
	for i, e := range h.entries {
		e.text = slices.Clone(e.text)
		e.requests -= e.least
		list[i] = e
	}
	h.mu.Unlock()
	slices.SortStableFunc(list, func(a, b heavyKey) int { return cmp.Compare(b.requests, a.requests) })
	return list
}
