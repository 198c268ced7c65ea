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

// take counts a handshake of a client in, or refuses it. leave makes it end if somebody else needs the place.
func (h *handshakes) take(client netip.Addr, most int, leave func()) (*place, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.takeLocked(client, most, leave)
}

func (h *handshakes) takeLocked(client netip.Addr, most int, leave func()) (*place, error) {
	if h.shaking.greedy(client, most) || h.shaking.full(most) && !h.makeRoom(client) {
		h.refused.Add(1)
		return nil, errHandshakes
	}
	h.shaking.add(client)
	p := &place{client: client, leave: leave}
	if client.IsValid() {
		if h.places == nil {
			h.places = make(map[netip.Addr][]*place)
		}
		h.places[client] = append(h.places[client], p)
	}
	return p, nil
}

// beginHello counts a handshake in whose ClientHello is not all there, or refuses it. Nobody can make it end.
func (h *handshakes) beginHello(client netip.Addr, most int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hellos.greedy(client, most) || h.hellos.full(most) {
		h.refused.Add(1)
		return errHandshakes
	}
	h.hellos.add(client)
	return nil
}

// endHello is for one that ends before its ClientHello is all there.
func (h *handshakes) endHello(client netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hellos.sub(client)
}

// takeAfterHello is take for one that beginHello has counted, and that still counts so if it is refused.
func (h *handshakes) takeAfterHello(client netip.Addr, most int, leave func()) (*place, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.takeLocked(client, most, leave)
	if err == nil {
		h.hellos.sub(client)
	}
	return p, err
}

// giveBack ends what take has begun, and does nothing if it was called before. It reports whether the place was there until then.
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
	h.shaking.sub(p.client)
}

// makeRoom takes the oldest place of whichever client has the most, if somebody else gets a fairer share by that: a few clients that begin
// handshakes and do not go on with them must not shut out all others. The lock is held.
//
// It looks at every client, of which there are as many as places at most, and only when all places are taken.
func (h *handshakes) makeRoom(client netip.Addr) bool {
	var greediest netip.Addr
	most := h.shaking.clients[client] + 1
	for other := range h.places {
		if n := h.shaking.clients[other]; n > most {
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
