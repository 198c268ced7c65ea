package compile

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/proxy/limit"
)

const doors = `
listen:
  web: { address: "127.0.0.1:8080", limits: { new_connections: [50/s per ip, 1000/s], connections: 200 per ip/24/56, except: [10.0.0.0/8] } }
  tls: { address: "127.0.0.1:8443", tls: self-signed, limits: { handshakes: 20/s per ip } }
  open: { address: "127.0.0.1:8081" }
routes: { a: { match: /a, respond: { status: 204 } } }
`

// TestDoorAfterPolicy: a listener gets its limits in a reload that takes a policy of the same name away.
func TestDoorAfterPolicy(t *testing.T) {
	r := newRuntime(t)
	f := func(policy string, listener string) {
		t.Helper()
		p := mustCompile(t, r, "listen: { web: { address: \"127.0.0.1:8080\""+listener+" } }\npolicies: { "+policy+": { rate_limit: { allow: 2/h per ip } } }\n"+
			"routes: { a: { match: /a, use: ["+policy+"], respond: { status: 204 } } }\n")
		r.Commit(p)
		if got := p.Listeners[0].Door != nil; got != (listener != "") {
			t.Errorf("%s beside %q: there is a door: %v", policy, listener, got)
		}
		if got := len(r.Limits()); got != 1 && listener == "" || got != 2 && listener != "" {
			t.Errorf("%s beside %q: %d are listed", policy, listener, got)
		}
	}
	const limits = ", limits: { new_connections: 2/h per ip }"
	f("listen.web", "")
	f("fair", limits)
	f("listen.web", "")
	f("listen.other", limits)
}

func TestExplainDoors(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), doors)
	f := func(client string, want ...string) {
		t.Helper()
		e, err := p.Explain("GET", "/a", nil, nil, netip.MustParseAddr(client))
		if err != nil || !slices.Equal(e.Doors, want) {
			t.Errorf("%s: got %q, %v", client, e.Doors, err)
		}
	}
	f("192.0.2.7", "web: new_connections: 50/s per ip, counted as 192.0.2.7", "web: new_connections: 1000/s, counted with all others",
		"web: connections: 200 per ip/24/56 at the same time, counted as 192.0.2.0/24", "tls: handshakes: 20/s per ip, counted as 192.0.2.7")
	f("10.1.2.3", "tls: handshakes: 20/s per ip, counted as 10.1.2.3")
}

// TestDoorsKept: what a listener has counted is the same in the next configuration, where its limits are.
func TestDoorsKept(t *testing.T) {
	r := newRuntime(t)
	first := mustCompile(t, r, doors)
	r.Commit(first)
	f := func(yaml string, web, tls bool) {
		t.Helper()
		p := mustCompile(t, r, yaml)
		if got := p.Listeners[0].Door == first.Listeners[0].Door; got != web {
			t.Errorf("web is the same: %v, want %v", got, web)
		}
		if got := p.Listeners[1].Door == first.Listeners[1].Door; got != tls {
			t.Errorf("tls is the same: %v, want %v", got, tls)
		}
		r.Discard(p)
	}
	f(doors, true, true)
	f("\n"+doors, true, true)
	f(strings.Replace(doors, "50/s", "51/s", 1), false, true)
	f(strings.Replace(doors, "10.0.0.0/8", "10.0.0.0/9", 1), false, true)
	f(strings.Replace(doors, "20/s per ip", "20/s burst 40 per ip", 1), true, false)
	if first.Listeners[2].Door != nil {
		t.Error("a listener without limits has a door")
	}

	if _, ok := first.Listeners[0].Door.Enter(netip.MustParseAddr("192.0.2.7")); !ok {
		t.Error("a connection was refused")
	}
	names := []string{}
	r.Doors(func(listener string, _ [limit.DoorReasons]uint64, c limit.Counts) {
		names = append(names, listener)
		if listener == "web" && c.Live == 0 {
			t.Error("nothing is counted")
		}
	})
	if !slices.Equal(names, []string{"web", "tls"}) {
		t.Errorf("got %q", names)
	}
	r.LimitCounts(func(name string, _ limit.Counts, _, _ uint64) { t.Errorf("%s is no policy", name) })
	if err := r.ResetLimit("listen.web", "", []string{"192.0.2.7"}); err != nil {
		t.Error(err)
	}
	if err := r.ResetLimit("listen.web", "0-c62007f62ccb36ee", nil); !errors.Is(err, limit.ErrUnknownKey) {
		t.Errorf("reset of a key that nobody has: %v", err)
	}
}

// TestDoorsListed: the list of limits has those of listeners, with who is let in and refused, and such a key can be reset by its id.
func TestDoorsListed(t *testing.T) {
	r := newRuntime(t)
	p := mustCompile(t, r, strings.Replace(doors, "20/s", "20/d", 1))
	r.Commit(p)
	door, a := p.Listeners[1].Door, netip.MustParseAddr("192.0.2.7")
	for i := range 25 {
		if got := door.Handshake(a); got != (i < 20) {
			t.Errorf("handshake %d: %v", i, got)
		}
	}
	listed := func() LimitStatus {
		t.Helper()
		for _, s := range r.Limits() {
			if s.Name == "listen.tls" {
				return s
			}
		}
		t.Fatal("the listener is not listed")
		panic("")
	}
	s := listed()
	if s.Allowed != 20 || s.Refused != 5 || s.Kind != "connections" || len(s.Keys) != 1 {
		t.Fatalf("got %+v", s)
	}
	if k := s.Keys[0]; k.Key != "192.0.2.7" || k.Limit != "handshakes: 20/d per ip" || k.Refused != 5 || k.Left != 0 {
		t.Errorf("got %+v", k)
	}
	if err := r.ResetLimit("listen.tls", s.Keys[0].ID, nil); err != nil {
		t.Error(err)
	}
	if k := listed().Keys[0]; k.Left != 20 {
		t.Errorf("after a reset: %+v", k)
	}
	if !door.Handshake(a) {
		t.Error("a handshake was refused after a reset")
	}
}
