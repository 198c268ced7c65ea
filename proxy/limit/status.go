package limit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Status is a policy, or a door, and the keys that use it most, for people.
type Status struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`   // rate_limit, concurrency or quota; connections: a door
	Limits []string `json:"limits"` // as they are configured
	Counts
	Across *Sharing    `json:"across,omitempty"` // what hosts share
	Keys   []KeyStatus `json:"keys"`             // the heaviest first; not all there are
}

// Counts says how full a table is, and what became of keys since it was made.
type Counts struct {
	Live     int    `json:"live_keys"`    // that have spent tokens, or have something under way; of many keys an estimate
	Evicted  uint64 `json:"evicted_keys"` // idle ones whose place another has taken
	Overflow uint64 `json:"overflowed"`   // requests, of a door connections and handshakes, whose key found no place, and shared the bucket of all those
}

// KeyStatus is a key and how much of a limit is left to it.
type KeyStatus struct {
	ID       string  `json:"id"` // for Reset
	Limit    string  `json:"limit"`
	Key      string  `json:"key"`      // without secrets
	Requests uint64  `json:"requests"` // about; what was a minute ago counts half; not of quotas; of a door connections or handshakes
	Refused  uint64  `json:"refused"`
	Used     int64   `json:"used,omitempty"`            // of a quota
	Left     int     `json:"left"`                      // tokens, requests or connections that may come beside those under way, or what is left of a quota
	Full     float64 `json:"full_in_seconds,omitempty"` // until all tokens are back, or the quota begins anew
}

// Status returns what is known about the policy.
func (r *Rates) Status() Status {
	now := wire.Now()
	s := Status{Name: r.options.Name, Kind: "rate_limit", Counts: r.Counts(), Across: r.sharing(), Keys: []KeyStatus{}}
	for _, w := range r.options.Windows {
		s.Limits = append(s.Limits, w.Text)
	}
	for _, k := range r.heavy.list() {
		s.Keys = append(s.Keys, k.ofRate(&r.options.Windows[k.limit], r.tokens[k.limit], now))
	}
	return s
}

// status is what is known about a key itself.
func (k *heavyKey) status(limit string) KeyStatus {
	return KeyStatus{ID: id(k.limit, k.key), Limit: limit, Key: string(k.text), Requests: k.requests, Refused: k.refused}
}

// ofRate is the status of a key with its bucket.
func (k *heavyKey) ofRate(w *Window, tokens Tokens, now int64) KeyStatus {
	s := k.status(w.Text)
	full := tokens.Look(k.key, 0, now).Full
	s.Left, s.Full = w.tokens(full), math.Round(float64(full)/1e6)/1e3
	return s
}

// ofSlots is the status of a key with what it has under way.
func (k *heavyKey) ofSlots(slots *Slots) KeyStatus {
	c := &slots.options.Ceilings[k.limit]
	s := k.status(c.Text)
	s.Left = max(c.Max-int(slots.underWay(k.limit, k.key)), 0)
	return s
}

// Counts returns those of the table.
func (r *Rates) Counts() Counts { return r.table.status(uint64(wire.Now())) }

// Status returns what is known about the policy.
func (s *Slots) Status() Status {
	st := Status{Name: s.options.Name, Kind: "concurrency", Counts: s.Counts(), Keys: []KeyStatus{}}
	for _, c := range s.options.Ceilings {
		st.Limits = append(st.Limits, c.Text)
	}
	for _, k := range s.heavy.list() {
		st.Keys = append(st.Keys, k.ofSlots(s))
	}
	return st
}

// Counts returns those of the table.
func (s *Slots) Counts() Counts { return s.table.status(0) }

func (t *table) status(idle uint64) Counts {
	_, evicted, overflow := t.counts()
	return Counts{Live: t.live(idle), Evicted: evicted, Overflow: overflow}
}

// id names a key: it is a hash with a secret seed, and says nothing about the key.
func id(limit int, key uint64) string { return fmt.Sprintf("%d-%016x", limit, key) }

// parseID takes apart what id has made, for who has so many limits.
func parseID(id string, limits int) (limit int, key uint64, err error) {
	before, after, _ := strings.Cut(id, "-")
	limit, err = strconv.Atoi(before)
	key, err2 := strconv.ParseUint(after, 16, 64)
	if err != nil || err2 != nil || limit < 0 || limit >= limits || key != clean(key) {
		return 0, 0, fmt.Errorf("%q is no id of a key", id)
	}
	return limit, key, nil
}

// ErrUnknownKey says that there is no bucket to reset: one that is not there is full.
var ErrUnknownKey = errors.New("no such key has spent tokens")

// ErrNoReset says that there is nothing to be reset.
var ErrNoReset = errors.New("it counts what is under way, which ends by itself")

// Reset fills the bucket of the key that Status calls id.
func (r *Rates) Reset(id string) error {
	limit, key, err := parseID(id, len(r.tokens))
	if err != nil {
		return err
	}
	return r.reset(limit, key)
}

// ErrStoreAway says that a bucket was filled on this host alone.
var ErrStoreAway = errors.New("the store does not answer, and the other hosts go by what they know: the key was reset on this one alone")

// reset fills a bucket here, and in the store, from which the other hosts learn of it.
func (r *Rates) reset(window int, key uint64) error {
	known, err := false, error(nil)
	if s, shared := r.tokens[window].(*Shared); shared {
		known, err = s.resetShared(key)
	}
	if known = r.tokens[window].Reset(key) || known; !known && err == nil {
		err = ErrUnknownKey
	}
	return err
}

// ResetValues fills the buckets of the key with these values, one for each part, in every window that can have such a key.
func (r *Rates) ResetValues(values ...string) error {
	wrong := fmt.Errorf("no limit of the policy has a key of %d values", len(values))
	var away error
	for i := range r.plain {
		if len(r.plain[i].parts) != len(values) {
			continue
		}
		key, err := r.plain[i].hashOf(values, &r.table.seed)
		if err == nil {
			err = r.reset(i, key)
		}
		switch {
		case errors.Is(err, ErrStoreAway):
			away = err
		case err == nil:
			wrong = nil
		case wrong != nil && !errors.Is(wrong, ErrUnknownKey):
			wrong = err
		}
	}
	return cmp.Or(away, wrong)
}

// Explain says by what a request would be counted, one line for each limit.
func (g *Rate) Explain(x *proxy.Exchange) []string {
	var lines []string
	for i, w := range g.options.Windows[:len(g.keys)] {
		line := explain(w.Text, g.cost, &g.keys[i], x)
		if a := g.options.Across; a != nil {
			line += fmt.Sprintf(", across hosts through %s (%s while that is down)", a.Fleet.name, a.IfDown)
		}
		lines = append(lines, line)
	}
	return lines
}

// Explain says by what a request would be counted, one line for each limit.
func (g *Concurrency) Explain(x *proxy.Exchange) []string {
	var lines []string
	for i, c := range g.options.Ceilings[:len(g.keys)] {
		lines = append(lines, explain(c.Text+" at the same time", 1, &g.keys[i], x))
	}
	return lines
}

func explain(limit string, cost int64, k *keyer, x *proxy.Exchange) string {
	line := limit
	if cost != 1 {
		line += fmt.Sprintf(", of which it takes %d", cost)
	}
	if len(k.parts) == 0 {
		return line + ", counted with all others"
	}
	return line + ", counted as " + string(k.appendText(nil, x))
}
