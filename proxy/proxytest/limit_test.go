package proxytest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"sluice/proxy"
	"sluice/proxy/limit"
	"sluice/proxy/observe"
	"sluice/router"
)

// underWay is how many keys of the policy called name have requests under way.
func underWay(gw *Gateway, name string) int {
	for _, l := range gw.Runtime.Limits() {
		if l.Name == name {
			return l.Live
		}
	}
	return -1
}

// askFor asks for a path and returns the response, whose body is open, or fails the test.
func askFor(t *testing.T, ctx context.Context, client http.RoundTripper, gw *Gateway, path string, status int) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+gw.Addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if resp.StatusCode != status {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		t.Fatalf("%s: got %d, want %d: %s", path, resp.StatusCode, status, b)
	}
	return resp
}

// TestConcurrencyLasts: a slot is taken until the response is over, however it ends, and is given back then. Over HTTP/1.1 and HTTP/2.
func TestConcurrencyLasts(t *testing.T) {
	f := func(t *testing.T, client http.RoundTripper) {
		release := make(chan struct{}, 1)
		origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/stream":
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
				<-release
				_, _ = io.WriteString(w, " and over")
			case "/events": // until nobody takes them: a client that only closes its side would be served to the end
				for r.Context().Err() == nil {
					_, _ = io.WriteString(w, "event")
					_ = http.NewResponseController(w).Flush()
					time.Sleep(time.Millisecond)
				}
			case "/breaks":
				w.Header().Set("Content-Length", "10")
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			case "/fails":
				panic(http.ErrAbortHandler)
			}
		})
		t.Cleanup(func() { close(release) }) // the origin waits for its handlers
		gw := Start(t, listen2(fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
policies:
  few: { concurrency: { max: 1 per ip } }
  nobody: { addresses: { deny: [0.0.0.0/0] } }
routes:
  all: { match: "/**", use: [few], to: origin }
  denied: { match: /denied, use: [few, nobody], to: origin }
  free: { match: /free, respond: { status: 204 } }
`, origin)))
		free := func(what string) {
			t.Helper()
			eventually(t, "the slot to be given back after "+what, func() bool { return underWay(gw, "few") == 0 })
		}
		ctx := t.Context()

		resp := askFor(t, ctx, client, gw, "/stream", 200)
		refused := askFor(t, ctx, client, gw, "/other", 503)
		if refused.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", refused.Header.Get("Retry-After"))
		}
		refused.Body.Close()
		askFor(t, ctx, client, gw, "/free", 204).Body.Close()
		release <- struct{}{}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "begun and over" {
			t.Fatalf("got %q, %v", b, err)
		}
		resp.Body.Close()
		free("a stream")

		for range 3 {
			leaving, cancel := context.WithCancel(ctx)
			resp = askFor(t, leaving, client, gw, "/events", 200)
			cancel() // the client goes away
			resp.Body.Close()
			free("a client that left")
		}
		resp = askFor(t, ctx, client, gw, "/breaks", 200)
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a response that broke off looks whole")
		}
		resp.Body.Close()
		free("an origin that broke off")
		askFor(t, ctx, client, gw, "/fails", 502).Body.Close()
		free("an origin that failed")
		askFor(t, ctx, client, gw, "/denied", 403).Body.Close()
		free("a later policy's refusal")
		askFor(t, ctx, client, gw, "/other", 200).Body.Close()
		free("all")
	}
	t.Run("h1", func(t *testing.T) {
		tr := &http.Transport{DisableCompression: true}
		t.Cleanup(tr.CloseIdleConnections)
		f(t, tr)
	})
	t.Run("h2", func(t *testing.T) { f(t, client2(t, false)) })
}

// TestConcurrencyOfTunnels: a tunnel has its slot until it ends.
func TestConcurrencyOfTunnels(t *testing.T) {
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
policies: { few: { concurrency: { max: 1, status: 429 } } }
routes: { all: { match: "/**", use: [few], to: origin } }
`, RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		if _, err := ws.Upgrade(c); err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, c) // until the client goes
	})))
	for range 3 {
		c := gw.dialIn(t, 20*time.Second)
		c.upgrade(t)
		other := gw.dialIn(t, 20*time.Second)
		other.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
		other.response(t, "GET", 429)
		if underWay(gw, "few") != 1 {
			t.Error("an open tunnel has no slot")
		}
		c.Close()
		eventually(t, "the tunnel to give its slot back", func() bool { return underWay(gw, "few") == 0 })
	}
}

