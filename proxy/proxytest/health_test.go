package proxytest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy/upstream"
)

// patient is an origin that may be ill: then its checks fail, and requests are counted that should not have come.
type patient struct {
	*httptest.Server
	ill      atomic.Bool
	checks   atomic.Int64
	requests atomic.Int64
}

func newPatient(t *testing.T) *patient {
	p := &patient{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			p.requests.Add(1)
			return
		}
		p.checks.Add(1)
		if p.ill.Load() {
			w.WriteHeader(500)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (g *Gateway) endpointStatus(service string, i int) upstream.EndpointStatus {
	for _, s := range g.Runtime.Services() {
		if s.Name == service && i < len(s.Endpoints) {
			return s.Endpoints[i]
		}
	}
	return upstream.EndpointStatus{}
}

// TestHealth_reload: what is known of an endpoint outlives reloads that leave its service as it is; one that is new, or whose checks are,
// gets requests until a check says otherwise.
func TestHealth_reload(t *testing.T) {
	well, ill := newPatient(t), newPatient(t)
	ill.ill.Store(true)
	yaml := func(every, more string) string {
		return fmt.Sprintf(`
services:
  both: { to: ["%s", "%s"], health: { get: /healthz, every: %s } }
  unused: { to: "%s", health: GET /healthz }
routes:
  a: { match: "/**", to: both }
  %s
`, well.URL, ill.URL, every, ill.URL, more)
	}
	gw := Start(t, yaml("100ms", ""))
	become := func(state string) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for gw.endpointStatus("both", 1).Health != state {
			if time.Now().After(deadline) {
				t.Fatalf("the endpoint is %+v, want it %s", gw.endpointStatus("both", 1), state)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	// get sends requests; they are answered, whoever is ill.
	get := func(n int) (toIll int64) {
		t.Helper()
		before := ill.requests.Load()
		for range n {
			resp, err := http.Get("http://" + gw.Addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("the answer is %d", resp.StatusCode)
			}
		}
		return ill.requests.Load() - before
	}
	become("unhealthy")
	deadline := time.Now().Add(20 * time.Second)
	for get(4) != 0 {
		if time.Now().After(deadline) {
			t.Fatal("an unhealthy endpoint gets requests")
		}
	}
	gw.Reload(yaml("100ms", "b: { match: /b, respond: {} }"))
	if st := gw.endpointStatus("both", 1); st.Health != "unhealthy" || get(10) != 0 {
		t.Errorf("after a reload the endpoint is %+v", st)
	}
	// Checks of another kind begin anew: nothing is lost meanwhile, and they find out the same.
	gw.Reload(yaml("1h", "b: { match: /b, respond: {} }"))
	if n := get(10); n == 0 && gw.endpointStatus("both", 1).Health == "unchecked" {
		t.Error("an endpoint that was not checked yet gets no requests")
	}
	become("unhealthy")
	gw.Reload(yaml("100ms", ""))
	ill.ill.Store(false)
	become("healthy")
	if st := gw.endpointStatus("unused", 0); st.Health != "" {
		t.Errorf("the service that no route uses is checked: %+v", st)
	}
	// A service that is gone is not checked any more.
	gw.Reload(`
routes: { a: { match: "/**", respond: {} } }
`)
	checks := ill.checks.Load() + 1 // one may have been on its way
	for deadline := time.Now().Add(500 * time.Millisecond); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if n := ill.checks.Load(); n > checks {
			t.Fatalf("%d checks more after the service is gone", n-checks)
		}
	}
}
