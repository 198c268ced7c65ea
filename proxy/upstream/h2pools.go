package upstream

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// h2pools are the pools of an endpoint of HTTP/2: one, or one for each PROXY header, since streams of one client do not go over
// another's connection. MaxConns and MaxIdle bound the connections of all pools together.
//
// Lock order: h2pools before h2pool. A pool that holds its own lock must not ask the others, so each pool adds its counts to the sums
// here, which are atomic.
type h2pools struct {
	endpoint *endpoint
	one      h2pool // of connections without a header, for which there are no sums

	open, idle atomic.Int64 // connections with a header: those that there are or that are being opened, and those without a stream

	mu      sync.Mutex
	headers map[string]*h2pool
	retired bool
}

// h2told is what a pool has added to the sums. Under its lock.
type h2told struct{ open, idle int }

func (s *h2pools) init(e *endpoint) {
	s.endpoint, s.one.endpoint = e, e
}

// take returns the pool for a header, until give is called.
func (s *h2pools) take(header string) *h2pool {
	if header == "" {
		return &s.one
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.headers[header]
	if p == nil {
		p = &h2pool{endpoint: s.endpoint, pools: s, header: header, retired: s.retired}
		if s.headers == nil {
			s.headers = make(map[string]*h2pool)
		}
		s.headers[header] = p
	}
	p.users++
	return p
}

func (s *h2pools) give(p *h2pool) {
	if p == &s.one {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.users--
	s.forget(p)
}

// forget drops a pool that has no connection, and that nobody is about to ask for one. The lock is held.
func (s *h2pools) forget(p *h2pool) {
	if open, _ := p.counts(); open == 0 && p.users == 0 {
		delete(s.headers, p.header)
	}
}

// place reports whether a pool may open one more connection, which then counts. The pool's lock is held.
func (s *h2pools) place(p *h2pool) bool {
	limit := int64(s.endpoint.options.MaxConns)
	for {
		n := s.open.Load()
		if limit > 0 && n >= limit {
			return false
		}
		if s.open.CompareAndSwap(n, n+1) {
			p.told.open++
			return true
		}
	}
}

// hear brings the sums up to date with a pool, whose lock is held.
func (s *h2pools) hear(p *h2pool) {
	now := h2told{open: len(p.conns) + p.dialing, idle: p.idle()}
	if now != p.told {
		s.open.Add(int64(now.open - p.told.open))
		s.idle.Add(int64(now.idle - p.told.idle))
		p.told = now
	}
}

// makeRoom closes connections of whatever clients, those that have been idle for the longest first, until a pool could open what it is
// short of. If none is idle those who wait for the pool go on with what connections it has, and are refused if it has none.
func (s *h2pools) makeRoom(p *h2pool) {
	for s.closeOldest(0) {
		p.mu.Lock()
		short := p.dialMore()
		p.unlock()
		if !short {
			return
		}
	}
	p.mu.Lock()
	defer p.unlock()
	p.dialMore() // a place may have become free meanwhile
	if len(p.conns)+p.dialing == 0 {
		p.refuse(errBusy)
	}
}

// trim closes the connections that are idle beyond MaxIdle. Those that have been so for the longest go: their clients are less
// likely to come back.
func (s *h2pools) trim() {
	for s.idle.Load() > int64(s.endpoint.options.MaxIdle) && s.closeOldest(s.endpoint.options.MaxIdle) {
	}
}

// closeOldest closes the connection that has been idle for the longest if more are idle than are to be kept.
func (s *h2pools) closeOldest(keep int) bool {
	c := s.takeOldest(keep)
	if c == nil {
		return false
	}
	c.fail(errUnused)
	return true
}

func (s *h2pools) takeOldest(keep int) *h2conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.idle.Load() > int64(keep) {
		since := int64(math.MaxInt64)
		var oldest *h2pool
		for _, p := range s.headers {
			if at := p.idleSince(); at < since {
				since, oldest = at, p
			}
		}
		if oldest == nil {
			return nil
		}
		found := false
		taken := oldest.takeIdle(func(c *h2conn) bool {
			first := !found && c.idleSince <= since
			found = found || first
			return first
		})
		if len(taken) > 0 {
			s.forget(oldest)
			return taken[0]
		}
		// It was taken for a request at this moment.
	}
	return nil
}

// all lists the pools.
func (s *h2pools) all() []*h2pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Collect(maps.Values(s.headers)), &s.one)
}

// expire closes connections that idled too long, and forgets the pools that have none left.
func (s *h2pools) expire(now int64) {
	for _, p := range s.all() {
		p.expire(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.headers {
		s.forget(p)
	}
}

func (s *h2pools) retire() {
	s.mu.Lock()
	s.retired = true
	s.mu.Unlock()
	for _, p := range s.all() {
		p.retire()
	}
}

func (s *h2pools) counts() (open, idle int) {
	open, idle = s.one.counts()
	return open + int(s.open.Load()), idle + int(s.idle.Load())
}
