package limit

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func mustDoor(t *testing.T, o DoorOptions) *Door {
	t.Helper()
	if o.Keys == 0 {
		o.Keys = 1000
	}
	d, err := NewDoor(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDoorConnects: so many of each client, whose IPv6 network counts as one, or whichever prefix is named.
func TestDoorConnects(t *testing.T) {
	d := mustDoor(t, DoorOptions{
		Connect: []Window{window(3, time.Hour, 3, byIP())}, Except: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ee::/48")},
	})
	f := func(d *Door, client string, want bool) {
		t.Helper()
		if _, ok := d.Enter(netip.MustParseAddr(client)); ok != want {
			t.Errorf("%s: %v, want %v", client, ok, want)
		}
	}
	for range 3 {
		f(d, "192.0.2.1", true)
	}
	f(d, "192.0.2.1", false)
	f(d, "192.0.2.2", true)
	for i := range 3 {
		f(d, fmt.Sprintf("2001:db8:0:1::%d", i+1), true)
	}
	f(d, "2001:db8:0:1:ffff::", false)
	f(d, "2001:db8:0:2::1", true)
	for range 10 {
		f(d, "10.1.2.3", true)
		f(d, "2001:db8:ee:1::7", true)
		if _, ok := d.Enter(netip.Addr{}); !ok {
			t.Error("a client without an address was refused")
		}
	}
	if got := d.Refused(); got != [DoorReasons]uint64{2, 0, 0} {
		t.Errorf("got %v", got)
	}
	if err := d.ResetValues("192.0.2.1"); err != nil {
		t.Error(err)
	}
	f(d, "192.0.2.1", true)
	if err := d.ResetValues("192.0.2.99"); err != ErrUnknownKey {
		t.Errorf("got %v", err)
	}
	for _, values := range [][]string{{}, {"a"}, {"192.0.2.1", "192.0.2.2"}} {
		if err := d.ResetValues(values...); err == nil || err == ErrUnknownKey {
			t.Errorf("%q: got %v", values, err)
		}
	}

	wide := mustDoor(t, DoorOptions{Connect: []Window{window(2, time.Hour, 2, Key{{Source: "ip", V4: 24, V6: 48}})}})
	f(wide, "192.0.2.1", true)
	f(wide, "192.0.2.200", true)
	f(wide, "192.0.2.3", false)
	f(wide, "2001:db8:1:1::1", true)
	f(wide, "2001:db8:1:2::1", true)
	f(wide, "2001:db8:1:3::1", false)

	// All together, and each of them: what the second refuses takes nothing from the first.
	both := mustDoor(t, DoorOptions{Connect: []Window{window(5, time.Hour, 5, nil), window(2, time.Hour, 2, byIP())}})
	for range 10 {
		_, _ = both.Enter(netip.MustParseAddr("192.0.2.1"))
	}
	f(both, "192.0.2.2", true)
	f(both, "192.0.2.2", true)
	f(both, "192.0.2.3", true)
	f(both, "192.0.2.4", false)
}

// TestDoorOpen: a connection counts until it has left; one that is refused has taken nothing.
func TestDoorOpen(t *testing.T) {
	d := mustDoor(t, DoorOptions{
		Connect: []Window{window(4, time.Hour, 4, byIP())},
		Open:    []Ceiling{{Text: "2 per ip", Max: 2, By: byIP()}, {Text: "3", Max: 3}},
	})
	enter := func(client string, want bool) func() {
		t.Helper()
		leave, ok := d.Enter(netip.MustParseAddr(client))
		if ok != want || ok != (leave != nil) {
			t.Errorf("%s: %v, want %v", client, ok, want)
		}
		return leave
	}
	first := enter("192.0.2.1", true)
	second := enter("192.0.2.1", true)
	for range 10 {
		enter("192.0.2.1", false)
	}
	third := enter("192.0.2.2", true)
	enter("192.0.2.3", false) // three are there in all
	first()
	fourth := enter("192.0.2.1", true)
	second()
	fifth := enter("192.0.2.1", true)
	fourth()
	if _, ok := d.Enter(netip.MustParseAddr("192.0.2.1")); ok {
		t.Error("a fifth connection was let in: the rate is 4")
	}
	fifth()
	third()
	if s := d.open.Counts(); s.Live != 0 {
		t.Errorf("%d still count", s.Live)
	}
	if got := d.Refused(); got != [DoorReasons]uint64{1, 0, 11} {
		t.Errorf("got %v", got)
	}
	if s := d.Status(); strings.Join(s.Limits, ", ") != "new_connections: 4/1h0m0s burst 4, connections: 2 per ip, connections: 3" {
		t.Errorf("got %q", s.Limits)
	}
}

// TestDoorHandshakes: handshakes are counted apart, and addresses are doubted from the middle on.
func TestDoorHandshakes(t *testing.T) {
	d := mustDoor(t, DoorOptions{Handshake: []Window{window(4, time.Hour, 4, byIP())}, Connect: []Window{window(1000, time.Second, 1000, nil)}})
	a := netip.MustParseAddr("192.0.2.1")
	for i := range 6 {
		if got := d.Doubts(a); got != (i >= 2) {
			t.Errorf("after %d: doubted: %v", i, got)
		}
		if got := d.Handshake(a); got != (i < 4) {
			t.Errorf("handshake %d: %v", i, got)
		}
		if _, ok := d.Enter(a); !ok {
			t.Error("a connection was refused")
		}
	}
	if d.Doubts(netip.MustParseAddr("192.0.2.2")) {
		t.Error("another client is doubted")
	}
	if got := d.Refused(); got != [DoorReasons]uint64{0, 2, 0} {
		t.Errorf("got %v", got)
	}
}

// TestDoorFlood: when there is no room, newcomers share what one client may have.
func TestDoorFlood(t *testing.T) {
	d := mustDoor(t, DoorOptions{Connect: []Window{window(1, time.Hour, 1, byIP())}, Keys: 100})
	in := 0
	for i := range 5000 {
		if _, ok := d.Enter(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})); ok {
			in++
		}
	}
	if in < 150 || in > 201 { // there are two places for each key
		t.Errorf("%d came in", in)
	}
	if d.Counts().Overflow == 0 {
		t.Error("no overflow was counted")
	}
}

