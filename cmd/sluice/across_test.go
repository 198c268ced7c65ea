package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/proxy/limit/redis/redistest"
)

// TestAcrossHosts: four gateways that share a limit let through together what one would, give or take 5 %. When the store is killed, each limits by
// itself and nobody waits; when it is there again, empty, they have one budget again.
func TestAcrossHosts(t *testing.T) {
	t.Parallel()
	across(t, time.Second, "killed")
}

// TestSoakAcrossHosts is the same for longer, and with a store that is slow, or does not answer at all.
func TestSoakAcrossHosts(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	across(t, 10*time.Second, "killed", "slow", "silent")
}

func across(t *testing.T, d time.Duration, ways ...string) {
	server := redistest.Start(t)
	const hosts, rate, burst = 4, 1000, 400
	var urls, admin [hosts]string
	for i := range hosts {
		config := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), fmt.Sprintf(`version: 1
listen: { web: { address: "127.0.0.1:0" } }
admin: { address: "127.0.0.1:0" }
stores: { redis: "redis://%s" }
policies:
  fair-use: { rate_limit: { allow: %d/s burst %d per header X-Api-Key, across: redis, if_store_down: local } }
  strict: { rate_limit: { allow: 1000/s, across: redis, if_store_down: deny } }
routes:
  hello: { match: /hello, use: [fair-use], respond: { status: 204 } }
  strict: { match: /strict, use: [strict], respond: { status: 204 } }
  free: { match: /free, respond: { status: 204 } }
`, server.Address(), rate, burst))
		p := launch(t, "run", "-c", config)
		urls[i], admin[i] = "http://"+p.address("web"), "http://"+p.address("admin")
	}
	up := func(want bool) {
		t.Helper()
		for _, a := range admin {
			eventually(t, fmt.Sprintf("the store is up: %v", want), func() bool {
				_, text := get(a + "/metrics")
				return strings.Contains(text, fmt.Sprintf("\nsluice_limit_store_up{store=\"redis\"} %v\n", number(want)))
			})
		}
	}
	up(true)
	one := &single{interval: time.Second / rate, burst: burst * time.Second / rate}
	steady := func(when string) {
		t.Helper()
		// On a machine that has no time for the test gateways are slow to hear of each other: that may spoil a while, but not all.
		for range 8 {
			o := offer(t, urls[:], 2*rate, d, one)
			if math.Abs(float64(o.admitted-o.one)) <= 0.05*float64(o.one) {
				return
			}
			t.Logf("%s: %d were let in, and one gateway would have let in %d", when, o.admitted, o.one)
		}
		t.Errorf("%s: four gateways do not let in what one would", when)
	}
	offer(t, urls[:], 4*rate, 200*time.Millisecond, one) // the burst goes,
	offer(t, urls[:], 2*rate, 500*time.Millisecond, one) // and what was too much of it is made up for
	steady("at first")

	for _, way := range ways {
		fails[way].begin(server)
		up(false)
		alone(t, way, urls[:], admin[0], one)
		fails[way].end(server)
		back := time.Now()
		up(true)
		if took := time.Since(back); took > 5*time.Second { // two are promised, and the machine may be busy
			t.Errorf("%s: the store was missed for %v", way, took)
		}
		if status, text := get(admin[0] + "/readyz"); status != 200 {
			t.Errorf("%s: /readyz says %d %q", way, status, text)
		}
		offer(t, urls[:], 2*rate, 500*time.Millisecond, one)
		steady("after it was " + way)
	}
}

// fails are the ways in which a store can fail.
var fails = map[string]struct{ begin, end func(*redistest.Server) }{
	"killed": {(*redistest.Server).Kill, (*redistest.Server).Revive},
	"slow":   {func(s *redistest.Server) { s.Delay(time.Second) }, func(s *redistest.Server) { s.Delay(0) }},
	"silent": {(*redistest.Server).Swallow, (*redistest.Server).Pass},
}

// alone tries what gateways do without the store, once they have noticed: each would let in twice as many as come.
func alone(t *testing.T, way string, urls []string, admin string, one *single) {
	t.Helper()
	if status, text := get(admin + "/readyz"); status != 503 || !strings.Contains(text, "no answer of the store redis") {
		t.Errorf("%s: /readyz says %d %q", way, status, text)
	}
	if status, text := get(urls[0] + "/strict"); status != 503 || !strings.Contains(text, "limit_unavailable") {
		t.Errorf("%s: a policy that fails closed answers %d %s", way, status, text)
	}
	if o := offer(t, urls, 2000, 300*time.Millisecond, one); o.admitted < o.sent*9/10 {
		t.Errorf("%s: each by itself has let in %d of %d", way, o.admitted, o.sent)
	}
}

// single is a limit as one gateway would apply it.
type single struct {
	interval, burst time.Duration

	mu   sync.Mutex
	full time.Time
}

func (s *single) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.full.Before(now) {
		s.full = now
	}
	if s.full.Sub(now)+s.interval > s.burst {
		return 0
	}
	s.full = s.full.Add(s.interval)
	return 1
}

// offered is what became of requests.
type offered struct{ sent, admitted, one, slow int }

// offer lets requests of one client come at about a rate, to all gateways in turn.
func offer(t *testing.T, urls []string, rate int, d time.Duration, one *single) offered {
	t.Helper()
	const workers = 8
	var all [workers]offered
	var wait sync.WaitGroup
	began := time.Now()
	for w := range workers {
		wait.Go(func() {
			o := &all[w]
			client := http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer client.CloseIdleConnections()
			for ; time.Since(began) < d; time.Sleep(time.Millisecond) {
				for ; time.Since(began) < d && o.sent < int(time.Since(began).Seconds()*float64(rate)/workers); o.sent++ {
					url := urls[(o.sent+w)%len(urls)]
					req, err := http.NewRequest(http.MethodGet, url+"/hello", nil)
					if err != nil {
						t.Error(err)
						return
					}
					req.Header.Set("X-Api-Key", "one")
					o.one += one.take()
					asked := time.Now()
					res, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					took := time.Since(asked)
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					switch {
					case err != nil:
						t.Error(err)
					case res.StatusCode == 204:
						o.admitted++
					case res.StatusCode != 429:
						t.Errorf("got %d", res.StatusCode)
					}
					// A machine that has no time for the test is as slow with a request that asks no store.
					if took > 200*time.Millisecond {
						asked := time.Now()
						if get(url + "/free"); time.Since(asked) < took/2 {
							o.slow++
						}
					}
				}
			}
		})
	}
	wait.Wait()
	sum := offered{}
	for _, o := range all {
		sum.sent += o.sent
		sum.admitted += o.admitted
		sum.one += o.one
		sum.slow += o.slow
	}
	if sum.slow > sum.sent/20+workers {
		t.Errorf("%d of %d requests were slow", sum.slow, sum.sent)
	}
	return sum
}
