package upstream

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// picks chooses n times and returns the names in a row.
func picks(s *Service, x *proxy.Exchange, n int) string {
	var b strings.Builder
	for range n {
		e := s.pick(x, nil)
		if e == nil {
			return b.String() + "-"
		}
		b.WriteString(e.name)
	}
	return b.String()
}

func leaveOut(s *Service, names string) {
	for _, e := range s.set.Load().endpoints {
		e.leftOutUntil.Store(0)
		if strings.Contains(names, e.name) {
			e.leftOutUntil.Store(wire.Now() + int64(patience))
		}
	}
}

func TestRoundRobin(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	f := func(leftOut, want string, weights ...int) {
		t.Helper()
		s := bareService(RoundRobin, weights...)
		leaveOut(s, leftOut)
		if got := picks(s, x, len(want)); got != want {
			t.Fatalf("weights %v without %q: got %s, want %s", weights, leftOut, got, want)
		}
	}
	f("", "-")
	f("", "aaa", 3)
	f("", "abcabc", 1, 1, 1)
	// What nginx does with 5, 1, 1: the heavy one is interrupted by the light ones, and these are apart.
	f("", "aabacaaaabacaa", 5, 1, 1)
	f("", "abaaba", 20, 10)
	f("", "babbab", 1, 2)

	// The turns of one that is left out fall to all the others alike, not to its neighbour.
	f("a", "bcbcbcbc", 1, 1, 1)
	f("b", "acacacac", 1, 1, 1)
	f("bc", "aaaa", 1, 1, 1)
	// Trying beats refusing.
	f("a", "aaa", 1)
}

// TestRoundRobinReturns sees an endpoint come back by itself when its time is over.
func TestRoundRobinReturns(t *testing.T) {
	s := bareService(RoundRobin, 1, 1)
	x := newExchange("GET", "/", "")
	defer end(x)
	s.endpointAt(0).leftOutUntil.Store(x.Started + 1000)
	if got := picks(s, x, 4); got != "bbbb" {
		t.Fatal(got)
	}
	x.Started += 1000
	if got := picks(s, x, 40); strings.Count(got, "a") != 20 {
		t.Fatal(got)
	}
}

// TestAllLeftOut takes the endpoint whose time is up first, whatever the balancer.
func TestAllLeftOut(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	for _, b := range []Balance{RoundRobin, LeastRequest, Hash} {
		s := bareService(b, 1, 1, 1)
		later := wire.Now() + int64(patience)
		for i, e := range s.set.Load().endpoints {
			e.leftOutUntil.Store(later + []int64{300, 100, 200}[i])
		}
		if got := picks(s, x, 3); got != "bbb" {
			t.Fatalf("%d: %s", b, got)
		}
		// Those tried are not tried again, left out or not.
		tried := []*endpoint{s.endpointAt(1)}
		if e := s.pick(x, tried); e == nil || e.name != "c" {
			t.Fatal(e)
		}
		if e := s.pick(x, s.set.Load().endpoints); e != nil {
			t.Fatalf("%d: %s was tried already", b, e.name)
		}
	}
}

// TestTried never gives out an endpoint that the request has tried already.
func TestTried(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	for _, b := range []Balance{RoundRobin, LeastRequest, Hash} {
		s := bareService(b, 3, 1, 1, 2)
		for range 1000 {
			tried := s.set.Load().endpoints[:2]
			if e := s.pick(x, tried); e != s.endpointAt(2) && e != s.endpointAt(3) {
				t.Fatalf("%d: picked %s", b, e.name)
			}
		}
	}
}

// TestTriedOfAnotherSet: what a request has tried may be gone by the time that it tries again, and what is left need not have been tried.
func TestTriedOfAnotherSet(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	for _, b := range []Balance{RoundRobin, LeastRequest, Hash} {
		before := bareService(b, 1, 1)
		for n := 1; n <= 3; n++ {
			s := bareService(b, []int{1, 1, 1}[:n]...)
			if e := s.pick(x, before.set.Load().endpoints[:1]); e == nil {
				t.Errorf("%d: of %d endpoints that were not tried none was picked", b, n)
			}
		}
	}
}

