package upstream

import (
	"slices"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// pool keeps an endpoint's connections. The one used last is used next, so that the surplus of a busy hour idles
// out. When the limit is reached, requests wait in a queue, first come first served.
//
// A connection that began with a PROXY header is used again only for requests whose header would be the same, byte for byte: it
// never carries what another client sends. Such a request may never come. So when the limit is reached, an idle connection of another
// client is closed to make room for a new one.
type pool struct {
	endpoint *endpoint

	mu      sync.Mutex
	idle    []idleConn // the longest idle first
	open    int        // idle, in use and being dialled
	waiting []chan *conn
	retired bool
}

// idleConn is a connection, with the hash of its PROXY header, 0 if it has none, so that those that do not fit are passed over without
// a look at them.
type idleConn struct {
	*conn
	mark uint64
}

func (p *pool) proxied() bool { return p.endpoint.options.Proxied != 0 }

func headerMark(header string) uint64 {
	if header == "" {
		return 0
	}
	return hashBytes(header)
}

// fit returns the place of the connection that was used last of those that may carry a request with this header; -1: there is
// none. The lock is held.
func (p *pool) fit(header string, mark uint64) int {
	if header == "" {
		return len(p.idle) - 1 // none of them has one
	}
	for i := len(p.idle) - 1; i >= 0; i-- {
		if c := &p.idle[i]; c.mark == mark && c.header == header {
			return i
		}
	}
	return -1
}

// probeAfter is from when on an idle connection is looked at before it is chosen: one system call then saves a dial.
const probeAfter = 250 * time.Millisecond

// get returns a connection for x, with this PROXY header: an idle one unless fresh is set, else a new one.
func (p *pool) get(x *proxy.Exchange, header string, fresh bool) (*conn, error) {
	mark := headerMark(header)
	for {
		p.mu.Lock()
		if i := p.fit(header, mark); i >= 0 && !fresh {
			c := p.idle[i].conn
			p.idle = slices.Delete(p.idle, i, i+1)
			p.mu.Unlock()
			if c.wantsLook(x) && c.Speaks() {
				p.discard(c)
				continue
			}
			c.waitedFor = false
			return c, nil
		}
		limit := p.endpoint.options.MaxConns
		if limit == 0 || p.open < limit {
			p.open++
			p.mu.Unlock()
			return p.dial(x, header)
		}
		if (fresh || p.proxied()) && len(p.idle) > 0 {
			// At the limit with idle connections that may be as stale as the one before, or that are another client's: make room.
			c := p.idle[0].conn
			p.idle = slices.Delete(p.idle, 0, 1)
			p.mu.Unlock()
			p.discard(c)
			continue
		}
		turn := make(chan *conn, 1)
		p.waiting = append(p.waiting, turn)
		p.mu.Unlock()
		c, err := p.wait(x, turn)
		if c != nil && c.wantsLook(x) && c.Speaks() {
			p.discard(c)
			continue
		}
		if c != nil || err != nil {
			return c, err
		}
		return p.dial(x, header) // the slot of a closed connection was handed over
	}
}

// wantsLook reports whether a pooled connection has to be checked here for a close, or bytes that nobody asked for. Converse checks as well,
// right before it writes, but not on every kind of connection, and it does not send a body that flows.
func (c *conn) wantsLook(x *proxy.Exchange) bool {
	return x.UpstreamAt-c.idleSince > int64(probeAfter) || x.Request.Body.Flowing() || !c.Probes()
}

// trustFor is how long after its use a connection is sent an idempotent request without being looked at, which saves a busy gateway
// a system call per request. If the origin has closed it in this time the request is sent again; bytes that nobody asked for
// may arrive unnoticed for that much longer. They may as well a moment after a look.
//
// It holds only after a response with a body of known length, after which no more bytes came. After a response that must not have a body,
// an origin that breaks the rules may still send one.
const trustFor = time.Millisecond

func (c *conn) trusted(x *proxy.Exchange) bool {
	unused := x.UpstreamAt - c.idleSince // negative if x has waited since before: nobody knows then
	return c.cleared && !c.waitedFor && 0 <= unused && unused < int64(trustFor) && idempotent(x.Request.Method)
}

func (p *pool) dial(x *proxy.Exchange, header string) (*conn, error) {
	c, err := p.endpoint.dial(x, header)
	if err != nil {
		p.slotFree()
	}
	return c, err
}

// wait returns a connection, or nil for the right to open one.
func (p *pool) wait(x *proxy.Exchange, turn chan *conn) (*conn, error) {
	limit := p.endpoint.options.Wait
	if x.Deadline != 0 {
		limit = min(limit, time.Duration(x.Deadline-wire.Now()))
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	var err error
	select {
	case c := <-turn:
		if c != nil {
			c.waitedFor = true
		}
		return c, nil
	case <-t.C:
		err = errBusy
		if expired(x) {
			err = timeout(x)
		}
	case <-x.Done():
		err = x.Canceled()
	}
	p.mu.Lock()
	for i, w := range p.waiting {
		if w == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			return nil, err
		}
	}
	p.mu.Unlock()
	// The turn came at the same moment: pass it on.
	if c := <-turn; c != nil {
		p.put(c)
	} else {
		p.slotFree()
	}
	return nil, err
}

// put takes back a connection that is ready for another request.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	switch {
	case p.retired:
	case len(p.waiting) > 0 && p.proxied():
		// Who waits is another client, most likely, and gets the place.
	case len(p.waiting) > 0:
		turn := p.waiting[0]
		p.waiting = append(p.waiting[:0], p.waiting[1:]...)
		p.mu.Unlock()
		turn <- c
		return
	case len(p.idle) < p.endpoint.options.MaxIdle:
		p.idle = append(p.idle, idleConn{c, headerMark(c.header)})
		p.mu.Unlock()
		return
	case len(p.idle) > 0 && p.proxied():
		oldest := p.idle[0].conn // its client is less likely to come back
		p.idle = append(slices.Delete(p.idle, 0, 1), idleConn{c, headerMark(c.header)})
		c = oldest
	}
	p.mu.Unlock()
	p.discard(c)
}

