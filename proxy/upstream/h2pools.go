package upstream

import (
	"maps"
	"math"
	"slices"
	"sync"
)

// h2pools are the pools of an endpoint of HTTP/2: one, or one for each PROXY header, since streams of one client do not go over
// another's connection.
type h2pools struct {
	endpoint *endpoint
	one      h2pool // of connections without a header

	mu      sync.Mutex
	headers map[string]*h2pool
	retired bool
}

func (s *h2pools) init(e *endpoint) {
	s.endpoint, s.one.endpoint = e, e
}

// take returns the pool for a header, until give is called. If there are as many connections as there may be, the one that has been
// idle for the longest makes room.
func (s *h2pools) take(header string) (*h2pool, error) {
	if header == "" {
		return &s.one, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.headers[header]
	if p == nil {
		if limit := s.endpoint.options.MaxConns; limit > 0 && s.open() >= limit && !s.makeRoom() {
			return nil, errBusy
		}
		p = &h2pool{endpoint: s.endpoint, header: header, retired: s.retired}
		if s.headers == nil {
			s.headers = make(map[string]*h2pool)
		}
		s.headers[header] = p
	}
	p.users++
	return p, nil
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

// open is how many connections there are, or are about to be. The lock is held.
func (s *h2pools) open() int {
	sum := 0
	for _, p := range s.headers {
		open, _ := p.counts()
		sum += max(open, min(p.users, 1))
	}
	return sum
}

// makeRoom closes the connection that has been idle for the longest, if any is. The lock is held.
func (s *h2pools) makeRoom() bool {
	since := int64(math.MaxInt64)
	var oldest *h2pool
	for _, p := range s.headers {
		if at := p.idleSince(); at < since {
			since, oldest = at, p
		}
	}
	if oldest == nil {
		return false
	}
	closed := oldest.closeIdle(func(c *h2conn) bool { return c.idleSince <= since })
	s.forget(oldest)
	return closed > 0
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
	for _, p := range s.all() {
		o, i := p.counts()
		open, idle = open+o, idle+i
	}
	return open, idle
}
