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
		if h.shaking.all != underWay || len(left) != gone {
			t.Errorf("%d are under way and %d have left, want %d and %d", h.shaking.all, len(left), underWay, gone)
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
	if len(h.places) != 1 || len(h.shaking.clients) != 1 {
		t.Errorf("%d and %d clients are remembered", len(h.places), len(h.shaking.clients))
	}
}

// TestPlaces_hellos: those whose ClientHello is not all there take no places, but each of them makes it more of a crowd until it has gone, or
// has got one.
func TestPlaces_hellos(t *testing.T) {
	const most = 16 // of which one client may have 2
	var h handshakes
	addr := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
	f := func(hellos, shaking int, crowded bool) {
		t.Helper()
		if h.hellos.all != hellos || h.shaking.all != shaking || h.crowded(netip.Addr{}, most) != crowded {
			t.Errorf("%d and %d are under way, crowded: %v", h.hellos.all, h.shaking.all, !crowded)
		}
	}
	hello := func(client int, want error) {
		t.Helper()
		if err := h.beginHello(addr(client), most); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	for i := range 16 {
		f(i, 0, i >= 4)
		hello(i/2, nil)
	}
	hello(0, errHandshakes)
	hello(9, errHandshakes)
	f(16, 0, true)
	var places []*place
	for i := range 2 {
		p, err := h.takeAfterHello(addr(0), most, func() {})
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, p)
		f(15-i, 1+i, true)
	}
	hello(0, nil)
	if _, err := h.takeAfterHello(addr(0), most, func() {}); err != errHandshakes {
		t.Errorf("a third place: got %v", err)
	}
	f(15, 2, true)
	for i := range 14 {
		h.endHello(addr(1 + i/2))
		f(14-i, 2, 14-i+2 >= 4)
	}
	h.endHello(addr(0))
	for _, p := range places {
		h.giveBack(p)
	}
	f(0, 0, false)
	if len(h.hellos.clients) != 0 || len(h.shaking.clients) != 0 || h.crowded(addr(0), most) || h.refused.Load() != 3 {
		t.Errorf("%v and %v are left, %d were refused", h.hellos.clients, h.shaking.clients, h.refused.Load())
	}
}
