package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/proxy/proxytest"
)

// refused wants a connection to be answered with 503 and closed.
func (s *stage) refused(c *proxytest.Client) {
	s.t.Helper()
	s.bound(c)
	resp := s.head(c, 503)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var problem struct{ Type string }
	if err := json.Unmarshal(body, &problem); err != nil || problem.Type != "urn:sluice:problem:too_many_connections" {
		s.t.Fatalf("got %s, %v", body, err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" || !resp.Close || resp.Header.Get("Retry-After") == "" {
		s.t.Fatalf("got head %v, close: %v", resp.Header, resp.Close)
	}
	s.ended(c)
}

// works has a request answered on each connection.
func (s *stage) works(list ...*proxytest.Client) {
	s.t.Helper()
	for _, c := range list {
		s.bound(c)
		c.Send(fmt.Sprintf(get, "/"))
		s.expect(s.began, "/")
		s.read(c, 200, "hello", false)
	}
}

func TestLimits_connections(t *testing.T) {
	s := newStage(t, "limits: { connections: 3 }\n")
	a, b, c := s.used(), s.used(), s.DialFrom("127.0.0.2")
	s.works(c)
	for range 3 {
		s.refused(s.dial())
		s.refused(s.DialFrom("127.0.0.3"))
	}
	s.works(a, b, c)
	if n := s.Server.Counts(); n.Open != 3 || n.Refused != 6 || n.Accepted != 9 {
		t.Fatalf("got %+v", n)
	}
	b.Close()
	s.open(2)
	d := s.DialFrom("127.0.0.3")
	s.works(a, c, d)
	s.refused(s.dial())
	s.works(a, c, d)
}

// TestLimits_refusedInTheMiddle: the answer gets through to a client that has sent its request already, although the
// gateway closes without having read it, which resets the connection.
func TestLimits_refusedInTheMiddle(t *testing.T) {
	s := newStage(t, "limits: { connections: 1 }\n")
	s.used()
	for range 100 {
		c := s.dial()
		_, _ = fmt.Fprintf(c, get, "/") // fails if the gateway was faster
		resp := s.head(c, 503)
		if body, err := io.ReadAll(resp.Body); err != nil || !json.Valid(body) {
			t.Fatalf("got %q, %v", body, err)
		}
	}
	select {
	case path := <-s.began:
		t.Fatalf("%s of a refused connection was served", path)
	default:
	}
}

func TestLimits_perClient(t *testing.T) {
	s := newStage(t, "limits: { per_client: 2 }\n")
	a, b := s.used(), s.used()
	other := s.DialFrom("127.0.0.2")
	s.works(other)
	s.refused(s.dial())
	s.works(a, b, other, s.DialFrom("127.0.0.2"))
	s.refused(s.DialFrom("127.0.0.2"))
	a.Close()
	s.open(3)
	s.works(b, s.dial(), other)
	s.refused(s.dial())
}

// TestLimits_trusted: a balancer brings everybody's connections, so that only the limit in all holds for it.
func TestLimits_trusted(t *testing.T) {
	s := newStage(t, "limits: { per_client: 2, connections: 6 }\nlisten: { web: { address: \"127.0.0.1:8080\", trust: [127.0.0.1/32] } }\n")
	var list []*proxytest.Client
	for range 4 {
		list = append(list, s.used())
	}
	list = append(list, s.DialFrom("127.0.0.2"), s.DialFrom("127.0.0.2"))
	s.works(list...)
	s.refused(s.dial())
	list[0].Close()
	s.open(5)
	s.refused(s.DialFrom("127.0.0.2"))
	s.works(append(list[1:], s.dial())...)
}

// TestLimits_reload: new limits hold for new connections, and those that are there stay.
func TestLimits_reload(t *testing.T) {
	const routes = "routes:\n  all: { match: \"/**\", respond: { status: 200, text: hello } }\n"
	s := &stage{t: t, began: make(chan string, 10)}
	s.Gateway = proxytest.Start(t, routes+"limits: { connections: 1 }\n")
	ask := func(list ...*proxytest.Client) {
		t.Helper()
		for _, c := range list {
			s.bound(c)
			c.Send(fmt.Sprintf(get, "/"))
			s.read(c, 200, "hello", false)
		}
	}
	a := s.dial()
	ask(a)
	s.refused(s.dial())
	s.Reload(routes + "limits: { connections: 2 }\n")
	b := s.dial()
	ask(a, b)
	s.refused(s.dial())
	s.Reload(routes + "limits: { connections: 1 }\n")
	ask(a, b)
	s.refused(s.dial())
	// A connection that idled meanwhile is held to the limits that its next request finds.
	s.Reload(routes + "limits: { uri_bytes: 64B }\n")
	a.Send(fmt.Sprintf(get, "/"+strings.Repeat("x", 64)))
	s.head(a, 414)
}

// TestLimits_requestsPerConnection: the last response says so, and nothing behind it is served.
func TestLimits_requestsPerConnection(t *testing.T) {
	t.Parallel() // it waits most of the time
	f := func(limit string, lasts bool) {
		t.Helper()
		s := newStage(t, "limits: { requests_per_connection: "+limit+" }\n")
		c := s.dial()
		const requests = 4
		c.Send(strings.Repeat(fmt.Sprintf(get, "/"), requests)) // all at once
		for n := 1; n <= requests; n++ {
			last := !lasts && n == 3
			s.expect(s.began, "/")
			s.read(c, 200, "hello", last)
			if last {
				break
			}
		}
		select {
		case path := <-s.began:
			t.Fatalf("%s was served on a connection that had had its share", path)
		default:
		}
		if !lasts {
			s.open(0)
			s.used()
		}
	}
	f("3", false)
	f("5", true)
	f("off", true)
}
