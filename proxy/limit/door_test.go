package limit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy/wire"
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

// TestDoorFloodRefused: newcomers who are turned away by something else have used up nothing of what they share.
func TestDoorFloodRefused(t *testing.T) {
	f := func(o DoorOptions, limits func(d *Door)) {
		t.Helper()
		o.Connect = append([]Window{window(10, time.Hour, 10, byIP())}, o.Connect...)
		o.Keys = 10
		d := mustDoor(t, o)
		now := wire.Now()
		// Nobody finds a place: all of them are in use.
		for i := range 1000 {
			d.connect.tokens[0].Take(clean(uint64(i+1)*0xD1342543DE82EF95), 1, now)
		}
		spill := &d.connect.tokens[0].(*Local).spill
		spill.Store(0)
		limits(d)
		for i := range 100 {
			if _, ok := d.Enter(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})); ok {
				t.Fatal("it came in")
			}
		}
		if _, _, overflow := d.connect.table.counts(); overflow < 1000 {
			t.Errorf("only %d have found no place", overflow)
		}
		if full := int64(spill.Load()); full > now+int64(time.Minute) {
			t.Errorf("what newcomers share is full in %v", time.Duration(full-now))
		}
	}
	f(DoorOptions{Connect: []Window{window(4, time.Hour, 4, nil)}}, func(d *Door) {
		all := d.connect.tokens[1].(*Local)
		all.spill.Store(uint64(wire.Now() + int64(time.Hour))) // it has found no place either
	})
	f(DoorOptions{Open: []Ceiling{{Max: 1}}}, func(d *Door) { d.hold(netip.MustParseAddr("10.1.0.0"), wire.Now()) })
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

// TestDoorKeys: who uses a listener most is known, by address or prefix, with what is left; and can be given all of it back.
func TestDoorKeys(t *testing.T) {
	allowed := new(counter)
	d := mustDoor(t, DoorOptions{
		Connect:   []Window{window(1000, time.Hour, 1000, nil), window(200, time.Hour, 200, Key{{Source: "ip", V4: 24, V6: 56}})},
		Handshake: []Window{window(3, time.Hour, 3, byIP())},
		Open:      []Ceiling{{Text: "150 per ip", Max: 150, By: byIP()}},
		Except:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Allowed:   allowed,
	})
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1:2:3::4"), netip.MustParseAddr("10.1.2.3")
	in := 0
	enter := func(client netip.Addr, times int) {
		for range times {
			if leave, ok := d.Enter(client); leave != nil && ok {
				in++
				t.Cleanup(leave)
			}
		}
	}
	enter(a, 260)           // 110 too many are open
	enter(b, 20)            //
	enter(netip.Addr{}, 10) // has no address
	enter(c, 10)            // is nobody's
	for i := range 5 {      // 2 too many
		if d.Handshake(b) {
			in++
		} else if i < 3 {
			t.Error("a handshake was refused")
		}
		_ = d.Handshake(c)
	}
	if in != 150+20+3 || allowed.Load() != uint64(in) {
		t.Errorf("%d were let in, %d are counted", in, allowed.Load())
	}

	status := d.Status()
	f := func(limit, key string, refused uint64, left int) (id string) {
		t.Helper()
		for _, k := range d.Status().Keys {
			if k.Limit == limit && k.Key == key {
				if k.Refused != refused || k.Left != left || k.Requests < refused {
					t.Errorf("%s of %s: %+v", limit, key, k)
				}
				return k.ID
			}
		}
		t.Errorf("%s has no %s: %+v", limit, key, status.Keys)
		return ""
	}
	open := f("connections: 150 per ip", "192.0.2.1", 110, 0)
	hand := f("handshakes: 3/1h0m0s burst 3", "2001:db8:1:2::/64", 2, 0)
	for _, k := range status.Keys {
		if k.Key == "10.1.2.3" || k.Key == "no address" {
			t.Errorf("an address is listed that nothing limits: %+v", k)
		}
	}
	if hand != "" && hand[:2] != "2-" || open != "" && open[:2] != "3-" || status.Limits[2] != "handshakes: 3/1h0m0s burst 3" {
		t.Errorf("%s is not of %q, or %s", hand, status.Limits, open)
	}

	reset := func(id string, want error) {
		t.Helper()
		if err := d.Reset(id); err != want {
			t.Errorf("%s: got %v, want %v", id, err, want)
		}
	}
	reset(hand, nil)
	f("handshakes: 3/1h0m0s burst 3", "2001:db8:1:2::/64", 2, 3)
	if !d.Handshake(b) {
		t.Error("a handshake was refused after a reset")
	}
	reset(open, ErrNoReset)
	reset(id(0, clean(1<<40)), ErrUnknownKey)
	for _, bad := range []string{"", "4-" + hand[2:], "-1" + hand[1:], hand + "0", "2-", "2-0"} {
		if err := d.Reset(bad); err == nil || err == ErrUnknownKey || err == ErrNoReset {
			t.Errorf("%q: got %v", bad, err)
		}
	}

	// A prefix, as it is listed, is as good as an address in it.
	if left := d.connect.tokens[1].Look(d.connect.key(1, a), 0, wire.Now()).Full; left == 0 {
		t.Fatal("nothing was taken")
	}
	if err := d.ResetValues("192.0.2.0/24"); err != nil {
		t.Error(err)
	}
	if left := d.connect.tokens[1].Look(d.connect.key(1, a), 0, wire.Now()).Full; left != 0 {
		t.Errorf("the bucket of the prefix is full in %d ns", left)
	}
	together := mustDoor(t, DoorOptions{Connect: []Window{window(1, time.Hour, 1, nil)}, Open: []Ceiling{{Text: "9 per ip", Max: 9, By: byIP()}}})
	together.Enter(a)
	if err := together.ResetValues("192.0.2.1"); err == nil || !strings.Contains(err.Error(), "count all clients together: send the id") {
		t.Errorf("got %v", err)
	}
	if err := together.Reset(id(0, together.connect.key(0, a))); err != nil {
		t.Error(err)
	}
	only := mustDoor(t, DoorOptions{Open: []Ceiling{{Text: "1", Max: 1}}})
	if err := only.ResetValues("192.0.2.1"); err != ErrNoReset {
		t.Errorf("got %v", err)
	}
}