func TestNewDoorRefuses(t *testing.T) {
	f := func(want string, o DoorOptions) {
		t.Helper()
		o.Keys = 10
		if _, err := NewDoor(o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	header := Key{{Source: "header", Name: "X"}}
	f("counted by ip", DoorOptions{Connect: []Window{window(1, time.Hour, 1, header)}})
	f("counted by ip", DoorOptions{Handshake: []Window{window(1, time.Hour, 1, header)}})
	f("counted by ip", DoorOptions{Open: []Ceiling{{Text: "1", Max: 1, By: header}}})
	f("not above 0", DoorOptions{Connect: []Window{window(0, time.Hour, 1, nil)}})
	f("no number", DoorOptions{Open: []Ceiling{{Text: "0"}}})
	f("at most 8", DoorOptions{Connect: make([]Window, 9)})
}

// TestDoorDoubts: addresses are to be proven from the middle of each limit on, so that half of it is left for those that are; all of it where
// it is one.
func TestDoorDoubts(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	f := func(o DoorOptions, client netip.Addr, want int) {
		t.Helper()
		d := mustDoor(t, o)
		for i := range want + 1 {
			if got := d.Doubts(client); got != (i == want) {
				t.Errorf("after %d of a: doubted: %v", i, got)
			}
			leave, ok := d.Enter(a)
			if !ok {
				t.Errorf("connection %d was refused", i)
			}
			if leave != nil {
				defer leave()
			}
		}
	}
	perIP := func(n int) DoorOptions { return DoorOptions{Open: []Ceiling{{Max: n, By: byIP()}}} }
	f(perIP(10), a, 5)
	f(perIP(3), a, 2)
	f(perIP(2), a, 1)
	f(perIP(1), a, 0)
	f(DoorOptions{Open: []Ceiling{{Max: 8}}}, b, 4)
	f(DoorOptions{Open: []Ceiling{{Max: 100, By: byIP()}, {Max: 8}}}, b, 4)
	f(DoorOptions{Connect: []Window{window(1, time.Hour, 1, byIP())}}, a, 0)
	f(DoorOptions{Connect: []Window{window(8, time.Hour, 8, nil)}}, b, 4)

	d := mustDoor(t, perIP(4))
	for range 4 {
		if leave, ok := d.Enter(a); !ok || d.Doubts(b) {
			t.Error("another client is doubted")
		} else {
			defer leave()
		}
	}
	if !d.Doubts(a) || d.Doubts(netip.Addr{}) {
		t.Error("a full address is not doubted, or one that nothing limits is")
	}
	d = mustDoor(t, DoorOptions{Open: []Ceiling{{Max: 1, By: byIP()}}, Except: []netip.Prefix{netip.PrefixFrom(a, 32)}})
	if d.Doubts(a) {
		t.Error("an address is doubted that nothing limits")
	}
}

// TestDoorFollows: a door that comes in the place of another counts on what both limit alike, and anew what they do not.
func TestDoorFollows(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	o := func(rate, open int) DoorOptions {
		return DoorOptions{Keys: 1000, Connect: []Window{window(rate, time.Hour, rate, byIP())}, Open: []Ceiling{{Max: open, By: byIP()}}}
	}
	f := func(next DoorOptions, want int) {
		t.Helper()
		first := mustDoor(t, o(10, 4))
		var leave []func()
		for range 3 {
			l, ok := first.Enter(a)
			if !ok {
				t.Fatal("a connection was refused")
			}
			leave = append(leave, l)
		}
		second, err := NewDoor(next, first)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want + 1 {
			if _, ok := second.Enter(a); ok != (i < want) {
				t.Errorf("connection %d: %v, want %d", i, ok, want)
			}
		}
		for _, l := range leave {
			l() // whoever has let them in
		}
		if _, ok := second.Enter(a); ok != (want == 1) {
			t.Errorf("when connections of the first have ended: %v", ok)
		}
	}
	f(o(10, 4), 1)
	f(o(9, 4), 1)
	f(o(10, 5), 5)
	f(o(9, 5), 5)
	except := o(10, 4)
	except.Except = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f(except, 1)
	more := o(10, 4)
	more.Handshake = []Window{window(1, time.Hour, 1, byIP())}
	f(more, 1)
	none := o(10, 4)
	none.Open = nil
	f(none, 7) // of its rate
	larger := o(10, 4)
	larger.Keys = 2000
	f(larger, 4)
}
