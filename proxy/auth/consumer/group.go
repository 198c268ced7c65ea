package consumer

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice/proxy"
)

// Consumer is a client that stands in the configuration or in a store.
type Consumer struct {
	Name      string // unique in its group
	Plan      string
	Scopes    []string
	Labels    []Label
	Keys      []Key
	Passwords []Password
	// Record tells one in a store from another that had its name before: to the response cache they are two. Else it is empty.
	Record string
}

// Label is something that is said about a consumer. Its name is none of those that every consumer has: plan and scope.
type Label struct{ Name, Value string }

// Key is what is known of a key. Several of one consumer may overlap, so that a new one can be handed out before the old one ends.
type Key struct {
	Sum     [sha256.Size]byte
	Keyed   bool      // Sum is an HMAC, with the secret of the policy
	Prefix  string    // what the key begins with, to tell keys apart; no secret
	Expires time.Time // zero: never
	Scopes  []string  // in the place of the consumer's, if there are any

	ID       string // of one in a store
	LastUsed int64  // the same: Unix time, 0: never
}

// Password is what is known of a password: the sum of one that is as random as a key, or else what argon2id makes of it.
type Password struct {
	Sum     [sha256.Size]byte
	Argon2  *Argon2
	Expires time.Time
	Scopes  []string

	ID       string // of one in a store
	LastUsed int64  // the same: Unix time, 0: never
}

// Group is a set of consumers: those of a configuration and perhaps, beside them, Live ones. It is immutable but for these and for when
// something was used last; safe for concurrent use.
type Group struct {
	name      string
	consumers []Consumer
	used      [][]*usage // by consumer: of its keys, then of its passwords

	plain, keyed map[[sha256.Size]byte]*credential
	users        map[string]*user
	pad          padding

	live  *Live
	names map[string]bool // of the consumers above, which hide live ones of their name
}

// credential is what a client is known by.
type credential struct {
	sum      [sha256.Size]byte
	argon2   *Argon2 // nil: sum counts
	identity *proxy.Identity
	plan     string
	scopes   []string
	expires  int64 // Unix time; 0: never
	used     *usage
	id       string // of one in a store
}

// usage is when a credential was used last, in Unix time; 0: never.
type usage struct{ at, saved atomic.Int64 }

func usedSince(at int64) *usage {
	u := new(usage)
	u.at.Store(at)
	u.saved.Store(at)
	return u
}

// user is who may show a password.
type user struct{ passwords []*credential }

// NewGroup returns a group. What was used last is known from before, if the same stands in that group; it may be nil.
func NewGroup(name string, consumers []Consumer, before *Group) (*Group, error) {
	g := &Group{
		name: name, consumers: consumers, plain: make(map[[sha256.Size]byte]*credential), keyed: make(map[[sha256.Size]byte]*credential),
		users: make(map[string]*user), names: make(map[string]bool),
	}
	known := before.uses()
	for i := range consumers {
		c := &consumers[i]
		g.names[c.Name] = true
		var used []*usage
		add := func(kind string, sum [sha256.Size]byte, a *Argon2, expires time.Time, scopes []string) *credential {
			made := c.credential(kind, name, sum, a, expires, scopes)
			if made.used = known[use{kind, c.Name, sum, a.text()}]; made.used == nil {
				made.used = new(usage)
			}
			used = append(used, made.used)
			return made
		}
		for _, k := range c.Keys {
			table := g.plain
			if k.Keyed {
				table = g.keyed
			}
			if table[k.Sum] != nil {
				return nil, fmt.Errorf("two keys of the group %s are the same, one of them of %s", name, c.Name)
			}
			table[k.Sum] = add(KindKey, k.Sum, nil, k.Expires, k.Scopes)
		}
		if len(c.Passwords) > 0 {
			if g.users[c.Name] != nil {
				return nil, fmt.Errorf("there are two consumers %s in the group %s", c.Name, name)
			}
			u := &user{}
			for _, p := range c.Passwords {
				u.passwords = append(u.passwords, add(KindBasic, p.Sum, p.Argon2, p.Expires, p.Scopes))
			}
			u.sort()
			g.users[c.Name] = u
			g.pad = g.pad.over(u)
		}
		g.used = append(g.used, used)
	}
	return g, nil
}

