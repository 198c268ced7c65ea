package cache

import (
	"fmt"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// TestInvalidateElsewhere: what one route keeps is invalidated by what another one has done.
func TestInvalidateElsewhere(t *testing.T) {
	ignoring := rules.Policy{IgnoreRequest: true}
	answers := func(x *proxy.Exchange) string {
		if x.Request.Method == "POST" {
			return "303\nLocation: /b\n\n"
		}
		return "200\nCache-Control: max-age=100\n\none"
	}
	const miss, hit = "200 one, fwd=uri-miss; ttl=100; stored", "200 one age 0, hit; ttl=100"
	// other sends requests through a route of its own.
	other := func(b *bench, o Options, request string, fields ...string) {
		b.t.Helper()
		mine := b.chain
		defer func() { b.chain = mine }()
		o.Rules, o.Space, o.Wait = ignoring, []byte("other"), time.Minute
		b.chain = proxy.NewChain(proxy.Link{Name: "cache", Policy: NewPolicy(b.cache, o)}, proxy.Link{Name: "origin", Policy: b})
		b.want(b.ask(request, fields...), "303 , fwd=method")
	}
	f := func(name string, mine, others Options, keeps, does string, gone bool) {
		mine.Rules = ignoring
		inBubble(name, t, mine, func(b *bench) {
			b.answer = answers
			b.want(b.ask("GET "+keeps), miss)
			b.want(b.ask("GET "+keeps), hit)
			other(b, others, does)
			want := hit
			if gone {
				want = miss
			}
			b.want(b.ask("GET "+keeps), want)
		})
	}
	page, all, none := Options{Query: []string{"page"}}, Options{}, Options{Query: []string{}}
	f("another route", all, all, "/a", "POST /a", true)
	f("another URL", all, all, "/a", "POST /c", false)
	f("what Location names", all, all, "/b", "POST /a", true)
	f("with its query", all, all, "/a?x=1&page=2", "POST /a?x=1&page=2", true)
	f("with another query", all, all, "/a?x=1", "POST /a?x=2", false)
	f("keys differ", page, all, "/a?x=1&page=2", "POST /a?page=2&y=1", true)
	f("keys differ, the other way", all, page, "/a?x=1&page=2", "POST /a?x=1&page=2", true)
	f("keys hold no query", none, all, "/a?x=1", "POST /a?y=1", true)
	f("an empty query", all, all, "/a?", "POST /a", true)
	f("an empty query, the other way", all, all, "/a", "POST /a?", true)
	f("headers tell answers apart", Options{Headers: []string{"X-A"}}, all, "/a", "POST /a", true)

	inBubble("hosts with and without the port", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = answers
		for _, hosts := range [][2]string{{"host", "host:80"}, {"host:80", "host"}, {"[::1]", "[::1]:80"}} {
			b.host = hosts[0]
			b.want(b.ask("GET /a"), miss)
			b.host = hosts[1]
			b.ask("POST /a")
			b.host = hosts[0]
			b.want(b.ask("GET /a"), miss)
		}
		b.host = "host:8080"
		b.want(b.ask("GET /a"), miss)
		b.host = "host"
		b.ask("POST /a")
		b.host = "host:8080"
		b.want(b.ask("GET /a"), hit)
	})

	held := func(b *bench) int64 { return b.cache.Store.Stats().Purges }
	inBubble("clients do not fill the list of purges", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = answers
		for i := range 10 {
			b.ask(fmt.Sprintf("POST /%d", i))
		}
		if n := held(b); n != 0 {
			t.Errorf("%d purges of what nobody keeps", n)
		}
		NewPolicy(b.cache, Options{Space: []byte("other")})
		for i := range 2 * blindMax {
			b.ask(fmt.Sprintf("POST /%d", i))
		}
		if n := held(b); n == 0 || n > blindMax {
			t.Errorf("%d purges at once, want at most %d", n, blindMax)
		}
		before := held(b)
		b.want(b.ask("GET /a"), miss)
		b.ask("POST /a") // which this policy knows to be there
		b.want(b.ask("GET /a"), miss)
		time.Sleep(time.Second / 10)
		for i := range blindMax {
			b.ask(fmt.Sprintf("POST /x%d", i))
		}
		if n := held(b) - before; n < 2 || n > blindMax/10+10 {
			t.Errorf("%d purges in a tenth of a second", n)
		}
	})
}

// TestShelves: the list of how URLs stand in keys is bounded, and holds what the newest policies say.
func TestShelves(t *testing.T) {
	c := New(store.New(store.MinBytes, wire.Now))
	add := func(space string, query []string) *shelfList {
		NewPolicy(c, Options{Space: []byte(space), Query: query})
		return c.shelves.all.Load()
	}
	if l := add("a", nil); l.many || len(l.queries) != 1 {
		t.Errorf("%+v", l)
	}
	if l := add("a", []string{}); l.many || len(l.queries) != 2 { // nothing is not everything
		t.Errorf("%+v", l)
	}
	if l := add("b", nil); !l.many || len(l.queries) != 2 || l.queries[1] != nil {
		t.Errorf("%+v", l)
	}
	for i := range 2 * queriesMax {
		add("a", []string{fmt.Sprint(i)})
	}
	if l := c.shelves.all.Load(); !l.many || len(l.queries) != queriesMax || l.queries[queriesMax-1][0] != fmt.Sprint(2*queriesMax-1) {
		t.Errorf("%+v", l)
	}
}