// discard closes a connection and gives its slot away.
func (p *pool) discard(c *conn) {
	c.close()
	p.slotFree()
}

func (p *pool) slotFree() {
	p.mu.Lock()
	if len(p.waiting) > 0 {
		turn := p.waiting[0]
		p.waiting = append(p.waiting[:0], p.waiting[1:]...)
		p.mu.Unlock()
		turn <- nil
		return
	}
	p.open--
	p.mu.Unlock()
}

// expireAtOnce is how many connections are out of the pool while expire looks at them.
const expireAtOnce = 32

// expire closes connections that idled too long or that the origin has closed. They are taken out for the look, some at a time from
// the end that is used last: nobody waits for system calls under the lock.
func (p *pool) expire(now int64) {
	oldest := now - int64(p.endpoint.options.IdleFor)
	_, left := p.counts()
	for kept := 0; left > 0; {
		p.mu.Lock()
		from := min(kept, len(p.idle))
		batch := slices.Clone(p.idle[from:min(from+expireAtOnce, len(p.idle))])
		p.idle = slices.Delete(p.idle, from, from+len(batch))
		p.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		left -= len(batch)
		good := batch[:0]
		for _, c := range batch {
			if c.idleSince <= oldest || c.Stale() {
				p.discard(c.conn)
			} else {
				good = append(good, c)
			}
		}
		p.mu.Lock()
		if p.retired || len(p.waiting) > 0 {
			p.mu.Unlock()
			for _, c := range good {
				p.put(c.conn)
			}
			continue
		}
		from = min(from, len(p.idle))
		p.idle = slices.Insert(p.idle, from, good...)
		kept = from + len(good)
		p.mu.Unlock()
	}
}

// retire closes what is idle, and from now on every connection after its exchange.
func (p *pool) retire() {
	p.mu.Lock()
	p.retired = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.discard(c.conn)
	}
}

func (p *pool) counts() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, len(p.idle)
}
