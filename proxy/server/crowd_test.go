package server

import (
	"net/netip"
	"testing"
)

// TestPlaces: when all places are taken, those who have the fewest get one of those who have the most.
func TestPlaces(t *testing.T) {
	const most = 24 // of which one client may have 3
	var h handshakes
	addr := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
	left := map[*place]bool{}
	take := func(client netip.Addr) *place {
		var p *place
		p, err := h.take(client, most, func() { left[p] = true })
		if err != nil {
			return nil
		}
		return p
	}
	check := func(underWay, gone int) {
		t.Helper()
		if h.underWay != underWay || len(left) != gone {
			t.Errorf("%d are under way and %d have left, want %d and %d", h.underWay, len(left), underWay, gone)
		}
	}
	var greedy [8][]*place
	for i := range greedy {
		for range 3 {
			greedy[i] = append(greedy[i], take(addr(i)))
		}
		if take(addr(i)) != nil {
			t.Error("a client has more than its share")
		}
	}
	check(24, 0)
	var others []*place
	for i := range 8 {
		others = append(others, take(addr(100+i)))
	}
	check(24, 8)
	for i, places := range greedy {
		if !left[places[0]] || left[places[1]] || left[places[2]] {
			t.Errorf("client %d: it is not the oldest that has left", i)
		}
	}
	if take(addr(100)) != nil {
		t.Error("who has one already got another from those who have two")
	}
	if take(addr(200)) == nil {
		t.Error("a ninth client got none")
	}
	check(24, 9)
	if h.giveBack(greedy[0][0]) || !h.giveBack(others[0]) || !h.giveBack(others[0]) {
		t.Error("a place that was taken away was there, or one that was not was not")
	}
	check(23, 9)
	if p := take(netip.Addr{}); p == nil || !h.giveBack(p) {
		t.Error("somebody whom nobody counts got no place")
	}
	for _, p := range others[1:] {
		h.giveBack(p)
	}
	for _, places := range greedy {
		for _, p := range places {
			h.giveBack(p)
		}
	}
	check(1, 9) // of the ninth
	if len(h.places) != 1 || len(h.clients) != 1 {
		t.Errorf("%d and %d clients are remembered", len(h.places), len(h.clients))
	}
}
