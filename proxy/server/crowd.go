package server

import (
	"net/netip"
	"slices"
)

// place is one of limits.handshakes, taken by a handshake that can be made to leave.
type place struct {
	client netip.Addr
	leave  func() // ends the handshake; it is called under the lock
	ended  bool   // it has been given back
	taken  bool   // it was taken away
}

// take is begin for a handshake that can be made to leave.
func (h *handshakes) take(client netip.Addr, most int, leave func()) (*place, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.count(client, most); err != nil {
		return nil, err
	}
	p := &place{client: client, leave: leave}
	if client.IsValid() {
		if h.places == nil {
			h.places = make(map[netip.Addr][]*place)
		}
		h.places[client] = append(h.places[client], p)
	}
	return p, nil
}

// giveBack is end for a place, and does nothing if it was called before. It reports whether the place was there until then.
func (h *handshakes) giveBack(p *place) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free(p)
	return !p.taken
}

func (h *handshakes) free(p *place) {
	if p.ended {
		return
	}
	p.ended = true
	if p.client.IsValid() {
		left := slices.DeleteFunc(h.places[p.client], func(o *place) bool { return o == p })
		if h.places[p.client] = left; len(left) == 0 {
			delete(h.places, p.client)
		}
	}
	h.discount(p.client)
}

// makeRoom takes the oldest place of whichever client has the most, if somebody else gets a fairer share by that: a few clients that begin
// handshakes and do not go on with them must not shut out all others. The lock is held.
//
// It looks at every client, of which there are as many as places at most, and only when all places are taken.
func (h *handshakes) makeRoom(client netip.Addr) bool {
	var greediest netip.Addr
	most := h.clients[client] + 1
	for other := range h.places {
		if n := h.clients[other]; n > most {
			greediest, most = other, n
		}
	}
	if !greediest.IsValid() {
		return false
	}
	p := h.places[greediest][0]
	h.free(p)
	p.taken = true
	h.refused.Add(1)
	p.leave()
	return true
}
