package cache

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// Cache is what all policies of a gateway share: the store, and the requests to origins that are under way for it. It outlives
// snapshots. Safe for concurrent use.
type Cache struct {
	Store   *store.Store
	flights flights
	behind  atomic.Int64 // fetches in the background under way
	// resuming counts bodies that go on from the origin.
	resuming atomic.Int64
	ids      atomic.Uint64
	// identified says that somebody was known by name: then one URL can lie under the keys of many.
	identified atomic.Bool
	shelves    shelves
	blind      thrift
	Waiting    atomic.Int64 // requests that wait for the answer to another one
	// Refreshes counts fetches in the background, which are no requests of clients; Skipped those for which there were too many at that time.
	Refreshes, Skipped atomic.Uint64
	// Resumed counts bodies of which a part was evicted under a slow client, and that went on from the origin.
	Resumed atomic.Uint64
	// Counts are of what became of requests.
	Counts [resultCount]atomic.Uint64
}

// Result is what the cache did for a request, for the log and the metrics.
type Result uint8

// The results.
const (
	Bypass      Result = iota // the request is none that a cache may answer
	Hit                       // from the store, fresh
	Stale                     // from the store, no longer fresh
	Revalidated               // from the store, after the origin has said that it is still good
	Collapsed                 // from the answer to another client's request
	Miss                      // from the origin
	resultCount
)

var resultNames = [resultCount]string{"bypass", "hit", "stale", "revalidated", "collapsed", "miss"}

// String is the word for a result, as logs and metrics have it.
func (r Result) String() string { return resultNames[r] }

// Results are all of them, in order.
func Results() []Result { return []Result{Bypass, Hit, Stale, Revalidated, Collapsed, Miss} }

// New returns a cache that keeps what it keeps in s.
func New(s *store.Store) *Cache { return &Cache{Store: s} }

// Options are what a policy of the kind cache says. They must not be changed once given to NewPolicy.
type Options struct {
	Rules rules.Policy
	// Space separates what different routes and definitions keep: a route's name, and a fingerprint of what makes its answers and its keys.
	Space []byte
	// Query are the parameters that belong to the key, in this order; nil: the query as it was sent. An empty list: none.
	Query []string
	// Headers, Cookies and Claims belong to the key, beside what origins name in Vary.
	Headers, Cookies, Claims []string
	// Shared keeps one copy for all clients, even if they were identified.
	Shared bool
	// Codings are those that a policy behind this one can apply, in the order of preference; nil: there is none.
	Codings []string
	// Tags is the response field whose words an answer can be purged by; empty: none. Clients do not see it.
	Tags string
	// MaxObject bounds bodies, in bytes.
	MaxObject int64
	// Wait is how long a request waits for the head of the answer to another one; 0: it does not wait.
	Wait time.Duration
	// Timeout bounds fetches in the background; 0: nothing but the service does.
	Timeout time.Duration
}

// Policy answers requests from the cache, and keeps what the policies behind it answer. Immutable, for one route.
type Policy struct {
	Options
	cache      *Cache
	vary       []byte // names of Headers as rules want them
	byIdentity rules.Policy
}

// NewPolicy returns a policy that works with c.
func NewPolicy(c *Cache, o Options) *Policy {
	if most := c.Store.MaxObject(); o.MaxObject == 0 || o.MaxObject > most {
		o.MaxObject = most
	}
	p := &Policy{Options: o, cache: c, byIdentity: o.Rules}
	p.byIdentity.ByIdentity = true
	var h wire.Head
	for _, name := range o.Headers {
		h.AddString("Vary", name)
	}
	p.vary, _ = rules.AppendVary(nil, &h) // names that were not checked before are none
	c.shelves.add(&o)
	return p
}

// visit is what one exchange has to do with the cache.
type visit struct {
	p      *Policy
	x      *proxy.Exchange
	req    rules.Request
	key    []byte // of the URL; in memory of the exchange
	full   []byte // the key of the answer that was found or is missed: key, or with what Vary names behind it
	urlEnd int    // see store.Item

	entry  store.Entry
	has    bool // entry holds something
	soft   bool // which was purged softly
	record record
	fresh  []byte // in place of what entry says of the head, after the origin has said that it is still good

	result Result
	status rules.Status

	// Of a follower.
	until  int64   // wire.Now until which it waits; 0: it has not waited yet
	failed int     // how many of those whom it has followed have failed
	turn   *flight // of which it has a turn
	late   bool    // because the answer did not come in time

	// The body that is left to be read of an entry of several chunks.
	at, left int64
	// How the body goes on if a chunk is gone.
	next  *proxy.Chain
	lines []byte // of the head, as it is kept
	tail  tail
}

var visits = sync.Pool{New: func() any { return new(visit) }}

// Finish implements proxy.Finisher.
func (v *visit) Finish(*proxy.Exchange) {
	v.p.cache.Counts[v.result].Add(1)
	v.went(false, nil)
	v.closeTail()
	v.entry.Free()
	*v = visit{}
	visits.Put(v)
}

// EditHead implements proxy.HeadEditor: every answer says what the cache did (RFC 9211), refusals included.
func (v *visit) EditHead(x *proxy.Exchange) {
	b := rules.AppendStatus(x.Scratch(), &v.status)
	x.Response.Head.Add("Cache-Status", b)
}

// Serve implements proxy.Policy.
func (p *Policy) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	v := visits.Get().(*visit)
	v.p, v.x = p, x
	x.OnFinish(v)
	x.OnHead(v)
	v.next = next
	err := v.serve(next)
	if p.Tags != "" {
		// Of what was not kept, too: it says what lies behind, and is not for clients.
		x.Response.Head.Del(p.Tags)
		x.Response.Decided = append(x.Response.Decided, p.Tags)
	}
	x.Cache = v.result.String()
	return err
}

