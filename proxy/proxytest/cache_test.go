package proxytest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// get asks for a path over a connection of its own and returns status, head and body. err is what broke the body.
func (g *Gateway) get(path string, fields ...string) (*http.Response, []byte, error) {
	g.t.Helper()
	req, err := http.NewRequest("GET", "http://"+g.Addr+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	resp, err := plain.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

var plain = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	Timeout:   time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// noise is n bytes of which no two parts look alike.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

const cached = `
services: { origin: { to: ["http://%s"] } }
limits: { per_client: off }
routes:
  a: { match: "/**", use: [{ cache: { wait: 30s } }], to: origin }
`

// TestCacheCollapses: many clients that want the same at once cost the origin one request.
func TestCacheCollapses(t *testing.T) {
	f := func(name string, clients int, body []byte, sized bool) {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			begun, all := make(chan bool), make(chan bool)
			origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					close(begun)
				}
				<-all
				w.Header().Set("Cache-Control", "max-age=60")
				if sized {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				for rest := body; len(rest) > 0; {
					n := min(len(rest), 10_000)
					w.Write(rest[:n])
					rest = rest[n:]
				}
			})
			want := sha256.Sum256(body)
			gw := Start(t, fmt.Sprintf(cached, origin))
			conns := make([]*Client, clients)
			for i := range conns {
				conns[i] = gw.Dial()
			}
			for _, c := range conns {
				c.Send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			}
			<-begun
			// What is sent lies with the gateway by now, or will: whoever comes later finds the answer in the store.
			close(all)
			var wg sync.WaitGroup
			for _, c := range conns {
				wg.Add(1)
				go func() {
					defer wg.Done()
					c.SetDeadline(time.Now().Add(time.Minute))
					resp, err := http.ReadResponse(c.R, nil)
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					if err != nil || resp.StatusCode != 200 || sha256.Sum256(got) != want {
						t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(got), err)
					}
				}()
			}
			wg.Wait()
			if n := asked.Load(); n != 1 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
	f("small", 1000, []byte("hello"), true)
	f("unsized", 100, []byte("hello"), false)
	f("large", 100, noise(1<<20), true)
	f("large unsized", 100, noise(1<<20), false)
	f("empty", 100, nil, true)
}

// TestCacheCollapsesTenThousand: ten thousand misses on one key are one request to the origin. They come over HTTP/2, because a
// connection for each takes two files of this process.
func TestCacheCollapsesTenThousand(t *testing.T) {
	const streams = 100 // on each connection
	clients := 10_000
	if underRace {
		clients = 1_000
	}
	var asked atomic.Int32
	all := make(chan bool)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			return
		}
		asked.Add(1)
		<-all
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "hello")
	})
	gw := Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:8080", http: [h1, h2] } }