func TestLeastRequest(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	f := func(want string, weights []int, inFlight ...int64) {
		t.Helper()
		s := bareService(LeastRequest, weights...)
		for i, n := range inFlight {
			s.endpointAt(i).inFlight.Store(n)
		}
		if got := picks(s, x, 100); strings.Trim(got, want) != "" {
			t.Fatalf("in flight %v of weights %v: got %s, want only %s", inFlight, weights, got, want)
		}
	}
	f("b", []int{1, 1}, 5, 0)
	f("a", []int{1, 1}, 5, 6)
	f("ab", []int{1, 1}, 5, 5)
	f("a", []int{10, 1}, 9, 1)
	f("b", []int{10, 1}, 25, 1)
	f("a", []int{10, 1}, 0, 0)       // with nothing in flight the weight decides
	f("ab", []int{1, 1, 1}, 0, 0, 1) // the worst of three never wins

	s := bareService(LeastRequest, 1, 1, 1)
	leaveOut(s, "ac")
	if got := picks(s, x, 50); strings.Trim(got, "b") != "" {
		t.Fatal(got)
	}
}

// TestLeastRequestShares lets requests pile up: what is in flight is divided by weight.
func TestLeastRequestShares(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	s := bareService(LeastRequest, 4, 2, 1)
	for range 7000 {
		s.pick(x, nil).inFlight.Add(1)
	}
	for i, want := range []int64{4000, 2000, 1000} {
		if got := s.endpointAt(i).inFlight.Load(); got < want*95/100 || got > want*105/100 {
			t.Fatalf("endpoint %d has %d in flight, want about %d", i, got, want)
		}
	}
}

// hashed returns where every key goes.
func hashed(s *Service, x *proxy.Exchange, keys int) map[string]string {
	where := make(map[string]string)
	for i := range keys {
		key := fmt.Sprintf("key-%d", i)
		x.Client.Text = []byte(key)
		where[key] = s.pick(x, nil).name
	}
	return where
}

