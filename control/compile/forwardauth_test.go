package compile

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/proxy"
	"sluice/router"
)

// serveOnce runs a request through a plan's route.
func serveOnce(t *testing.T, p *Plan, path string, fields ...[2]string) (status int, err error) {
	t.Helper()
	x := proxy.Acquire()
	defer func() {
		x.Wait()
		x.Finish()
		x.Release()
	}()
	if err := fillExplained(x, "GET", path, fields, netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	x.Edge, x.Snapshot, x.MatchedPath = proxy.Nobody{}, p.Snapshot, x.Request.Path
	x.Lookup = router.Request{Method: []byte("GET"), Host: []byte("a"), Path: x.Request.Path, Values: x}
	route, _ := p.Snapshot.Table.Lookup(&x.Lookup, &x.Match)
	x.Route = route
	err = route.Chain.Serve(x)
	return x.Response.Status, err
}

// TestDecisionsOutlive: what was decided outlives a reload for as long as the policy and the service that it asks stay what they are.
func TestDecisionsOutlive(t *testing.T) {
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	defer service.Close()
	r := newRuntime(t)
	was := int64(0)
	f := func(policy, service string, again bool) {
		t.Helper()
		p := mustCompile(t, r, "services: { auth: { to: "+service+" } }\npolicies: { asked: { forward_auth: { service: auth, "+policy+" } } }\n"+
			"routes: { a: { match: /a, use: [asked], respond: { status: 204 } }, b: { match: /b, use: [asked], respond: { status: 204 } } }\n")
		r.Commit(p)
		for range 2 {
			if status, err := serveOnce(t, p, "/a"); err != nil || status != 204 {
				t.Errorf("%s: %d, %v", policy, status, err)
			}
		}
		if got := asked.Load() - was; got != map[bool]int64{true: 1}[again] {
			t.Errorf("%s: asked %d times", policy, got)
		}
		was = asked.Load()
	}
	f("remember: 10m", service.URL, true)
	f("remember: 10m", service.URL, false)
	f("remember: 11m", service.URL, true)
	f("remember: 11m, path: /verify", service.URL, true)
	f("remember: 11m, path: /verify", service.URL, false)
	f("remember: 11m, path: /verify", service.URL+"/base", true)
	f("remember: 10m", service.URL, true)
	if list := r.DecisionPolicies(); len(list) != 1 || list[0].Name != "asked" || list[0].Remembered != 1 || list[0].Admitted != 1 {
		t.Errorf("the status is %+v", list)
	}
	p := mustCompile(t, r, "routes: { a: { match: /a, respond: { status: 204 } } }\n")
	r.Commit(p)
	if list := r.DecisionPolicies(); len(list) != 0 {
		t.Errorf("a policy that is gone is %+v", list)
	}
}

// TestForwardAuthDown: a service that is down closes its routes, and is told of, without what clients have shown.
func TestForwardAuthDown(t *testing.T) {
	r := newRuntime(t)
	p := mustCompile(t, r, "services: { auth: { to: http://127.0.0.1:1 } }\nroutes: { a: { match: /a, use: [{ forward_auth: { service: auth } }], respond: { status: 204 } } }\n")
	r.Commit(p)
	for range 3 {
		if why := r.Unready(); why != "" {
			t.Errorf("too early: %s", why)
		}
		_, err := serveOnce(t, p, "/a", [2]string{"Authorization", "planted-secret"})
		if e := proxy.AsError(err); e.Status != 503 || e.Code != "auth_unavailable" || strings.Contains(fmt.Sprint(err), "planted") {
			t.Errorf("got %v", err)
		}
	}
	eventually(t, "that to be said", func() bool { return r.Unready() != "" })
	if why := r.Unready(); !strings.Contains(why, "the service auth, which the policy forward_auth asks, does not decide") || strings.Contains(why, "planted") {
		t.Errorf("unready is %q", why)
	}
}

// TestForwardAuthTried: a service that is down while a policy is tried out closes nothing, until the policy is enforced.
func TestForwardAuthTried(t *testing.T) {
	r := newRuntime(t)
	commit := func(mode string) *Plan {
		p := mustCompile(t, r, "services: { auth: { to: http://127.0.0.1:1 } }\nroutes: { a: { match: /a, use: [{ forward_auth: { service: auth, mode: "+mode+" } }], respond: { status: 204 } } }\n")
		r.Commit(p)
		return p
	}
	p := commit("report")
	for range 3 {
		if status, err := serveOnce(t, p, "/a"); status != 204 || err != nil {
			t.Errorf("got %d, %v", status, err)
		}
	}
	eventually(t, "the service to be found down", func() bool { return lastingAll[*decisions](r)[0].Unready() != "" })
	if why := r.Unready(); why != "" {
		t.Errorf("unready is %q", why)
	}
	commit("enforce")
	if why := r.Unready(); !strings.Contains(why, "the service auth") {
		t.Errorf("unready is %q", why)
	}
}

// TestForwardAuthOrder: it guards, and says who a client is where it says that it does.
func TestForwardAuthOrder(t *testing.T) {
	f := func(use, want string) {
		t.Helper()
		c := parse(t, "services: { auth: { to: http://127.0.0.1:1 } }\npolicies: { asked: { forward_auth: { service: auth } }, named: { forward_auth: { service: auth, identity: X-User } } }\n"+
			"routes: { r: { match: /r, use: "+use+", respond: {} } }\n")
		r := New(Options{Dry: true})
		plan, problems := r.Compile(c)
		got := ""
		for _, p := range problems {
			got += p.Message
		}
		if plan != nil {
			got += strings.Join(append(plan.caching[plan.Snapshot.Fallback], fmt.Sprint(plan.caching)), " ")
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
	f("[{ cache: {} }, asked]", "the policy forward_auth stands behind cache")
	f("[asked, { rate_limit: { allow: 1/s per consumer } }]", "no policy before it finds out who that is")
	f("[named, { rate_limit: { allow: 1/s per consumer } }]", "map[]")
	f("[named, { cache: {} }]", "each client has a copy of its own")
	f("[asked, { cache: {} }]", "whoever shows and wants the same before the service that decides has one copy")
}

// TestForwardAuthExplained: nobody is asked, which is said.
func TestForwardAuthExplained(t *testing.T) {
	r := New(Options{Dry: true})
	p := mustCompile(t, r, "services: { auth: { to: http://127.0.0.1:1 }, origin: { to: http://127.0.0.1:1 } }\n"+
		"policies: { asked: { forward_auth: { service: auth, path: /verify, cookies: [session], forward: [X-User], remember: 30s } } }\n"+
		"routes: { a: { match: /a, use: [asked], to: origin } }\n")
	e, err := p.Explain("GET", "/a", [][2]string{{"Authorization", "planted-secret"}, {"X-User", "admin"}}, nil, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "That is if the service admits it that is asked before: nobody is asked here."; !strings.HasSuffix(e.Outcome, want) || e.Service != "origin" {
		t.Errorf("the outcome is %q of %q", e.Outcome, e.Service)
	}
	p2 := mustCompile(t, r, "services: { auth: { to: http://127.0.0.1:1 } }\npolicies: { asked: { forward_auth: { service: auth, identity: X-User } } }\n"+
		"routes: { a: { match: /a, use: [asked, { authorize: { when: consumer.name == 'anne' } }], respond: {} } }\n")
	if e, err := p2.Explain("GET", "/a", nil, nil, netip.MustParseAddr("192.0.2.1")); err != nil || !strings.HasSuffix(e.Outcome, "what it would say of the client is missing.") {
		t.Errorf("%v, %v", e, err)
	}
	if got, want := fmt.Sprint(e.Asks), "[asked: GET /verify of the service auth, with Authorization, the cookie session; what admits is remembered for 30s, what refuses for 5s]"; got != want {
		t.Errorf("it asks %s", got)
	}
	if shown := fmt.Sprint(e); strings.Contains(shown, "planted") || strings.Contains(shown, "admin") {
		t.Errorf("it shows %s", shown)
	}
}
