package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// quotaConfig is a gateway with a quota, whose consumers have the keys foo and bar.
func quotaConfig(t *testing.T, state, quota string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	writeFile(t, file, `version: 1
listen: { web: { address: "127.0.0.1:0" } }
admin: { address: "127.0.0.1:0" }
state: `+state+`
consumers:
  partners:
    acme: { keys: [{ hash: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", prefix: fo }] }
    zeta: { keys: [{ hash: "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", prefix: ba }] }
policies:
  key: { api_key: { header: X-Api-Key, consumers: partners } }
  plan: { quota: `+quota+` }
routes:
  hello: { match: /hello, use: [key, plan], respond: { status: 204 } }
`)
	return file
}

// asking sends requests of a consumer, over connections of its own.
type asking struct{ http.Transport }

func (a *asking) get(p *process, key string) int {
	req, err := http.NewRequest("GET", "http://"+p.address("web")+"/hello", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", key)
	resp, err := a.RoundTrip(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // it is empty
	return resp.StatusCode
}

// TestQuotaKilled kills a gateway again and again while it serves: over all of its lives nobody gets more than the quota, and each
// death costs a consumer what is reserved at a time at most.
func TestQuotaKilled(t *testing.T) {
	t.Parallel()
	killAndCount(t, 20)
}

// TestSoakQuotaKilled is the same, 200 times.
func TestSoakQuotaKilled(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	killAndCount(t, 200)
}

func killAndCount(t *testing.T, kills int) {
	const reserve, clients = 10, 4
	quota := kills*reserve*4 + 100
	share := quota / 2 / kills // of each life
	state := t.TempDir()
	file := quotaConfig(t, state, fmt.Sprintf("{ allow: %d/month, reserve: %d }", quota, reserve))
	given := map[string]*atomic.Int64{"foo": new(atomic.Int64), "bar": new(atomic.Int64)}
	unheard := 0
	life := func(most int, end func(p *process)) {
		p := launch(t, "run", "-c", file)
		p.address("web")
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				key := []string{"foo", "bar"}[i%2]
				a := new(asking)
				defer a.CloseIdleConnections()
				for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
					switch status := a.get(p, key); status {
					case 204:
						if given[key].Add(1); most > 0 && given[key].Load() >= int64(most) {
							return
						}
					case 503:
						time.Sleep(time.Millisecond)
					case 429, 0:
						return
					default:
						t.Errorf("got %d", status)
						return
					}
				}
			})
		}
		defer wg.Wait()
		end(p)
	}
	for i := range kills {
		life((i+1)*share, func(p *process) {
			eventually(t, "some use", func() bool { return given["foo"].Load() > int64(i*share+rand.N(share)) })
			time.Sleep(rand.N(5 * time.Millisecond))
			p.signal(syscall.SIGKILL)
			p.exit()
		})
		unheard += clients // whose answers may have been lost
	}
	life(0, func(p *process) {
		eventually(t, "the quotas to be used up", func() bool {
			status, metrics := get("http://" + p.address("admin") + "/metrics")
			return status == 200 && strings.Contains(metrics, `sluice_requests_refused_total{route="hello",code="quota_exceeded"} 4`)
		})
	})
	for key, n := range given {
		least := int64(quota - kills*reserve - unheard)
		if n.Load() > int64(quota) || n.Load() < least {
			t.Errorf("%s was given %d of %d, after %d deaths that cost %d each at most (%d requests may not have been heard of)", key, n.Load(), quota, kills, reserve, unheard)
		}
	}
}

// TestQuotaFull: on a disk that is full what is reserved is used up, and then requests are refused with 503, until there is room. A second
// gateway with the same folder says why it is closed.
func TestQuotaFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a file system can only be mounted by root")
	}
	state := t.TempDir()
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	file := quotaConfig(t, state, "{ allow: 100/month, reserve: 10 }")
	p := launch(t, "run", "-c", file)
	a := new(asking)
	defer a.CloseIdleConnections()
	refused := 0 // also before the file is there
	eventually(t, "an answer", func() bool {
		status := a.get(p, "foo")
		if status == 503 {
			refused++
		}
		return status == 204
	})
	full := filepath.Join(state, "full")
	if err := os.WriteFile(full, make([]byte, 600<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	given := 1
	eventually(t, "a refusal", func() bool {
		switch status := a.get(p, "foo"); status {
		case 204:
			given++
		case 503:
			refused++
			return true
		default:
			t.Fatalf("got %d", status)
		}
		return false
	})
	if given > 30 {
		t.Errorf("%d were given without a file", given)
	}
	admin := "http://" + p.address("admin")
	eventually(t, "/readyz to say why", func() bool { // the refused request may not have waited until the write failed
		status, body := get(admin + "/readyz")
		return status == 503 && strings.Contains(body, "no space left on device")
	})
	if _, body := get(admin + "/metrics"); !strings.Contains(body, "\nsluice_quota_store_up 0\n") || !strings.Contains(body, fmt.Sprintf("\nsluice_quota_unavailable_total{policy=\"plan\"} %d\n", refused)) {
		t.Error("the metrics do not say it")
	}

	second := launch(t, "run", "-c", file)
	eventually(t, "the second one to say why", func() bool {
		status, body := get("http://" + second.address("admin") + "/readyz")
		return status == 503 && strings.Contains(body, "another gateway has it open")
	})
	if status := a.get(second, "foo"); status != 503 {
		t.Errorf("the second one answers %d", status)
	}
	second.signal(syscall.SIGKILL)
	second.exit()

	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of the quota", func() bool {
		switch a.get(p, "foo") {
		case 204:
			given++
		case 429:
			return true
		}
		return false
	})
	if given != 100 {
		t.Errorf("%d were given of 100", given)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestQuotaDamaged: a file that makes no sense closes the routes and nothing else, until it is moved away; a stop in good order costs
// nothing.
func TestQuotaDamaged(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	file := quotaConfig(t, state, "{ allow: 20/month }")
	book := filepath.Join(state, "quotas.db")
	writeFile(t, book, strings.Repeat("this is no database\n", 2000))
	a := new(asking)
	defer a.CloseIdleConnections()

	p := launch(t, "run", "-c", file)
	eventually(t, "a complaint", func() bool {
		status, body := get("http://" + p.address("admin") + "/readyz")
		return status == 503 && strings.Contains(body, "move it away to begin anew")
	})
	if status := a.get(p, "foo"); status != 503 {
		t.Errorf("got %d", status)
	}
	if err := os.Rename(book, book+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer", func() bool { return a.get(p, "foo") == 204 })
	ask := func() (status int) {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if status = a.get(p, "foo"); status != 503 { // the file may be slower than we
				break
			}
		}
		return status
	}
	for range 6 {
		if status := ask(); status != 204 {
			t.Errorf("got %d", status)
		}
	}
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	p = launch(t, "run", "-c", file)
	for range 13 {
		if status := ask(); status != 204 {
			t.Errorf("got %d", status)
		}
	}
	if status := ask(); status != 429 {
		t.Errorf("the 21st of 20 got %d", status)
	}
}
