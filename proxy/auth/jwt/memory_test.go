package jwt

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

func TestSameBytes(t *testing.T) {
	f := func(a, b string) {
		t.Helper()
		if got := sameBytes([]byte(a), []byte(b)); got != (a == b) {
			t.Errorf("%q and %q: %v", a, b, got)
		}
	}
	long := strings.Repeat("0123456789", 10)
	for n := range len(long) {
		f(long[:n], long[:n])
		f(long[:n], long[:n+1])
		for i := range n {
			changed := []byte(long[:n])
			changed[i] ^= 1
			f(long[:n], string(changed))
		}
	}
}

// TestCollision tries that a token is never taken for another one that has the same hash: here all of them have.
func TestCollision(t *testing.T) {
	m := newMemory(4)
	set := new(jose.Set)
	hash := m.hash([]byte("good"))
	bucket := m.table.Bucket(hash)
	for i := range bucket {
		// As if "good" were the hash of other tokens.
		bucket[i].Store(&entry{token: fmt.Appendf(nil, "goo%d", i), hash: hash, until: 1 << 62, set: set})
	}
	if e := m.find([]byte("good"), set, nil, wire.Now()); e != nil {
		t.Fatalf("it is taken for %s", e.token)
	}
	bucket[2].Store(&entry{token: []byte("good"), hash: hash, until: 1 << 62, set: set})
	if e := m.find([]byte("good"), set, nil, wire.Now()); e == nil || string(e.token) != "good" {
		t.Fatalf("it is not found: %v", e)
	}
}

// TestSameHash does the same with long tokens, of which only pieces are hashed.
func TestSameHash(t *testing.T) {
	m := newMemory(1000)
	set := new(jose.Set)
	good := bytes.Repeat([]byte("0123456789abcdef"), 64)
	m.add(&entry{token: good, until: 1 << 62, set: set})
	same := 0
	for i := range good {
		other := bytes.Clone(good)
		other[i] ^= 1
		if m.hash(other) == m.hash(good) {
			same++
		}
		if e := m.find(other, set, nil, wire.Now()); e != nil {
			t.Fatalf("a token that differs at %d is taken for it", i)
		}
	}
	if same < len(good)/2 || m.find(bytes.Clone(good), set, nil, wire.Now()) == nil {
		t.Errorf("%d of %d changed tokens have the same hash", same, len(good))
	}
}

func TestMemory(t *testing.T) {
	const n = 100
	m := newMemory(n)
	set, other := new(jose.Set), new(jose.Set)
	now := wire.Now()
	add := func(name string, until int64) *entry {
		e := &entry{token: []byte(name), until: until, set: set}
		m.add(e)
		return e
	}
	one := add("one", now+int64(time.Hour))
	f := func(name string, set *jose.Set, list *revocations, at int64, want *entry) {
		t.Helper()
		if got := m.find([]byte(name), set, list, at); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	f("one", set, nil, now, one)
	f("One", set, nil, now, nil)
	f("on", set, nil, now, nil)
	f("one", other, nil, now, nil)                  // the keys have changed
	f("one", set, nil, now+int64(time.Hour), nil)   // it has expired
	f("one", set, nil, now+int64(time.Hour)-1, one) // just not yet
	if e := m.find([]byte("one"), set, &revocations{}, now); e == nil || !bytes.Equal(e.token, one.token) {
		t.Error("it is forgotten because of a list that it is not in")
	}
	m.add(&entry{token: []byte("one"), until: now + int64(time.Hour), set: other})
	if got := m.table.Len(); got != 1 {
		t.Errorf("one token takes %d places", got)
	}
	// However many come, there are no more than places.
	for i := range 10 * n {
		add(fmt.Sprint("token ", i), now+int64(time.Hour))
	}
	if got := m.table.Len(); got < n || got > 2*n {
		t.Errorf("%d tokens are remembered", got)
	}
	var none *memory
	none.add(one)
	if none.find([]byte("one"), set, nil, now) != nil {
		t.Error("without a memory something is remembered")
	}
}

// TestMemoryBytes tries that long tokens do not take more memory than there is for all of them.
func TestMemoryBytes(t *testing.T) {
	const n = 64
	m := newMemory(n)
	set := new(jose.Set)
	for i := range 1000 {
		e := &entry{token: fmt.Appendf(make([]byte, jose.TokenBytesMax-10), "%10d", i), until: wire.Now() + int64(time.Hour), set: set}
		m.add(e)
		if got := m.table.Len(); got == 0 || got*(512+3*len(e.token)) > n*tokenBytesUsual {
			t.Fatalf("after %d tokens of 16 KiB %d are remembered in %d bytes for all", i+1, got, n*tokenBytesUsual)
		}
	}
}

// TestMemoryConcurrently adds and finds from many goroutines: what is found is what was asked for.
func TestMemoryConcurrently(t *testing.T) {
	m := newMemory(16)
	set := new(jose.Set)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 2000 {
				name := fmt.Appendf(nil, "token %d", i%50)
				if e := m.find(name, set, nil, wire.Now()); e == nil {
					m.add(&entry{token: name, until: wire.Now() + int64(time.Hour), set: set})
				} else if !bytes.Equal(e.token, name) {
					t.Errorf("%s is taken for %s", name, e.token)
				}
			}
		})
	}
	group.Wait()
}

// TestRemembered tries that a remembered token is verified no more, and not remembered past its time.
func TestRemembered(t *testing.T) {
	s := newES256("a")
	set := setOf(s)
	g := guard(t, Options{Keys: FixedKeys(set), Remember: 100, Leeway: time.Second})
	short := s.token(claims("exp", time.Now().Unix()+3600*5))
	for range 5 {
		if got := outcome(g, short); got != "200" {
			t.Fatal(got)
		}
	}
	if got := g.Status(); got.Verified != 1 || got.Remembered != 1 {
		t.Errorf("got %+v", got)
	}
	e := g.memory.find([]byte(short), set, nil, wire.Now())
	if left := time.Duration(e.until - wire.Now()); left > rememberMax || left < rememberMax-time.Minute {
		t.Errorf("a token of five hours is remembered for %s", left)
	}
	soon := s.token(claims("exp", time.Now().Unix()+60))
	if got := outcome(g, soon); got != "200" {
		t.Fatal(got)
	}
	e = g.memory.find([]byte(soon), set, nil, wire.Now())
	if left := time.Duration(e.until - wire.Now()); left > 61*time.Second || left < 30*time.Second {
		t.Errorf("a token of a minute is remembered for %s", left)
	}
	// The clock goes on.
	g.now = func() time.Time { return time.Now().Add(time.Hour) }
	x := bearing(soon)
	defer x.Release()
	x.Started = wire.Now() + int64(time.Hour)
	if got := said(g.Check(x)); !strings.HasPrefix(got, "401 the token has expired") {
		t.Errorf("got %s", got)
	}
	// New keys: everything is verified anew, and another signer's tokens are nobody's.
	g.options.Keys.set.Store(setOf(newES256("a")))
	if got := outcome(g, short); !strings.HasPrefix(got, "401 the token's signature") {
		t.Errorf("after the keys have changed: got %s", got)
	}
}
