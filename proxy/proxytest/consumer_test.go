package proxytest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// withKeys is a configuration in which the keys of these numbers are good.
func withKeys(numbers ...int) string {
	var keys strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&keys, `{ hash: "sha256:%x", prefix: sk }, `, sha256.Sum256(fmt.Appendf(nil, "sk_acme_%d", n)))
	}
	return `
consumers:
  partners:
    acme: { keys: [` + keys.String() + `] }
    anne: { passwords: "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4" }
policies: { key: { api_key: { consumers: partners } }, staff: { basic_auth: { consumers: partners } } }
routes:
  a: { match: /a, use: [key], respond: { status: 200, headers: { X-User: $consumer } } }
  staff: { match: /staff, use: [staff], respond: { status: 200, headers: { X-User: $consumer } } }
`
}

// TestKeyRotation changes the keys of a consumer again and again while clients come with the old one and the new one, with a password, and
// with what nobody was given: nobody is refused who is good before and after a reload, and nobody else is admitted.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	gw := Start(t, withKeys(0))
	ask := func(path string, set func(*http.Request), want int, wantUser string) {
		r, err := http.NewRequest(http.MethodGet, "http://"+gw.Addr+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		set(r)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Error(err)
		}
		if user := response.Header.Get("X-User"); response.StatusCode != want || user != wantUser {
			t.Errorf("%s: %d for %q, want %d for %q", path, response.StatusCode, user, want, wantUser)
		}
	}
	key := func(n int) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Api-Key", fmt.Sprint("sk_acme_", n)) }
	}
	var current, done atomic.Int64 // the key that clients have, requests
	var stop atomic.Bool
	var group sync.WaitGroup
	client := func(once func()) {
		group.Go(func() {
			for !stop.Load() && !t.Failed() {
				once()
				done.Add(1)
			}
		})
	}
	// A key is good until two reloads after its successor was handed out, so a request that begins with it ends before.
	inFlight := new(sync.RWMutex)
	for range 3 {
		client(func() {
			inFlight.RLock()
			defer inFlight.RUnlock()
			ask("/a", key(int(current.Load())), 200, "acme")
		})
	}
	client(func() {
		ask("/staff", func(r *http.Request) { r.SetBasicAuth("anne", "password") }, 200, "anne")
	})
	client(func() { ask("/a", key(-1), 401, "") })
	client(func() { ask("/staff", func(r *http.Request) { r.SetBasicAuth("acme", "password") }, 401, "") })
	for n := range 6 {
		after := done.Load() + 30
		for done.Load() < after && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		gw.Reload(withKeys(n, n+1)) // both are good
		current.Store(int64(n + 1))
		inFlight.Lock() // nobody comes with the old one any more
		inFlight.Unlock()
		gw.Reload(withKeys(n + 1))
		ask("/a", key(n), 401, "")
	}
	stop.Store(true)
	group.Wait()
	consumers, more, err := gw.Runtime.Consumers("", "", 10)
	if err != nil || more || len(consumers) != 2 {
		t.Errorf("there are %d consumers, more: %v, %v", len(consumers), more, err)
	}
	for _, c := range consumers {
		for _, k := range append(c.Keys, c.Passwords...) {
			if k.LastUsed == nil {
				t.Errorf("%s was never used", c.Name)
			}
		}
	}
	if hashed, refused := gw.Runtime.PasswordCounts(); refused != 0 || hashed == 0 {
		t.Errorf("%d passwords were hashed, and %d requests refused", hashed, refused)
	}
}
