package compile

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sluice/proxy/limit"
	"sluice/proxy/limit/redis/redistest"
)

// settling counts the goroutines that ask a store.
func settling() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("created by sluice/proxy/limit.(*Fleet).Start"))
}

const acrossHosts = `
stores: { redis: STORE }
policies:
  fair-use: { rate_limit: { allow: [20/s per ip, 5/min], across: redis } }
  strict: { rate_limit: { allow: 1/s, across: redis, if_store_down: deny } }
  own: { rate_limit: { allow: 1/s } }
routes:
  a: { match: /a, use: [fair-use, strict, own], respond: { status: 204 } }
  b: { match: /b, use: [fair-use], respond: { status: 204 } }
`

// TestStoresOutlive: the connection to a store and what policies know of buckets outlive a reload for as long as they are what they are, and
// end afterwards.
func TestStoresOutlive(t *testing.T) {
	server := redistest.Start(t)
	text := strings.Replace(acrossHosts, "STORE", "redis://"+server.Address(), 1)
	asking := func(want int) { // as in wantInBackground
		t.Helper()
		eventually(t, fmt.Sprintf("%d goroutines that ask a store", want), func() bool { return settling() == want })
	}
	asking(0) // of other tests
	r := newRuntime(t)
	reload := func(text string) map[string]*limiter {
		t.Helper()
		p := mustCompile(t, r, text)
		r.Commit(p)
		return p.limiters
	}
	first := reload(text)
	eventually(t, "an answer of the store", func() bool { s := r.LimitStores(); return len(s) == 1 && s[0].Up && r.Unready() == "" })
	f := func(change, to string, kept ...string) {
		t.Helper()
		p := mustCompile(t, r, strings.Replace(text, change, to, 1))
		var got []string
		for name, l := range p.limiters {
			if l == first[name] {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, kept) {
			t.Errorf("%s: kept %q, want %q", to, got, kept)
		}
		r.Discard(p)
	}
	f("/a", "/c", "fair-use", "own", "strict")
	f("20/s", "21/s", "own", "strict")
	f(", if_store_down: deny", "", "fair-use", "own")
	for _, other := range []string{"redis://" + server.Address() + "/1", "{ url: redis://" + server.Address() + ", timeout: 1s }", "redis://127.0.0.1:1"} {
		f("redis: redis://"+server.Address(), "redis: "+other, "fair-use", "own", "strict") // another way to it changes nothing of what is known
	}
	f("redis: redis://"+server.Address(), "redis: { url: redis://"+server.Address()+", user: u, password: p }", "own")
	f("redis: redis://"+server.Address(), "redis: { url: redis://"+server.Address()+", secret: 0123456789abcdef }", "own")
	f("redis: redis://"+server.Address(), "redis: { url: redis://"+server.Address()+", prefix: other }", "own")
	renamed := mustCompile(t, r, strings.NewReplacer("{ redis:", "{ other:", "across: redis", "across: other").Replace(text))
	if renamed.limiters["fair-use"] == first["fair-use"] || renamed.limiters["own"] != first["own"] {
		t.Error("a policy goes on with a store that ends")
	}
	r.Discard(renamed)
	asking(1)
	// On a busy machine an answer may be late, now and then, and the next one is not.
	eventually(t, "the status of a policy whose store answers", func() bool {
		across := r.Limits()[0].Across
		return across != nil && *across == (limit.Sharing{Store: "redis", Up: true, IfDown: "local"})
	})
	if across := r.Limits()[1].Across; across != nil {
		t.Errorf("a policy of one host has the store %+v", across)
	}
	var counted []string
	r.SharedCounts(func(name string, _, _ uint64) { counted = append(counted, name) })
	if !slices.Equal(counted, []string{"fair-use", "strict"}) {
		t.Errorf("counted are %q", counted)
	}

	server.Kill()
	eventually(t, "that the store is missed", func() bool { return r.Unready() == "no answer of the store redis" })
	if s := r.LimitStores()[0]; s.Up || s.Problem == "" || strings.Contains(fmt.Sprint(s), "\n") {
		t.Errorf("got %+v", s)
	}
	reload(strings.Replace(text, ", if_store_down: deny", "", 1))
	if why := r.Unready(); why != "" {
		t.Errorf("unready is %q, and no policy has closed its routes", why)
	}
	reload("routes: { a: { match: /a, respond: { status: 204 } } }")
	asking(0)
	if list := r.LimitStores(); len(list) != 0 {
		t.Errorf("there are stores still: %+v", list)
	}
}

func TestExplainAcross(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), strings.Replace(acrossHosts, "STORE", "redis://192.0.2.1", 1))
	e, err := p.Explain("GET", "/a", nil, nil, netip.MustParseAddr("192.0.2.7"))
	want := []string{
		"fair-use: 20/s per ip, counted as 192.0.2.7, across hosts through redis (local while that is down)",
		"fair-use: 5/min, counted with all others, across hosts through redis (local while that is down)",
		"strict: 1/s, counted with all others, across hosts through redis (deny while that is down)",
		"own: 1/s, counted with all others",
	}
	if err != nil || !slices.Equal(e.Limits, want) || e.Status != 204 {
		t.Errorf("got %q, %d, %v", e.Limits, e.Status, err)
	}
}

// TestSharedText: hosts share buckets if they call a policy by one name and give it the same rates, whatever else is different.
func TestSharedText(t *testing.T) {
	of := func(policy string) string {
		c := parse(t, "stores: { redis: redis://192.0.2.1 }\npolicies: { a: { rate_limit: { across: redis, "+policy+" } } }\n")
		return sharedText("a", "sluice", c.Policies[0].Value.RateLimit.Allow)
	}
	one := of("allow: [1/s per ip, 5/min]")
	if one != of("allow: [1/s burst 1 per ip, 5/min], headers: off, mode: report, if_store_down: deny, keys: 5") {
		t.Error("what does not matter does")
	}
	for _, other := range []string{"allow: [1/s per ip/24, 5/min]", "allow: [5/min, 1/s per ip]", "allow: [1/s burst 2 per ip, 5/min]", "allow: 1/s per ip"} {
		if one == of(other) {
			t.Errorf("%s shares buckets with another policy", other)
		}
	}
}

// TestStoreOptions: where a store is, and that no text about it has its secrets.
func TestStoreOptions(t *testing.T) {
	f := func(store, network, address string, database int, tls bool) {
		t.Helper()
		c := parse(t, "stores: { s: "+store+" }\n")
		o, definition, err := storeOptions(&c.Stores[0].Value)
		if err != nil || o.Network != network || o.Address != address || o.Database != database || (o.TLS != nil) != tls || o.Prefix == "" || o.Timeout == 0 {
			t.Errorf("%s: got %+v, %v", store, o, err)
		}
		if strings.Contains(definition, "hunter2") {
			t.Errorf("%s: the definition has the secret: %s", store, definition)
		}
	}
	f("redis://192.0.2.1", "tcp", "192.0.2.1:6379", 0, false)
	f("valkey://192.0.2.1:1/5", "tcp", "192.0.2.1:1", 5, false)
	f(`"redis://[2001:db8::1]"`, "tcp", "[2001:db8::1]:6379", 0, false)
	f("rediss://store.example", "tcp", "store.example:6379", 0, true)
	f("{ url: rediss://store.example, user: u, password: hunter2, secret: hunter2hunter2hunter2 }", "tcp", "store.example:6379", 0, true)
	f("unix:/run/redis.sock", "unix", "/run/redis.sock", 0, false)
}
