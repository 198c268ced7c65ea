package cache

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// passUnsafe hands on a request that may change what is cached (RFC 9111 section 4.4).
func (v *visit) passUnsafe(next *proxy.Chain) error {
	x, r := v.x, &v.x.Request
	host, path, query, hasQuery := r.Host, r.Path, r.Query, r.HasQuery // as they are here: policies behind may rewrite them
	if err := next.Serve(x); err != nil {
		return err
	}
	if !rules.Invalidates(r.Method, x.Response.Status) {
		return nil
	}
	v.invalidate(host, path, query, hasQuery)
	for _, field := range [...]string{"Location", "Content-Location"} {
		for value := range x.Response.Head.Values(field) {
			if target, ok := rules.SameOrigin(value, r.Scheme, host); ok {
				path, query, has := bytes.Cut(target, question)
				v.invalidate(host, path, query, has)
			}
		}
	}
	return nil
}

var question = []byte("?")

// invalidate purges a URL, in each form in which clients write it: with the port that is the scheme's or without, and with an empty query
// or without.
func (v *visit) invalidate(host, path, query []byte, hasQuery bool) {
	port := colon80
	if v.x.Request.Scheme == "https" {
		port = colon443
	}
	hosts := [...][]byte{host, nil}
	if bare, ok := bytes.CutSuffix(host, port); ok {
		hosts[1] = bare
	} else if _, other := wire.SplitHostPort(host); len(other) == 0 && len(host) > 0 {
		hosts[1] = v.x.KeepScratch(append(append(v.x.Scratch(), host...), port...))
	}
	for _, host := range hosts {
		if host == nil {
			continue
		}
		v.purge(host, path, query, hasQuery)
		if len(query) == 0 {
			v.purge(host, path, nil, !hasQuery)
		}
	}
}

var colon80, colon443 = []byte(":80"), []byte(":443")

// purge purges one form of a URL, if this policy has stored something for it or is about to: clients must not fill the list of purges with URLs
// that they make up. If responses may also be stored under keys that are not known here, as those of another route or another client, it purges
// without looking, at most blindMax times a second.
func (v *visit) purge(host, path, query []byte, hasQuery bool) {
	c, p, x := v.p.cache, v.p, v.x
	v.buildKeyOf(host, path, query, hasQuery)
	known := v.key != nil && (c.flights.has(v.key) || c.Store.Get(v.key, &v.entry) != store.Missing)
	v.entry.Free()
	if known {
		c.Store.PurgeURL(string(v.key[p.urlFrom():v.urlEnd]), false)
	}
	shelves := c.shelves.all.Load()
	if !shelves.many && !p.private() {
		return
	}
	for _, names := range shelves.queries {
		if known && slices.Equal(names, p.Query) && (names == nil) == (p.Query == nil) {
			continue
		}
		url := appendQuery(append(append(x.Scratch(), host...), path...), names, query, hasQuery)
		if names != nil && len(query) == 0 && hasQuery {
			continue // as without the question mark
		}
		if len(url) <= keyMax && c.blind.take(wire.Now()) {
			c.Store.PurgeURL(string(url), false)
		}
	}
}

// shelves are what is known of the policies of a cache: whether one of them may hold what another is asked to purge.
type shelves struct {
	mu  sync.Mutex
	all atomic.Pointer[shelfList]
}

type shelfList struct {
	first   string     // the space of one policy
	many    bool       // there were others
	queries [][]string // see Options.Query: how URLs stand in keys; those of the newest policies at the end
}

// queriesMax bounds the ways in which URLs stand in keys. The cache lives through reloads, and the list must not grow with them.
const queriesMax = 32

func (s *shelves) add(o *Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := shelfList{first: string(o.Space)}
	if old := s.all.Load(); old != nil {
		list.first, list.many = old.first, old.many || old.first != string(o.Space)
		list.queries = slices.DeleteFunc(slices.Clone(old.queries), func(names []string) bool {
			return slices.Equal(names, o.Query) && (names == nil) == (o.Query == nil)
		})
	}
	if list.queries = append(list.queries, o.Query); len(list.queries) > queriesMax {
		list.queries = list.queries[1:]
	}
	s.all.Store(&list)
}

// blindMax is how many URLs are purged in a second without knowing that there is something. The store remembers many times that, and
// looks itself through when they crowd, so that clients cannot make it forget everything.
const blindMax = 1000

// thrift lets so many purges through. It holds the time at which the next one is due.
type thrift struct{ due atomic.Int64 }

func (t *thrift) take(now int64) bool {
	for {
		due := t.due.Load()
		next := max(due, now-int64(time.Second)) + int64(time.Second)/blindMax
		if next > now {
			return false
		}
		if t.due.CompareAndSwap(due, next) {
			return true
		}
	}
}