// TestConcurrencyAfterPanic: a bug costs no slot.
func TestConcurrencyAfterPanic(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(before)
	gw := Start(t, "routes: { a: { match: /a, respond: { status: 204 } } }")
	slots, err := limit.NewSlots(limit.SlotOptions{
		Name: "few", Ceilings: []limit.Ceiling{{Text: "1", Max: 1}}, Keys: 1, Allowed: observe.NewCounter(), Refused: observe.NewCounter(),
	})
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := router.ParsePattern("/panics")
	if err != nil {
		t.Fatal(err)
	}
	snapshot := *gw.Snapshot()
	route := &proxy.Route{Name: "panics", Pattern: pattern, Errors: snapshot.Fallback.Errors}
	guard, err := slots.Guard(route)
	if err != nil {
		t.Fatal(err)
	}
	route.Chain = proxy.NewChain(proxy.Link{Name: "few", Policy: proxy.Guarded("few", guard, proxy.Enforce, nil)}, proxy.Link{Name: "panics", Policy: panicking{}})
	table, problems := router.New([]router.Route[*proxy.Route]{{Name: route.Name, Pattern: pattern, Value: route}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	snapshot.Table = table
	gw.Server.Publish(&snapshot)
	c := gw.dialIn(t, 20*time.Second)
	for range 5 {
		c.Send("GET /panics HTTP/1.1\r\nHost: a\r\n\r\n")
		resp := c.response(t, "GET", 500)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	eventually(t, "the slot to be given back", func() bool { return slots.Counts().Live == 0 })
}

type panicking struct{}

func (panicking) Serve(*proxy.Exchange, *proxy.Chain) error { panic("a bug") }

// TestLimitsOutliveReload: a reload gives nobody new tokens, unless it changes the policy.
func TestLimitsOutliveReload(t *testing.T) {
	const yaml = `
policies:
  daily: { rate_limit: { allow: %s per ip } }
routes:
  a: { match: /a, use: [daily], respond: { status: 204 } }
  b: { match: /b, use: [{ rate_limit: { allow: 1/d } }], respond: { status: 204 } }
`
	gw := Start(t, fmt.Sprintf(yaml, "1/d"))
	c := gw.dialIn(t, 20*time.Second)
	f := func(path string, status int) {
		t.Helper()
		c.Send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		resp := c.response(t, "GET", status)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	f("/a", 204)
	f("/a", 429)
	f("/b", 204)
	f("/b", 429)
	gw.Reload(fmt.Sprintf(yaml, "1/d") + "  c: { match: /c, use: [daily], respond: { status: 204 } }\n")
	f("/a", 429)
	f("/b", 429)
	f("/c", 429) // another route of the same policy
	gw.Reload(fmt.Sprintf(yaml, "2/d burst 1"))
	f("/a", 204)
	f("/a", 429)
	f("/b", 429)
	if err := gw.Runtime.ResetLimit("daily", "", []string{"127.0.0.1"}); err != nil {
		t.Error(err)
	}
	f("/a", 204)
	for _, l := range gw.Runtime.Limits() {
		// The first began anew with its definition, the second is what it was from the beginning.
		if want := map[string]string{"daily": "2 1", "routes.b.use[0]": "1 3"}[l.Name]; want != fmt.Sprint(l.Allowed, l.Refused) {
			t.Errorf("%s: %d allowed, %d refused, want %s", l.Name, l.Allowed, l.Refused, want)
		}
	}
	if err := gw.Runtime.ResetLimit("routes.b.use[0]", gw.Runtime.Limits()[1].Keys[0].ID, nil); err != nil {
		t.Error(err)
	}
	f("/b", 204)
}

// TestLimitsOutlivePolicy: requests that began under a policy end under it, when its memory is nobody else's any more: a slot is given
// back, and the cost of a response is taken.
func TestLimitsOutlivePolicy(t *testing.T) {
	release := make(chan struct{})
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Cost", "3")
		if r.URL.Path == "/late" { // the head is
			<-release
		}
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/long" { // the body is
			<-release
		}
	})
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end) // the origin waits for its handlers
	const yaml = `
services: { origin: { to: ["http://%s"] } }
policies:
  few: { concurrency: { max: %d per ip } }
  units: { rate_limit: { allow: %d/d per ip, cost: { header: X-Cost } } }
routes:
  a: { match: "/**", use: [few, units], to: origin }
`
	gw := Start(t, fmt.Sprintf(yaml, origin, 10, 100))
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	long := askFor(t, t.Context(), tr, gw, "/long", 200)
	late := make(chan *http.Response, 1)
	go func() {
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", "http://"+gw.Addr+"/late", nil))
		if err != nil {
			t.Error(err)
		}
		late <- resp
	}()
	eventually(t, "both requests to be under way", func() bool { return gw.Runtime.Limits()[1].Allowed == 2 })
	for n := range 3 {
		gw.Reload(fmt.Sprintf(yaml, origin, 11+n, 101+n))
		runtime.GC() // the memory of tables that nobody has is given back
		runtime.GC()
	}
	if n := underWay(gw, "few"); n != 0 {
		t.Errorf("%d keys of the new policy have requests under way", n)
	}
	end()
	if b, err := io.ReadAll(long.Body); err != nil || string(b) != "begun" {
		t.Errorf("got %q, %v", b, err)
	}
	resp := <-late
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("RateLimit"); !strings.HasPrefix(got, `"units";r=94;`) {
		t.Errorf("RateLimit is %q, want 94 of 100 to be left: two responses have cost 3 each", got)
	}
}

