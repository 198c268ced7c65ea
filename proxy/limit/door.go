package limit

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
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
	// Allowed counts connections and handshakes that were let in, where something limits them; nil: nobody wants to know.
	Allowed Counter
}

// Door lets connections in, or not. It is safe for concurrent use, and what it says allocates nothing, but for a connection that is counted
// until it ends.
//
// Its keys are of addresses alone. A client without an address, behind a unix socket, is not limited.
type Door struct {
	options   DoorOptions
	connect   doorRates
	handshake doorRates
	open      *Slots // nil: no limit

	refused [DoorReasons]atomic.Uint64
}

// DoorReason is why a door refuses.
type DoorReason uint8

// The reasons, and how many there are.
const (
	ManyConnects DoorReason = iota
	ManyHandshakes
	ManyOpen
	DoorReasons
)

// String is the word for a reason, as the configuration has it.
func (r DoorReason) String() string {
	return [...]string{"new_connections", "handshakes", "connections"}[r]
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
		if d.connect, err = newDoorRates(o.Connect, o.Keys); err != nil {
			return nil, err
		}
	}
	if d.handshake = before.handshake; !same(o.Handshake, was.Handshake) {
		if d.handshake, err = newDoorRates(o.Handshake, o.Keys); err != nil {
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

// doorRates are the rates of one kind of thing.
type doorRates struct {
	windows []Window
	table   *table
	tokens  []Tokens
	keys    []keyer
	heavy   *heavy
}

func newDoorRates(windows []Window, keys int) (r doorRates, err error) {
	if len(windows) == 0 {
		return r, nil
	}
	if len(windows) > WindowsMax {
		return r, fmt.Errorf("there are at most %d rates", WindowsMax)
	}
	r.windows = slices.Clone(windows)
	var by []Key
	for i := range r.windows {
		if err := r.windows[i].measure(); err != nil {
			return r, err
		}
		by = append(by, r.windows[i].By)
	}
	if r.table, err = newTable(tableKeys(keys, by), timeMask); err != nil {
		return r, err
	}
	if r.keys, err = newKeyers(by, nil); err != nil {
		return r, err
	}
	for i := range r.windows {
		r.tokens = append(r.tokens, newLocal(r.table, &r.windows[i]))
	}
	r.heavy = new(heavy)
	return r, onlyAddresses(r.keys)
}

func onlyAddresses(keys []keyer) error {
	for i := range keys {
		if slices.ContainsFunc(keys[i].parts, func(p part) bool { return p.read != nil }) {
			return errors.New("connections are counted by ip, or all together")
		}
	}
	return nil
}

// take takes a token of each window, or none and returns false. The verdicts are for giveBack.
func (r *doorRates) take(a netip.Addr, now int64) (verdicts [WindowsMax]Verdict, ok bool) {
	for i, tokens := range r.tokens {
		key := r.key(i, a)
		if verdicts[i] = tokens.Take(key, 1, now); verdicts[i].OK {
			continue
		}
		r.giveBack(&verdicts, i, a, now)
		r.heavy.noteAddress(&r.keys[i], a, now, key, i, 0, 1)
		return verdicts, false
	}
	if len(r.tokens) > 0 && rand.Uint32()%sampleEvery == 0 {
		for i := range r.keys {
			r.heavy.noteAddress(&r.keys[i], a, now, r.key(i, a), i, sampleEvery, 0)
		}
	}
	return verdicts, true
}

// giveBack gives a token back to each of the first windows: who had taken them was not let in.
func (r *doorRates) giveBack(verdicts *[WindowsMax]Verdict, windows int, a netip.Addr, now int64) {
	for i := range windows {
		r.tokens[i].Return(r.key(i, a), 1, now, verdicts[i])
	}
}

func (r *doorRates) key(window int, a netip.Addr) uint64 {
	return r.keys[window].hashAddress(a, &r.table.seed)
}

// crowded reports whether half of what an address may have at once is used up. Of one alone there is no half that could be given away.
func (r *doorRates) crowded(a netip.Addr, now int64) bool {
	for i, tokens := range r.tokens {
		if !tokens.Look(r.key(i, a), max(int64(r.windows[i].Burst/2+1), 2), now).OK {
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
	taken, ok := d.connect.take(client, now)
	if !ok {
		d.refused[ManyConnects].Add(1)
		return nil, false
	}
	if d.open != nil {
		if leave = d.hold(client, now); leave == nil {
			d.connect.giveBack(&taken, len(d.connect.tokens), client, now)
			d.refused[ManyOpen].Add(1)
			return nil, false
		}
	}
	d.allow(d.open != nil || len(d.connect.tokens) > 0)
	return leave, true
}

// hold takes a slot of each ceiling, or none and returns nil.
func (d *Door) hold(client netip.Addr, now int64) (leave func()) {
	h := holds.Get().(*hold)
	sampled := rand.Uint32()%sampleEvery == 0
	for i := range d.open.plain {
		k := &d.open.plain[i]
		key := k.hashAddress(client, &d.open.table.seed)
		slot := d.open.take(i, key)
		if slot == nil {
			h.Finish(nil)
			d.open.heavy.noteAddress(k, client, now, key, i, 0, 1)
			return nil
		}
		h.slots[i], h.owner = slot, d.open
		if sampled {
			d.open.heavy.noteAddress(k, client, now, key, i, sampleEvery, 0)
		}
	}
	return func() { h.Finish(nil) }
}

// allow counts who was let in, if that was limited.
func (d *Door) allow(limited bool) {
	if limited && d.options.Allowed != nil {
		d.options.Allowed.Add(1)
	}
}

// Handshake lets a client begin a handshake, or not.
func (d *Door) Handshake(client netip.Addr) bool {
	if d.exempt(client) {
		return true
	}
	if _, ok := d.handshake.take(client, wire.Now()); !ok {
		d.refused[ManyHandshakes].Add(1)
		return false
	}
	d.allow(len(d.handshake.tokens) > 0)
	return true
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
		key := d.open.plain[i].hashAddress(client, &d.open.table.seed)
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
	for _, r := range d.rates() {
		if r.table != nil {
			add(r.table.status(idle))
		}
	}
	if d.open != nil {
		add(d.open.Counts())
	}
	return c
}

// Status returns what is known about the door. The limits are numbered as they are listed.
func (d *Door) Status() Status {
	s := Status{Kind: "connections", Counts: d.Counts(), Keys: []KeyStatus{}}
	now := wire.Now()
	add := func(reason DoorReason, first int, k KeyStatus, key *heavyKey) {
		k.ID, k.Limit = id(first+key.limit, key.key), reason.String()+": "+k.Limit
		s.Keys = append(s.Keys, k)
	}
	for reason, r := range d.rates() {
		first := len(s.Limits)
		for _, w := range r.windows {
			s.Limits = append(s.Limits, DoorReason(reason).String()+": "+w.Text)
		}
		if first == len(s.Limits) {
			continue
		}
		for _, k := range r.heavy.list() {
			add(DoorReason(reason), first, k.ofRate(&r.windows[k.limit], r.tokens[k.limit], now), &k)
		}
	}
	if d.open != nil {
		first := len(s.Limits)
		for _, c := range d.options.Open {
			s.Limits = append(s.Limits, ManyOpen.String()+": "+c.Text)
		}
		for _, k := range d.open.heavy.list() {
			add(ManyOpen, first, k.ofSlots(d.open), &k)
		}
	}
	slices.SortStableFunc(s.Keys, func(a, b KeyStatus) int { return cmp.Compare(b.Requests, a.Requests) })
	return s
}

// rates are the rates, by the reason that each refuses for.
func (d *Door) rates() [2]*doorRates { return [...]*doorRates{&d.connect, &d.handshake} }

// Explain says by what a connection of a client would be counted, one line for each limit.
func (d *Door) Explain(client netip.Addr) []string {
	if d.exempt(client) {
		return nil
	}
	var lines []string
	add := func(reason DoorReason, text string, k *keyer) {
		line := reason.String() + ": " + text
		if len(k.parts) == 0 {
			line += ", counted with all others"
		} else {
			line += ", counted as " + string(k.appendAddress(nil, client))
		}
		lines = append(lines, line)
	}
	for reason, r := range d.rates() {
		for i := range r.windows {
			add(DoorReason(reason), r.windows[i].Text, &r.keys[i])
		}
	}
	for i, c := range d.options.Open {
		add(ManyOpen, c.Text+" at the same time", &d.open.plain[i])
	}
	return lines
}

// Reset fills the bucket of the key that Status calls id. Connections that are open end by themselves.
func (d *Door) Reset(id string) error {
	limit, key, err := parseID(id, len(d.connect.windows)+len(d.handshake.windows)+len(d.options.Open))
	if err != nil {
		return err
	}
	for _, r := range d.rates() {
		if limit < len(r.tokens) {
			return known(r.tokens[limit].Reset(key))
		}
		limit -= len(r.tokens)
	}
	return ErrNoReset
}

// ResetValues fills the buckets of an address.
func (d *Door) ResetValues(values ...string) error {
	if len(d.connect.tokens)+len(d.handshake.tokens) == 0 {
		return ErrNoReset
	}
	if len(values) != 1 {
		return errors.New("the key of a listener is an address")
	}
	addressed, found := false, false
	for _, r := range d.rates() {
		for i, tokens := range r.tokens {
			if len(r.keys[i].parts) == 0 {
				continue
			}
			addressed = true
			key, err := r.keys[i].hashOf(values, &r.table.seed)
			if err != nil {
				return err
			}
			found = tokens.Reset(key) || found
		}
	}
	if !addressed {
		return errors.New("the rates of the listener count all clients together: send the id")
	}
	return known(found)
}

func known(found bool) error {
	if !found {
		return ErrUnknownKey
	}
	return nil
}
