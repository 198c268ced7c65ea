package limit

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"

	"sluice/proxy/wire"
)

// DoorOptions are the limits of a listener: of connections, by the addresses of clients, before there is a request that a policy could see.
type DoorOptions struct {
	Connect   []Window  // new connections
	Handshake []Window  // handshakes of TLS
	Open      []Ceiling // connections at the same time
	Except    []netip.Prefix
	Keys      int // how many keys of each limit there is room for
}

// Door lets connections in, or not. It is safe for concurrent use, and what it says allocates nothing, but for a connection that is counted
// until it ends.
//
// Its keys are of addresses alone. A client without an address, behind a unix socket, is not limited.
type Door struct {
	options   DoorOptions
	connect   entry
	handshake entry
	open      *Slots // nil: no limit

	refused [DoorReasons]atomic.Uint64
}

// Why a door refuses.
const (
	ManyConnects = iota
	ManyHandshakes
	ManyOpen
	DoorReasons
)

// DoorReason is the word for a reason, as the configuration has it.
func DoorReason(reason int) string {
	return [...]string{"new_connections", "handshakes", "connections"}[reason]
}

// NewDoor reserves the memory. before is the door in whose place it comes, nil if there is none: what the two have in common goes on as it was,
// with the connections that are open.
func NewDoor(o DoorOptions, before *Door) (*Door, error) {
	if before == nil {
		before = new(Door)
	}
	d, was := &Door{options: o}, &before.options
	same := func(a, b any) bool { return o.Keys == was.Keys && reflect.DeepEqual(a, b) }
	var err error
	if d.connect = before.connect; !same(o.Connect, was.Connect) {
		if d.connect, err = newGate(o.Connect, o.Keys); err != nil {
			return nil, err
		}
	}
	if d.handshake = before.handshake; !same(o.Handshake, was.Handshake) {
		if d.handshake, err = newGate(o.Handshake, o.Keys); err != nil {
			return nil, err
		}
	}
	if d.open = before.open; len(o.Open) == 0 {
		d.open = nil
	} else if !same(o.Open, was.Open) {
		if d.open, err = NewSlots(SlotOptions{Ceilings: o.Open, Keys: o.Keys}); err != nil {
			return nil, err
		}
		err = onlyAddresses(d.open.plain)
	}
	return d, err
}

// entry is the rates of one kind of thing.
type entry struct {
	windows []Window
	table   *table
	tokens  []Tokens
	keys    []keyer
}

func newGate(windows []Window, keys int) (g entry, err error) {
	if len(windows) == 0 {
		return g, nil
	}
	if len(windows) > WindowsMax {
		return g, fmt.Errorf("there are at most %d rates", WindowsMax)
	}
	g.windows = slices.Clone(windows)
	var by []Key
	for i := range g.windows {
		if err := g.windows[i].measure(); err != nil {
			return g, err
		}
		by = append(by, g.windows[i].By)
	}
	if g.table, err = newTable(tableKeys(keys, by), timeMask); err != nil {
		return g, err
	}
	if g.keys, err = newKeyers(by, nil); err != nil {
		return g, err
	}
	for i := range g.windows {
		g.tokens = append(g.tokens, newLocal(g.table, &g.windows[i]))
	}
	return g, onlyAddresses(g.keys)
}

func onlyAddresses(keys []keyer) error {
	for i := range keys {
		if slices.ContainsFunc(keys[i].parts, func(p part) bool { return p.read != nil }) {
			return errors.New("connections are counted by ip, or all together")
		}
	}
	return nil
}

// hashAddress is hash for a key of addresses alone.
func (k *keyer) hashAddress(a netip.Addr, t *table) uint64 {
	h := k.salt
	for i := range k.parts {
		h = fold(h, k.parts[i].hashAddress(a, &t.seed))
	}
	return clean(h)
}

// take takes a token of each window, or none.
func (g *entry) take(a netip.Addr, now int64) bool {
	for i, tokens := range g.tokens {
		if tokens.Take(g.keys[i].hashAddress(a, g.table), 1, now).OK {
			continue
		}
		for j := range i {
			g.tokens[j].Charge(g.keys[j].hashAddress(a, g.table), -1, now)
		}
		return false
	}
	return true
}

// crowded reports whether half of what an address may have at once is used up. Of one alone there is no half that could be given away.
func (g *entry) crowded(a netip.Addr, now int64) bool {
	for i, tokens := range g.tokens {
		if !tokens.Look(g.keys[i].hashAddress(a, g.table), max(int64(g.windows[i].Burst/2+1), 2), now).OK {
			return true
		}
	}
	return false
}