// TestLimitReported: what report mode would refuse is in the metrics, by route and policy.
func TestLimitReported(t *testing.T) {
	gw := Start(t, `
policies: { daily: { rate_limit: { allow: 2/d, mode: report } } }
routes: { a: { match: /a, use: [daily], respond: { status: 204 } } }
`)
	c := gw.dialIn(t, 20*time.Second)
	for range 5 {
		c.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
		c.response(t, "GET", 204)
	}
	eventually(t, "three reports", func() bool { return gw.series(`sluice_guard_reports_total{route="a",policy="daily"}`) == 3 })
}

// TestLimitTogether has many clients of one address at a limit: they get what one may, over whichever version of HTTP.
func TestLimitTogether(t *testing.T) {
	gw := Start(t, listen2(`
policies: { daily: { rate_limit: { allow: 100/d per ip } } }
routes: { a: { match: /a, use: [daily], respond: { status: 204 } } }
`))
	h1 := &http.Transport{}
	defer h1.CloseIdleConnections()
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range 8 {
		client := http.RoundTripper(h1)
		if i%2 == 0 {
			client = client2(t, false)
		}
		all.Go(func() {
			for range 25 {
				req, err := http.NewRequest("GET", "http://"+gw.Addr+"/a", nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				mu.Lock()
				statuses[resp.StatusCode]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if statuses[204] != 100 || statuses[429] != 100 {
		t.Errorf("got %v", statuses)
	}
}

// TestSizeOfThoseWhoLeave: a client that leaves in the middle of a download has paid for what it got, and not for what it did not.
func TestSizeOfThoseWhoLeave(t *testing.T) {
	t.Parallel()
	const all, taken = 1_000_000, 200
	f := func(t *testing.T, client http.RoundTripper) {
		origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
			for piece := make([]byte, 1<<10); r.Context().Err() == nil; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		})
		gw := Start(t, listen2(fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
policies: { bytes: { rate_limit: { allow: %d/365d, cost: { size: 1KiB } } } }
routes:
  all: { match: /all, use: [bytes], to: origin }
  left: { match: /left, use: [bytes], respond: { status: 204 } }
`, origin, all)))
		asked := 0
		left := func() (n int) {
			resp := askFor(t, t.Context(), client, gw, "/left", 204)
			resp.Body.Close()
			if _, err := fmt.Sscanf(resp.Header.Get("RateLimit"), `"bytes";r=%d`, &n); err != nil {
				t.Fatal(resp.Header, err)
			}
			asked++
			return n + asked
		}
		if n := left(); n != all {
			t.Fatalf("%d are left of %d", n, all)
		}
		leaving, cancel := context.WithCancel(t.Context())
		resp := askFor(t, leaving, client, gw, "/all", 200)
		if _, err := io.ReadFull(resp.Body, make([]byte, taken<<10)); err != nil {
			t.Fatal(err)
		}
		cancel()
		resp.Body.Close()
		eventually(t, "the download to be paid", func() bool { return left() < all-1 })
		// What lies in the buffers of two sockets was not wanted any more, and was sent.
		if paid := all - 1 - left(); paid < taken || paid > taken+20<<10 {
			t.Errorf("%d KiB were taken, and %d paid", taken, paid)
		}
	}
	t.Run("h1", func(t *testing.T) {
		tr := &http.Transport{DisableCompression: true}
		t.Cleanup(tr.CloseIdleConnections)
		f(t, tr)
	})
	t.Run("h2", func(t *testing.T) { f(t, client2(t, false)) })
}

// TestSizeOfTunnels: what a client got through a WebSocket costs something, too, by a rate and by a quota, when that has ended.
func TestSizeOfTunnels(t *testing.T) {
	t.Parallel()
	const sent = 300 << 10
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		in := bufio.NewReader(c)
		if _, err := http.ReadRequest(in); err != nil {
			t.Error(err)
			return
		}
		_, _ = c.Write(append([]byte(switching), make([]byte, sent)...))
		_, _ = io.Copy(io.Discard, in) // until the client has left
	})
	gw := Start(t, fmt.Sprintf(`
state: %q
services: { origin: { to: ["http://%s"] } }
consumers: { all: { acme: { keys: [{ prefix: fo, hash: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" }] } } }
policies:
  key: { api_key: { query: key, consumers: all } }
  bytes: { rate_limit: { allow: 1000/365d, cost: { size: 1KiB } } }
  plan: { quota: { allow: 1000/month, cost: { size: 1KiB } } }
routes:
  ws: { match: /ws, use: [key, bytes, plan], to: origin }
`, t.TempDir(), origin))
	c := gw.dialIn(t, 20*time.Second)
	c.Send(strings.Replace(upgradeRequest, "/ws", "/ws?key=foo", 1))
	c.response(t, "GET", 101)
	if _, err := io.ReadFull(c.R, make([]byte, sent)); err != nil {
		t.Fatal(err)
	}
	used := func() int64 {
		usage, err := gw.Runtime.QuotaUsage("plan", []string{"all acme by api_key"})
		if err != nil || len(usage) != 1 {
			t.Fatalf("got %v, %v", usage, err)
		}
		return usage[0].Used
	}
	if n := used(); n != 1 {
		t.Errorf("%d are used before the end", n)
	}
	c.Close()
	eventually(t, "the quota to be used", func() bool { return used() > 1 })
	if n := used(); n != 1+sent>>10+1 { // the head is one more that was begun
		t.Errorf("%d are used", n)
	}
	another := gw.dialIn(t, 20*time.Second)
	another.Send(strings.Replace(upgradeRequest, "/ws", "/ws?key=foo", 1))
	resp := another.response(t, "GET", 101)
	if got := strings.Join(resp.Header.Values("RateLimit"), ", "); !strings.Contains(got, `"bytes";r=697;`) || !strings.Contains(got, `"plan";r=697;`) {
		t.Errorf("RateLimit is %q", got)
	}
}