func TestHashKeepsKeys(t *testing.T) {
	const keys = 10_000
	x := newExchange("GET", "/", "")
	defer end(x)
	s := bareService(Hash, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	before := hashed(s, x, keys)
	again := hashed(s, x, keys)
	load := make(map[string]int)
	for key, e := range before {
		load[e]++
		if again[key] != e {
			t.Fatalf("%s went to %s and to %s", key, e, again[key])
		}
	}
	for i := range 10 {
		if n := load[s.endpointAt(i).name]; n < keys/10*7/10 || n > keys/10*135/100 {
			t.Errorf("endpoint %d has %d of %d keys", i, n, keys)
		}
	}

	moved := func(what string, after map[string]string, allowed func(from, to string) bool, limit float64) {
		t.Helper()
		n := 0
		for key, from := range before {
			if to := after[key]; to != from {
				n++
				if !allowed(from, to) {
					t.Fatalf("%s: %s moved from %s to %s", what, key, from, to)
				}
			}
		}
		if share := float64(n) / keys; share == 0 || share > limit {
			t.Fatalf("%s: %.3f of the keys moved, want at most %.3f", what, share, limit)
		}
	}
	joined := bareService(Hash, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	moved("join", hashed(joined, x, keys), func(_, to string) bool { return to == "k" }, 1.5/11)
	left := bareService(Hash, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	moved("leave", hashed(left, x, keys), func(from, _ string) bool { return from == "j" }, 1.5/10)
	leaveOut(s, "d")
	moved("left out", hashed(s, x, keys), func(from, _ string) bool { return from == "d" }, 1.5/10)
	leaveOut(s, "")
	for key, e := range hashed(s, x, keys) {
		if before[key] != e {
			t.Fatalf("%s did not come back to %s", key, before[key])
		}
	}
}

// TestHashNobody: where nobody can be used, the ring is not walked: requests of an outage would cost the most.
func TestHashNobody(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	s := bareService(Hash, 1, 1)
	set := s.set.Load()
	for i := range set.ring {
		set.ring[i].at = uint16(len(set.endpoints)) // who looks there panics
	}
	leaveOut(s, "ab")
	if e := set.byHash(7, wire.Now(), nil); e != nil {
		t.Errorf("got %s", e.name)
	}
	leaveOut(s, "a")
	if e := set.byHash(7, wire.Now(), set.endpoints[1:]); e != nil {
		t.Errorf("all that can be used was tried: got %s", e.name)
	}
}

func TestHashWeights(t *testing.T) {
	x := newExchange("GET", "/", "")
	defer end(x)
	load := make(map[string]int)
	for _, e := range hashed(bareService(Hash, 30, 10), x, 10_000) {
		load[e]++
	}
	if load["a"] < 7000 || load["a"] > 8000 {
		t.Fatal(load)
	}
}

// TestHashBoundedLoad piles up requests, most of them of one key: nobody gets more than 1.25 times its share of what is
// in flight on those that can be used.
func TestHashBoundedLoad(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	f := func(leftOut string, weights ...int) {
		t.Helper()
		s := bareService(Hash, weights...)
		leaveOut(s, leftOut)
		x := newExchange("GET", "/", "")
		defer end(x)
		room := 0
		for i, w := range weights {
			if !strings.Contains(leftOut, s.endpointAt(i).name) {
				room += w
			}
		}
		var flying []*endpoint
		for step := range 3000 {
			if len(flying) > 50 && random.IntN(3) == 0 {
				i := random.IntN(len(flying))
				flying[i].inFlight.Add(-1)
				flying[i] = flying[len(flying)-1]
				flying = flying[:len(flying)-1]
			}
			x.Client.Text = []byte("popular")
			if random.IntN(10) == 0 {
				x.Client.Text = fmt.Append(nil, random.IntN(100))
			}
			e := s.pick(x, nil)
			if strings.Contains(leftOut, e.name) {
				t.Fatalf("%s is left out", e.name)
			}
			e.inFlight.Add(1)
			flying = append(flying, e)
			bound := (5*int64(len(flying))*int64(e.target.Weight) + int64(4*room) - 1) / int64(4*room)
			if got := e.inFlight.Load(); got > bound {
				t.Fatalf("step %d: %s has %d of %d in flight, more than %d", step, e.name, got, len(flying), bound)
			}
		}
	}
	f("", 1, 1, 1, 1, 1, 1, 1, 1)
	f("", 4, 1, 2, 1)
	f("b", 1, 1, 1, 1)
	f("abcd", 1, 1, 1, 1, 1, 1, 1, 1)
	f("a", 4, 1, 2, 1)
}

// TestHashKey sees what a request is balanced on, and that one without the key is not like all others without it.
func TestHashKey(t *testing.T) {
	x := newExchange("GET", "/a", "")
	defer end(x)
	x.Request.Query = []byte("user=q%20q&other=1")
	x.Request.Head.AddString("X-User", "h")
	x.Request.Head.AddString("Cookie", "user=c")
	f := func(k Key, want string) {
		t.Helper()
		if got := k.Hash(x); got != hashBytes(want) {
			t.Fatalf("%+v is not the hash of %q", k, want)
		}
	}
	f(Key{}, "192.0.2.1")
	f(Key{Kind: ByPath}, "/a")
	f(Key{Kind: ByHeader, Name: "x-user"}, "h")
	f(Key{Kind: ByHeader, Name: "X-Other"}, "192.0.2.1")
	f(Key{Kind: ByCookie, Name: "user"}, "c")
	f(Key{Kind: ByCookie, Name: "User"}, "192.0.2.1")
	f(Key{Kind: ByQuery, Name: "user"}, "q q")
	f(Key{Kind: ByQuery, Name: "nobody"}, "192.0.2.1")
}

func FuzzInterleave(f *testing.F) {
	f.Add([]byte{5, 1, 1})
	f.Add([]byte{255, 254, 1})
	f.Fuzz(func(t *testing.T, weights []byte) {
		if len(weights) == 0 || len(weights) > 16 {
			return
		}
		var endpoints []*endpoint
		total := 0
		for _, w := range weights {
			weight := int(w)%20 + 1
			total += weight
			endpoints = append(endpoints, &endpoint{target: &Target{Weight: weight}})
		}
		order := interleave(endpoints, 1)
		turns := make([]int, len(endpoints))
		for n, at := range order {
			turns[at]++
			// Smooth: at no moment has anybody had more than one turn beyond its share.
			for i, e := range endpoints {
				if share := float64((n+1)*e.target.Weight) / float64(total); float64(turns[i]) > share+2 {
					t.Fatalf("%v: endpoint %d had %d of %d turns", weights, i, turns[i], n+1)
				}
			}
		}
		for i, e := range endpoints {
			if turns[i] != e.target.Weight {
				t.Fatalf("%v: endpoint %d has %d turns a round", weights, i, turns[i])
			}
		}
	})
}
