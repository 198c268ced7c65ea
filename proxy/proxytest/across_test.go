package proxytest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/proxy/limit/redis/redistest"
)

// TestReloadStore: a reload that changes how a store is reached, or moves it to another server, closes nothing and opens nothing, at no moment: who has
// used a limit up is refused by it before, during and after. Nor does a store that is new, or a start.
func TestReloadStore(t *testing.T) {
	t.Parallel()
	users := []string{"--user", "a", "on", ">one", "~*", "+@all", "--user", "b", "on", ">two", "~*", "+@all"}
	server, other := redistest.Start(t, users...), redistest.Start(t, users...)
	// Its time is as long as may be: a store that a busy machine keeps from answering would be down.
	const yaml = `
stores: { redis: { url: "%s", secret: 0123456789abcdef, timeout: %s } }
policies:
  open: { rate_limit: { allow: 3/d, across: redis, if_store_down: allow } }
  closed: { rate_limit: { allow: 3/d, across: redis, if_store_down: deny } }
routes:
  open: { match: /open, use: [open], respond: { status: 204 } }
  closed: { match: /closed, use: [closed], respond: { status: 204 } }
`
	of := func(s *redistest.Server, more string) string {
		return fmt.Sprintf(yaml, "redis://"+s.Address(), "2s"+more)
	}
	gw := Start(t, of(server, ""))
	var counts [600]atomic.Int64
	ask := func(tr *http.Transport, path string) int {
		req, err := http.NewRequest("GET", "http://"+gw.Addr+path, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		counts[resp.StatusCode].Add(1)
		return resp.StatusCode
	}
	// A start: the store has answered before the first request.
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	for i, path := range []string{"/open", "/closed"} {
		eventually(t, "three answers of "+path, func() bool { ask(tr, path); return counts[204].Load() == int64(3*(i+1)) })
	}
	if in := counts[204].Load(); in != 6 || counts[503].Load() != 0 {
		t.Fatalf("%d were let in at the start, want 6, and %d got 503", in, counts[503].Load())
	}

	done := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			for {
				select {
				case <-done:
					return
				default:
					ask(tr, []string{"/open", "/closed"}[i%2])
				}
			}
		})
	}
	reload := func(text string) {
		t.Helper()
		before := counts[429].Load()
		gw.Reload(text)
		eventually(t, "requests after a reload", func() bool { return counts[429].Load() > before+100 })
		if in, closed := counts[204].Load(), counts[503].Load(); in != 6 || closed != 0 {
			t.Errorf("%d more were let in, %d got 503, after\n%s", in-6, closed, text[:strings.Index(text, "policies")])
		}
		counts[204].Store(6)
		counts[503].Store(0)
	}
	for range 2 {
		reload(fmt.Sprintf(yaml, "redis://"+server.Address(), "1900ms"))
		reload(of(server, ", user: a, password: one"))
		reload(of(server, ", user: b, password: two"))
		reload(of(other, ""))
		reload(of(server, ""))
	}
	reload(fmt.Sprintf(yaml, "unix:"+server.Socket(), "2s"))
	reload(of(other, ""))
	eventually(t, "that the other server knows the buckets", func() bool { return len(other.Command(t, "KEYS", "sluice:limit:*")) == 2 })
	close(done)
	clients.Wait()
	if s := gw.Runtime.LimitStores(); len(s) != 1 || !s[0].Up {
		t.Errorf("got %+v", s)
	}

	// A store, or a policy, that is new to a gateway, which others have used up: a lease may be taken ahead of its first answer, and no more.
	gw.Reload("routes: { a: { match: /a, respond: { status: 204 } } }")
	for _, restart := range []func(){func() { gw.Reload(of(other, "")) }, func() { gw.Stop(); gw = Start(t, of(other, "")) }} {
		restart()
		counts[204].Store(0)
		for range 100 {
			ask(tr, "/open")
			ask(tr, "/closed")
		}
		if in, closed := counts[204].Load(), counts[503].Load(); in > 2 || closed != 0 {
			t.Errorf("%d were let in, %d got 503", in, closed)
		}
	}
}
