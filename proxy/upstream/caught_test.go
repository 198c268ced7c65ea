package upstream

import (
	"testing"

	"golang.org/x/net/http2"

	"sluice/proxy"
)

// wantBugs waits until so many bugs were counted since before, and checks that those were all.
func wantBugs(t *testing.T, before, want uint64) {
	t.Helper()
	eventually(t, "the bugs are counted", func() bool { return proxy.Panics.Load()-before >= want })
	if n := proxy.Panics.Load() - before; n != want {
		t.Errorf("%d bugs were counted, want %d", n, want)
	}
}

// served sends a request, for which nothing must be waited for longer than a test is patient.
func served(t *testing.T, s *Service, want string) {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		x := newExchange("GET", "/", "")
		defer end(x)
		defer func() {
			if recover() != nil {
				done <- "a panic"
			}
		}()
		got, err := serve(s, x)
		if err != nil {
			got = code(err)
		}
		done <- got
	}()
	if got := receive(t, "a request is served", done); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestH2Caught: a bug in the middle of what needs a connection's lock ends the connection, and keeps the lock from nobody. Who comes then gets
// another connection.
func TestH2Caught(t *testing.T) {
	f := func(name string, bugs uint64, plant func(c *h2conn), then func(o *h2origin)) {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			s := testService(t, nil, h2Origin(t, func(o *h2origin) {
				id, _ := o.request()
				o.answer(id, "fine")
				if o.n == 0 {
					<-goOn
					then(o)
				}
				o.rest()
			}))
			served(t, s, "200 fine")
			p := &s.endpointAt(0).h2.one
			p.mu.Lock()
			c := p.conns[0]
			p.mu.Unlock()
			before := proxy.Panics.Load()
			plant(c)
			close(goOn)
			eventually(t, "the connection has left the pool", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return c.away
			})
			wantBugs(t, before, bugs)
			if !c.mu.TryLock() {
				t.Fatal("the lock is held")
			}
			c.mu.Unlock()
			served(t, s, "200 fine")
		})
	}
	closed := make(chan struct{}) // nobody can be woken by it
	close(closed)
	broken := func(c *h2conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.streams[99] = &h2stream{heard: closed}
	}
	f("at the end", 1, broken, func(o *h2origin) { _ = o.Close() })
	f("GOAWAY", 1, broken, func(o *h2origin) { _ = o.WriteGoAway(1, http2.ErrCodeNo, nil) })
	f("SETTINGS", 1, func(c *h2conn) {
		c.pool.mu.Lock()
		defer c.pool.mu.Unlock()
		c.pool.waiting = append(c.pool.waiting, brokenTurn())
	}, func(o *h2origin) { _ = o.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 7}) })
}

// brokenTurn is of somebody who waits, and to whom nothing can be given.
func brokenTurn() chan h2turn {
	turn := make(chan h2turn)
	close(turn)
	return turn
}

// TestH2OpenCaught: a bug while a request is sent ends that one, and no other on its connection.
func TestH2OpenCaught(t *testing.T) {
	s := testService(t, nil, h2Origin(t, each(func(o *h2origin, id uint32) { o.answer(id, "fine") })))
	served(t, s, "200 fine")
	p := &s.endpointAt(0).h2.one
	p.mu.Lock()
	c := p.conns[0]
	p.mu.Unlock()
	c.mu.Lock()
	encoder := c.encoder
	c.encoder = nil
	c.mu.Unlock()
	served(t, s, "a panic") // which the edge catches
	c.mu.Lock()
	c.encoder = encoder
	c.mu.Unlock()
	served(t, s, "200 fine")
	if open, idle := s.endpointAt(0).h2.counts(); open != 1 || idle != 1 {
		t.Errorf("%d connections are open, %d of them idle", open, idle)
	}
}

// TestH2HandOutCaught: a bug after a connection was opened closes it, and another one is opened.
func TestH2HandOutCaught(t *testing.T) {
	s := testService(t, nil, h2Origin(t, each(func(o *h2origin, id uint32) { o.answer(id, "fine") })))
	p := &s.endpointAt(0).h2.one
	before := proxy.Panics.Load()
	p.mu.Lock()
	p.waiting = append(p.waiting, brokenTurn())
	p.dialMore()
	p.unlock()
	wantBugs(t, before, 1)
	eventually(t, "the connection has left the pool", func() bool {
		open, _ := p.counts()
		return open == 0
	})
	served(t, s, "200 fine")
	wantBugs(t, before, 1)
}

// TestExpireCaught: a bug over the idle connections of one endpoint keeps nobody from looking at the others.
func TestExpireCaught(t *testing.T) {
	s := bareService(RoundRobin, 1, 1)
	all := s.set.Load().endpoints
	all[0].pool.idle = []idleConn{{}} // without a connection
	before := proxy.Panics.Load()
	for _, e := range all {
		e.expire(0)
	}
	wantBugs(t, before, 1)
}