// exempt reports whether nothing limits an address.
func (d *Door) exempt(a netip.Addr) bool {
	return !a.IsValid() || slices.ContainsFunc(d.options.Except, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Enter lets a connection of a client in, or not. leave, if it is not nil, must be called once when the connection has ended.
func (d *Door) Enter(client netip.Addr) (leave func(), ok bool) {
	if d.exempt(client) {
		return nil, true
	}
	now := wire.Now()
	if !d.connect.take(client, now) {
		d.refused[ManyConnects].Add(1)
		return nil, false
	}
	if d.open == nil {
		return nil, true
	}
	h := holds.Get().(*hold)
	for i := range d.open.plain {
		slot := d.open.take(i, d.open.plain[i].hashAddress(client, d.open.table))
		if slot == nil {
			h.Finish(nil)
			for j, tokens := range d.connect.tokens {
				tokens.Charge(d.connect.keys[j].hashAddress(client, d.connect.table), -1, now) // it was not let in
			}
			d.refused[ManyOpen].Add(1)
			return nil, false
		}
		h.slots[i], h.owner = slot, d.open
	}
	return func() { h.Finish(nil) }, true
}

// Handshake lets a client begin a handshake, or not.
func (d *Door) Handshake(client netip.Addr) bool {
	if d.exempt(client) || d.handshake.take(client, wire.Now()) {
		return true
	}
	d.refused[ManyHandshakes].Add(1)
	return false
}

// Doubts reports whether an address that anybody may have written into a packet should be proven before it is counted by: so that nobody is
// shut out by what others send in its name. Half of what it may have at once is given away before, and half of what all may have.
func (d *Door) Doubts(client netip.Addr) bool {
	if d.exempt(client) {
		return false
	}
	now := wire.Now()
	return d.connect.crowded(client, now) || d.handshake.crowded(client, now) || d.manyOpen(client)
}

// manyOpen is crowded for connections at the same time, each of which counts from its first packet on, long before it is made.
func (d *Door) manyOpen(client netip.Addr) bool {
	if d.open == nil {
		return false
	}
	for i, c := range d.options.Open {
		key := d.open.plain[i].hashAddress(client, d.open.table)
		if left := c.Max - int(d.open.underWay(i, key)); left < max(c.Max/2+1, 2) {
			return true
		}
	}
	return false
}

// Refused counts for each reason.
func (d *Door) Refused() (counts [DoorReasons]uint64) {
	for i := range counts {
		counts[i] = d.refused[i].Load()
	}
	return counts
}

// Counts returns those of the keys.
func (d *Door) Counts() (c Counts) {
	idle := uint64(wire.Now())
	add := func(one Counts) {
		c.Live += one.Live
		c.Evicted += one.Evicted
		c.Overflow += one.Overflow
	}
	for _, g := range []*entry{&d.connect, &d.handshake} {
		if g.table != nil {
			add(g.table.status(idle))
		}
	}
	if d.open != nil {
		add(d.open.Counts())
	}
	return c
}

// Status returns what is known about the door. Who uses it most is not.
func (d *Door) Status() Status {
	s := Status{Kind: "connections", Counts: d.Counts(), Keys: []KeyStatus{}}
	for i, g := range []*entry{&d.connect, &d.handshake} {
		for _, w := range g.windows {
			s.Limits = append(s.Limits, DoorReason(i)+": "+w.Text)
		}
	}
	for _, c := range d.options.Open {
		s.Limits = append(s.Limits, DoorReason(ManyOpen)+": "+c.Text)
	}
	return s
}

// Explain says by what a connection of a client would be counted, one line for each limit.
func (d *Door) Explain(client netip.Addr) []string {
	if d.exempt(client) {
		return nil
	}
	var lines []string
	add := func(reason int, text string, k *keyer) {
		line := DoorReason(reason) + ": " + text
		if len(k.parts) == 0 {
			line += ", counted with all others"
		} else {
			line += ", counted as " + string(k.parts[0].appendAddress(nil, client))
		}
		lines = append(lines, line)
	}
	for reason, g := range []*entry{&d.connect, &d.handshake} {
		for i := range g.windows {
			add(reason, g.windows[i].Text, &g.keys[i])
		}
	}
	for i, c := range d.options.Open {
		add(ManyOpen, c.Text+" at the same time", &d.open.plain[i])
	}
	return lines
}

// Reset is for keys that Status lists, which are none.
func (d *Door) Reset(id string) error { return fmt.Errorf("%q is no id of a key", id) }

// ResetValues fills the buckets of an address.
func (d *Door) ResetValues(values ...string) error {
	if len(values) != 1 {
		return errors.New("the key of a listener is an address")
	}
	a, err := netip.ParseAddr(values[0])
	if err != nil {
		return fmt.Errorf("%q is no address", values[0])
	}
	known := false
	for _, g := range []*entry{&d.connect, &d.handshake} {
		for i, tokens := range g.tokens {
			if len(g.keys[i].parts) > 0 {
				known = tokens.Reset(g.keys[i].hashAddress(a.Unmap().WithZone(""), g.table)) || known
			}
		}
	}
	if !known {
		return ErrUnknownKey
	}
	return nil
}