// TestDoorSampled: those who are let in are found by a sample, also all of them together.
func TestDoorSampled(t *testing.T) {
	d := mustDoor(t, DoorOptions{Connect: []Window{window(1e6, time.Second, 1e6, nil), window(1e6, time.Second, 1e6, byIP())}, Open: []Ceiling{{Text: "9 per ip", Max: 9, By: byIP()}}})
	a := netip.MustParseAddr("192.0.2.1")
	for range 64 * sampleEvery { // none of 64 samples: once in e^64
		leave, ok := d.Enter(a)
		if !ok {
			t.Fatal("a connection was refused")
		}
		leave()
	}
	found := map[string]int{}
	for _, k := range d.Status().Keys {
		found[k.Limit[:strings.Index(k.Limit, ":")]+" "+k.Key] = k.Left
	}
	if len(found) != 3 || found["connections 192.0.2.1"] != 9 {
		t.Errorf("got %v", found)
	}
	for _, key := range []string{"new_connections all clients", "new_connections 192.0.2.1"} {
		if _, ok := found[key]; !ok {
			t.Errorf("%s is not there: %v", key, found)
		}
	}
}

// TestDoorKeysBounded: a flood of addresses does not grow the list, and whoever is refused most stays in it.
func TestDoorKeysBounded(t *testing.T) {
	d := mustDoor(t, DoorOptions{Connect: []Window{window(1, time.Hour, 1, byIP())}, Keys: 100_000})
	worst := netip.MustParseAddr("192.0.2.1")
	for i := range 40_000 {
		made := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		for range 2 { // the second is refused
			_, _ = d.Enter(made)
		}
		_, _ = d.Enter(worst)
	}
	keys := d.Status().Keys
	if len(keys) != heavyMax || keys[0].Key != "192.0.2.1" || keys[0].Refused < 20_000 {
		t.Errorf("%d keys, the first %+v", len(keys), keys[0])
	}
}

// TestDoorAtOnce: connections, lists and resets at the same time. What is counted is what has happened, nobody gets more than a burst between
// two resets, and when all have left nobody counts.
func TestDoorAtOnce(t *testing.T) {
	const clients, workers, rounds, burst, most = 4, 4, 2000, 50, 3
	allowed := new(counter)
	d := mustDoor(t, DoorOptions{
		Connect: []Window{window(burst, 1000*time.Hour, burst, byIP())}, Handshake: []Window{window(burst, 1000*time.Hour, burst, byIP())},
		Open: []Ceiling{{Text: "3 per ip", Max: most, By: byIP()}}, Allowed: allowed,
	})
	var in, out, shaken, turned, resets [clients]atomic.Uint64
	var open [clients]atomic.Int64
	var working, watching sync.WaitGroup
	done := make(chan struct{})
	for w := range workers {
		working.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for range rounds {
				i := random.IntN(clients)
				a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
				if d.Handshake(a) {
					shaken[i].Add(1)
				} else {
					turned[i].Add(1)
				}
				leave, ok := d.Enter(a)
				if !ok {
					out[i].Add(1)
					continue
				}
				in[i].Add(1)
				if open[i].Add(1) > most {
					t.Error("too many are open")
				}
				if random.IntN(4) == 0 {
					runtime.Gosched()
				}
				open[i].Add(-1)
				leave()
			}
		})
	}
	watching.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			for _, k := range d.Status().Keys {
				if k.Left < 0 || k.Left > burst {
					t.Errorf("%+v", k)
				}
			}
			if i := n % clients; n%8 < clients {
				resets[i].Add(1) // before it happens: what it gives is not seen earlier
				if err := d.ResetValues(fmt.Sprintf("192.0.2.%d", i)); err != nil && err != ErrUnknownKey {
					t.Error(err)
				}
			}
			runtime.Gosched()
		}
	})
	working.Wait()
	close(done)
	watching.Wait()
	var sumIn, sumShaken, sumOut, sumTurned uint64
	for i := range clients {
		sumIn, sumOut = sumIn+in[i].Load(), sumOut+out[i].Load()
		sumShaken, sumTurned = sumShaken+shaken[i].Load(), sumTurned+turned[i].Load()
		for _, n := range []uint64{in[i].Load(), shaken[i].Load()} {
			if bound := burst * (resets[i].Load() + 1); n > bound || n < burst {
				t.Errorf("client %d: %d were let in, with %d resets", i, n, resets[i].Load())
			}
		}
	}
	if allowed.Load() != sumIn+sumShaken {
		t.Errorf("%d are counted, %d and %d were let in", allowed.Load(), sumIn, sumShaken)
	}
	if r := d.Refused(); r[ManyConnects]+r[ManyOpen] != sumOut || r[ManyHandshakes] != sumTurned {
		t.Errorf("%v are counted, %d and %d were refused", r, sumOut, sumTurned)
	}
	if c := d.open.Counts(); c.Live != 0 {
		t.Errorf("%d still count", c.Live)
	}
}