`+cached, origin))
	var all10k sync.WaitGroup
	for range clients / streams {
		transport := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1}
		transport.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(transport.CloseIdleConnections)
		c := &http.Client{Transport: transport, Timeout: time.Minute}
		resp, err := c.Get("http://" + gw.Addr + "/first") // so that there is a connection
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for range streams {
			all10k.Go(func() {
				resp, err := c.Get("http://" + gw.Addr + "/x")
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "hello" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
	waitFor(t, func() bool { return gw.Runtime.Cache().Waiting.Load() == int64(clients-1) })
	close(all)
	all10k.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// TestCacheLeaderLeaves: a client whose request went to the origin may leave: the others get the whole answer, and it is kept.
func TestCacheLeaderLeaves(t *testing.T) {
	body := noise(300_000)
	var asked atomic.Int32
	half, rest := make(chan bool), make(chan bool)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:100_000])
		w.(http.Flusher).Flush()
		close(half)
		<-rest
		w.Write(body[100_000:])
	})
	gw := Start(t, fmt.Sprintf(cached, origin))
	leader := gw.Dial()
	leader.Send("GET /x HTTP/1.1\r\nHost: " + gw.Addr + "\r\n\r\n")
	<-half
	results := make(chan error, 20)
	for range cap(results) {
		go func() {
			_, got, err := gw.get("/x")
			if err == nil && !bytes.Equal(got, body) {
				err = fmt.Errorf("%d bytes", len(got))
			}
			results <- err
		}()
	}
	leader.SetLinger(0)
	leader.Close()
	time.Sleep(50 * time.Millisecond) // whether its leaving is noticed before or after the rest comes, all must hold
	close(rest)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, got, err := gw.get("/x"); err != nil || !bytes.Equal(got, body) {
		t.Error(len(got), err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// TestCacheLeaderGivesUp: a client that leaves before the answer has begun, and that nobody follows, costs the origin nothing more.
func TestCacheLeaderGivesUp(t *testing.T) {
	begun, gone := make(chan bool, 2), make(chan bool, 2)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
		gone <- true
	})
	gw := Start(t, fmt.Sprintf(cached, origin))
	leader := gw.Dial()
	leader.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	leader.SetLinger(0)
	leader.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the origin goes on working for nobody")
	}
}

// TestCacheOriginBreaks: when the origin breaks off, nobody takes what there is for the whole, and nothing of it is kept.
func TestCacheOriginBreaks(t *testing.T) {
	const size = 200_000
	f := func(name, head string, chunk bool) {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			goOn := make(chan bool)
			origin := RawOrigin(t, func(c *net.TCPConn) {
				buf := make([]byte, 4096)
				if _, err := c.Read(buf); err != nil {
					return
				}
				asked.Add(1)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n%s\r\n\r\n", head)
				if chunk {
					fmt.Fprintf(c, "%x\r\n", size)
				}
				c.Write(noise(size)[:size/2])
				<-goOn
				c.SetLinger(0)
			})
			gw := Start(t, fmt.Sprintf(cached, origin))
			results := make(chan error, 20)
			for range cap(results) {
				go func() {
					resp, got, err := gw.get("/x")
					if err == nil && resp.StatusCode == 200 {
						err = fmt.Errorf("%d bytes were taken for the whole", len(got))
					} else {
						err = nil
					}
					results <- err
				}()
			}
			time.Sleep(100 * time.Millisecond) // some are there, some may come later: all must hold
			close(goOn)
			for range cap(results) {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			before := asked.Load()
			if resp, _, err := gw.get("/x"); err == nil && strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
				t.Error("half a body was kept")
			}
			if asked.Load() == before {
				t.Error("the origin was not asked again")
			}
		})
	}
	f("sized", fmt.Sprint("Content-Length: ", size), false)
	f("chunked", "Transfer-Encoding: chunked", true)
	// An origin that ends the body with the connection is believed, but what it says is not kept.
}

// TestCacheFails: when there is no answer all who wait learn so at once, and the origin is not asked by each of them.
func TestCacheFails(t *testing.T) {
	var asked atomic.Int32
	goOn := make(chan bool)
	origin := RawOrigin(t, func(c *net.TCPConn) {
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err != nil {
			return
		}
		asked.Add(1)
		<-goOn
	})
	gw := Start(t, fmt.Sprintf(cached, origin))
	const clients = 200
	conns := make([]*Client, clients)
	for i := range conns {
		conns[i] = gw.Dial()
		conns[i].Send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}
	waitFor(t, func() bool { return asked.Load() > 0 && gw.Runtime.Cache().Waiting.Load() == clients-1 })
	close(goOn)
	for _, c := range conns {
		c.SetDeadline(time.Now().Add(time.Minute))
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil || resp.StatusCode != 502 {
			t.Fatal(resp, err)
		}
	}
	if n := asked.Load(); n > clients/4 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// TestCachePrivate: answers that are one client's alone reach their clients, each its own, and the origin is not asked by
// all at once.
func TestCachePrivate(t *testing.T) {
	var now, most, total atomic.Int32
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		total.Add(1)
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		w.Header().Set("Cache-Control", "private")
		io.WriteString(w, r.Header.Get("X-Who"))
	})
	gw := Start(t, fmt.Sprintf(cached, origin))
	const clients = 100
	var wg sync.WaitGroup
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			who := fmt.Sprint(i)
			if resp, got, err := gw.get("/x", "X-Who", who); err != nil || string(got) != who {
				t.Error(resp, string(got), err)
			}
		}()
	}
	wg.Wait()
	if total.Load() != clients {
		t.Errorf("the origin was asked %d times by %d clients", total.Load(), clients)
	}
	if n := most.Load(); n >= clients {
		t.Errorf("all %d clients asked the origin at once", n)
	}
	// From now on it is known.
	begin := time.Now()
	for range 10 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			gw.get("/x", "X-Who", "a")
		}()
	}
	wg.Wait()
	t.Logf("%d at once at most; ten later ones took %v", most.Load(), time.Since(begin))
}

// TestCacheTooLarge: a body that turns out to be too large for the cache still reaches all who have begun to read it, without being
// kept.
func TestCacheTooLarge(t *testing.T) {
	body := noise(8 << 20)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.(http.Flusher).Flush()
		w.Write(body)
	})
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
routes:
  a: { match: "/**", use: [{ cache: { max_object: 100KiB } }], to: origin }
`, origin))
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			resp, got, err := gw.get("/x")
			if err != nil || !bytes.Equal(got, body) {
				t.Error(len(got), err)
			} else if strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
				t.Error("it was kept")
			}
		}()
	}
	wg.Wait()
}

// TestCacheRefreshCounts: what is asked in the background counts for the service, and not for the route.
func TestCacheRefreshCounts(t *testing.T) {
	t.Parallel()
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		w.Header().Set("ETag", `"1"`)
		io.WriteString(w, "hello")
	})
	gw := Start(t, fmt.Sprintf(cached, origin))
	for _, word := range []string{"fwd=uri-miss", "hit"} {
		resp, _, err := gw.get("/x")
		if err != nil || !strings.Contains(resp.Header.Get("Cache-Status"), word) {
			t.Fatal(resp, err)
		}
	}
	const asked = `sluice_upstream_requests_total{service="origin",class=%q}`
	// A client has its answer before the exchange is over.
	waitFor(t, func() bool {
		m := scrape(t, gw)
		return m[fmt.Sprintf(asked, "3xx")] == 1 && m[`sluice_requests_total{route="a",class="2xx"}`] >= 2
	})
	after := scrape(t, gw)
	after.want(t, fmt.Sprintf(asked, "2xx"), 1)
	after.want(t, `sluice_requests_total{route="a",class="2xx"}`, 2)
}

// waitFor waits for a condition that has to come.
func waitFor(t testing.TB, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}