// Join puts live consumers beside those of the configuration. It is for a group that nobody uses yet.
func (g *Group) Join(l *Live) { g.live = l }

// Has reports whether the configuration has a consumer of that name.
func (g *Group) Has(name string) bool { return g != nil && g.names[name] }

// closed reports whether nobody can tell who the group's consumers are.
func (g *Group) closed() bool { return g.live != nil && g.live.content.Load() == nil }

// key returns what the sum of a key stands for, nil for nothing.
func (g *Group) key(sum [sha256.Size]byte) *credential {
	if c := g.plain[sum]; c != nil && subtle.ConstantTimeCompare(c.sum[:], sum[:]) == 1 {
		return c
	}
	if g.live == nil {
		return nil
	}
	content := g.live.content.Load()
	if content == nil {
		return nil
	}
	c := content.key(sum)
	if c != nil && len(g.names) > 0 && g.names[c.identity.Subject()] {
		return nil // the consumer of the configuration has the name
	}
	return c
}

// user returns who has a name, nil for nobody, and what everybody is to cost.
func (g *Group) user(name []byte) (*user, padding) {
	u, pad := g.users[string(name)], g.pad
	if g.live == nil {
		return u, pad
	}
	content := g.live.content.Load()
	if content == nil {
		return u, pad
	}
	if u == nil && !g.names[string(name)] {
		u = content.user(name)
	}
	return u, pad.with(*content.pad.Load())
}

// credential makes what one of a consumer's secrets is known by.
func (c *Consumer) credential(kind, group string, sum [sha256.Size]byte, a *Argon2, expires time.Time, scopes []string) *credential {
	if len(scopes) == 0 {
		scopes = c.Scopes
	}
	made := &credential{sum: sum, argon2: a, plan: c.Plan, scopes: scopes, identity: c.Identity(kind, group, scopes)}
	if !expires.IsZero() {
		made.expires = expires.Unix()
	}
	return made
}

// The kinds of identities.
const (
	KindKey   = "api_key"
	KindBasic = "basic"
)

// Identity is who the consumer is for a policy of a kind, with these scopes.
func (c *Consumer) Identity(kind, group string, scopes []string) *proxy.Identity {
	var claims []proxy.Claim
	var distinct [][]byte
	add := func(name, value string) {
		if value != "" {
			claims = append(claims, proxy.Claim{Path: name, Value: []byte(value)})
		}
		distinct = append(distinct, []byte(name), []byte(value))
	}
	add("plan", c.Plan)
	add("scope", strings.Join(scopes, " "))
	for _, l := range c.Labels {
		add(l.Name, l.Value)
	}
	if c.Record != "" {
		distinct = append(distinct, []byte("\x00record"), []byte(c.Record)) // no label has that name
	}
	return proxy.NewIdentity(kind, group, c.Name, claims, distinct...)
}

// padding is what is computed in vain, so that a name that nobody has takes as long as that of the costliest consumer.
type padding struct {
	argon2 *Argon2
	most   int // computations
}

// over returns padding that is enough for a user, too.
func (p padding) over(u *user) padding {
	for _, c := range u.passwords {
		if a := c.argon2; a != nil && (p.argon2 == nil || a.cost() > p.argon2.cost()) {
			p.argon2 = a
		}
	}
	p.most = max(p.most, u.computations())
	return p
}

// with returns padding that is enough where either is.
func (p padding) with(q padding) padding {
	if p.argon2 == nil || q.argon2 != nil && q.argon2.cost() > p.argon2.cost() {
		p.argon2 = q.argon2
	}
	p.most = max(p.most, q.most)
	return p
}

// sort puts first, of two passwords that are the same, the one that is good for longer.
func (u *user) sort() {
	slices.SortStableFunc(u.passwords, func(a, b *credential) int { return cmp.Compare(b.until(), a.until()) })
}

// computations is how many of the passwords argon2id has hashed; nobody has none.
func (u *user) computations() int {
	n := 0
	if u == nil {
		return n
	}
	for _, p := range u.passwords {
		if p.argon2 != nil {
			n++
		}
	}
	return n
}

// use is what a time of last use belongs to.
type use struct {
	kind, consumer string
	sum            [sha256.Size]byte
	argon2         string
}