func (v *visit) serve(next *proxy.Chain) error {
	x := v.x
	r := &x.Request
	if r.Method != "GET" && r.Method != "HEAD" {
		v.status.Forward = rules.ForwardMethod
		return v.passUnsafe(next)
	}
	v.req = rules.ParseRequest(&r.Head)
	v.buildKey()
	if r.Upgrade != "" || r.Body.Size() != 0 || v.req.Precondition || v.key == nil {
		v.status.Forward = rules.ForwardBypass
		return next.Serve(x)
	}
	for tries := 0; ; tries++ { // with each failed leader, too: they are counted by themselves
		mark := v.p.cache.Store.Now()
		now := x.Started
		if x.Waited {
			now = wire.Now()
		}
		switch v.look(now) {
		case rules.Fresh:
			v.result = Hit
			return v.answer(now)
		case rules.StaleUsable:
			v.result = Stale
			if !rules.OnlyIfCached(&v.req, &v.p.Rules) { // who says that does not want the origin to be asked
				v.refreshBehind(next, mark)
			}
			return v.answer(now)
		case rules.Missing:
			v.status = rules.Status{Forward: rules.Nowhere, Detail: "only-if-cached"}
			return ErrNotCached
		}
		passes := v.has && v.record.kind == kindPass || v.authorized() && v.noted()
		if r.Method == "HEAD" && v.has && v.record.kind == kindObject && v.record.status == 200 {
			return v.passHead(next, mark)
		}
		if r.Method == "HEAD" || passes && (v.req.Range || v.req.Conditional) {
			v.result = Miss
			return next.Serve(x)
		}
		if passes || v.p.Wait == 0 || v.turn != nil || tries == triesMax+v.failed {
			f := newFlight(v.full, mark)
			if v.turn != nil {
				f.key = string(v.key) // so that others can join when it has landed
			}
			return v.lead(next, f)
		}
		missed := v.full
		f, leads := v.p.cache.flights.join(v.key, v.flightKey(), mark, true, v.purged)
		if leads {
			// Somebody may have brought it between our look and our joining.
			if v.look(now) == rules.Revalidate && bytes.Equal(v.full, missed) {
				return v.lead(next, f)
			}
			v.p.cache.land(f, refreshed, nil)
			f.desert(true)
			continue
		}
		if done, err := v.follow(next, f); done || err != nil {
			return err
		}
	}
}

// authorized reports that the request has Authorization, and the cache key does not contain the identity that it proves: the response may be
// for this client alone.
func (v *visit) authorized() bool { return v.req.Authorization && v.p.rules(v.x) == &v.p.Rules }

// flightKey is what requests have in common that wait for each other.
func (v *visit) flightKey() []byte {
	if !v.authorized() {
		return v.full
	}
	return v.x.KeepScratch(append(append(v.x.Scratch(), v.full...), 0, 'a'))
}

// noted reports a note that answers to authorized requests are not for the cache.
func (v *visit) noted() bool {
	var e store.Entry
	defer e.Free()
	return v.p.cache.Store.Get(v.flightKey(), &e) != store.Missing
}

// purged reports whether what the request is for was purged since then.
func (v *visit) purged(since store.Mark) bool {
	return v.p.cache.Store.PurgedSince(since, v.key[v.p.urlFrom():v.urlEnd])
}

// triesMax bounds how often a request looks again after somebody else's answer has come: that may be for another variant, or may
// have been evicted already.
const triesMax = 3

// ErrNotCached answers only-if-cached (RFC 9111 section 5.2.1.7).
var ErrNotCached = &proxy.Error{
	Status: 504, Code: "not_cached", Detail: "The answer is not in the cache, and the request wants it from nowhere else.", Side: proxy.ByClient,
}

// look finds what the store has for the request, and judges it.
func (v *visit) look(now int64) rules.Verdict {
	v.drop()
	v.full = v.key
	forward := rules.ForwardURIMiss
	found := v.get()
	if found && v.record.kind == kindVary {
		forward = rules.ForwardVaryMiss
		if v.full = v.appendVariant(v.record.names, v.record.id); v.full == nil {
			v.full = v.key // too long to be kept
			found = false
		} else {
			v.entry.Free()
			found = v.get()
		}
	}
	if v.has = found; found && v.record.kind == kindObject {
		age := v.age(now)
		verdict := rules.Judge(age, &v.record.life, &v.req, &v.p.Rules)
		switch {
		case verdict != rules.Revalidate:
			forward = rules.Hit
		case age < v.record.life.Fresh && !v.record.life.NoCache:
			forward = rules.ForwardRequest
		default:
			forward = rules.ForwardStale
		}
		v.status.Forward = forward
		return verdict
	}
	v.status.Forward = forward
	if rules.OnlyIfCached(&v.req, &v.p.Rules) {
		return rules.Missing
	}
	return rules.Revalidate
}

// get looks up v.full.
func (v *visit) get() bool {
	found := v.p.cache.Store.Get(v.full, &v.entry)
	v.soft = found == store.Stale
	return found != store.Missing && v.record.decode(v.entry.Meta)
}

// age is that of what was found. What was purged softly is no longer fresh.
func (v *visit) age(now int64) int64 {
	age := v.record.age(now)
	if v.soft {
		age = max(age, v.record.life.Fresh)
	}
	return age
}

// drop lets go of what was found.
func (v *visit) drop() {
	v.entry.Free()
	v.has, v.soft, v.record, v.status = false, false, record{}, rules.Status{}
}
