package server

import "time"

// FinishBeginning ends the only connection of QUIC, as one is ended that was idle, while it begins the request that ask sends: what begins a
// request is kept waiting for the server's books meanwhile.
func (s *Server) FinishBeginning(ask func()) {
	var c *h3
	s.eachQUIC(func(e edge) { c = e.(*h3) })
	c.mu.Lock()
	before := c.nextID
	c.idleFrom = 0
	c.mu.Unlock()
	s.mu.Lock()
	ask()
	// inside reports whether nobody can look at the connection now, for a while; else f is to look.
	inside := func(f func() bool) bool {
		for range 50 {
			if c.mu.TryLock() {
				defer c.mu.Unlock()
				return f()
			}
			time.Sleep(time.Millisecond)
		}
		return true
	}
	for !inside(func() bool { return c.nextID > before }) {
		time.Sleep(time.Millisecond)
	}
	finished := make(chan struct{})
	go func() {
		c.finish()
		close(finished)
	}()
	for !inside(func() bool { return c.over }) {
		time.Sleep(time.Millisecond)
	}
	s.mu.Unlock()
	<-finished
}