func (g *Group) uses() map[use]*usage {
	all := make(map[use]*usage)
	if g == nil {
		return all
	}
	for i := range g.consumers {
		c := &g.consumers[i]
		for n, k := range c.Keys {
			all[use{KindKey, c.Name, k.Sum, ""}] = g.used[i][n]
		}
		for n, p := range c.Passwords {
			all[use{KindBasic, c.Name, p.Sum, p.Argon2.text()}] = g.used[i][len(c.Keys)+n]
		}
	}
	return all
}

func (c *credential) until() int64 {
	if c.expires == 0 {
		return math.MaxInt64
	}
	return c.expires
}

// isGood reports whether the credential has not expired, and if so notes that it was used.
func (c *credential) isGood(now int64) bool {
	if c.expires != 0 && now >= c.expires {
		return false
	}
	if c.used.at.Load() != now { // once a second: what every core reads is seldom written
		c.used.at.Store(now)
	}
	return true
}

// Status is what there is to know of a consumer, without anything that could be shown in its place.
type Status struct {
	Group     string       `json:"group"`
	Name      string       `json:"name"`
	Stored    bool         `json:"stored,omitempty"` // the admin listener edits it
	Plan      string       `json:"plan,omitempty"`
	Scopes    []string     `json:"scopes,omitempty"`
	Keys      []Credential `json:"keys,omitempty"`
	Passwords []Credential `json:"passwords,omitempty"`
}

// Credential is what there is to know of a key or a password.
type Credential struct {
	ID       string     `json:"id,omitempty"` // of one in a store
	Prefix   string     `json:"prefix,omitempty"`
	Scopes   []string   `json:"scopes,omitempty"` // if they are not the consumer's
	Expires  *time.Time `json:"expires,omitempty"`
	Expired  bool       `json:"expired,omitempty"`
	LastUsed *time.Time `json:"last_used,omitempty"` // of one in the configuration: since the gateway started
}

// Status lists the consumers by name.
func (g *Group) Status(now time.Time) []Status {
	list := make([]Status, len(g.consumers))
	for i := range g.consumers {
		c := &g.consumers[i]
		s := Status{Group: g.name, Name: c.Name, Plan: c.Plan, Scopes: c.Scopes}
		one := func(n int, prefix string, expires time.Time, scopes []string) Credential {
			made := Credential{Prefix: prefix, Scopes: scopes}
			if !expires.IsZero() {
				expires = expires.UTC()
				made.Expires, made.Expired = &expires, !now.Before(expires)
			}
			if at := g.used[i][n].at.Load(); at != 0 {
				used := time.Unix(at, 0).UTC()
				made.LastUsed = &used
			}
			return made
		}
		for n, k := range c.Keys {
			s.Keys = append(s.Keys, one(n, k.Prefix, k.Expires, k.Scopes))
		}
		for n, p := range c.Passwords {
			s.Passwords = append(s.Passwords, one(len(c.Keys)+n, "", p.Expires, p.Scopes))
		}
		list[i] = s
	}
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Requirement is what a client has to be allowed, beside being known.
type Requirement struct {
	Scopes [][]string // all of one of these; empty: none
	Plans  []string   // one of these; empty: any
}

// Check returns what is wrong with a requirement.
func (r *Requirement) Check() error {
	if slices.ContainsFunc(r.Scopes, func(set []string) bool { return len(set) == 0 || slices.Contains(set, "") }) || slices.Contains(r.Plans, "") {
		return errors.New("an empty scope or plan is required, which nobody has")
	}
	return nil
}

func (r *Requirement) allows(c *credential) bool { return r.Allows(c.plan, c.scopes) }

// Allows reports whether a plan and scopes are enough.
func (r *Requirement) Allows(plan string, scopes []string) bool {
	if len(r.Plans) > 0 && !slices.Contains(r.Plans, plan) {
		return false
	}
	for _, set := range r.Scopes {
		if hasAll(scopes, set) {
			return true
		}
	}
	return len(r.Scopes) == 0
}

func hasAll(has, wanted []string) bool {
	for _, s := range wanted {
		if !slices.Contains(has, s) {
			return false
		}
	}
	return true
}
