package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// h2pool shares a few HTTP/2 connections to one endpoint among many exchanges. The oldest connection with room is taken first, so
// that the surplus of a busy hour falls idle. A connection is opened when all are full, up to Options.MaxConns; requests wait
// for it, and those who come then wait in a queue, first come first served. Where connections begin with a PROXY header there are
// many pools, and h2pools says what there may be in all.
type h2pool struct {
	endpoint *endpoint
	pools    *h2pools // that share what there may be with it; nil: its connections begin without a header, and it is the only one
	header   string   // of PROXY, which its connections begin with
	users    int      // that have it and may be about to ask; under the lock of h2pools

	mu      sync.Mutex // given back by unlock
	conns   []*h2conn  // that take streams, the oldest first
	dialing int
	expects int // streams that a connection under way is expected to take: as many as the last one
	waiting []chan h2turn
	retired bool
	told    h2told
}

// h2turn is what a waiting request gets: a place on a connection, or why there is none.
type h2turn struct {
	conn *h2conn
	err  error
}

const (
	// h2StreamsMax is how many streams a connection takes, however many the origin would: up to h2StreamWindow bytes of a response may
	// wait for its reader on each. Beyond it another connection is opened.
	h2StreamsMax = 250
	// h2TriesMax bounds how often one endpoint is asked while it says that it has processed nothing, or connections end.
	h2TriesMax = 3
)

var (
	errNoH2      = errors.New("the origin does not offer HTTP/2 (ALPN h2)")
	errNoStreams = errors.New("the origin allows for no streams")
	errNotTaken  = &proxy.Error{
		Status: 502, Code: "upstream_refused", Detail: "The origin did not process the request.", Side: proxy.ByUpstream,
	}
	errReset = &proxy.Error{
		Status: 502, Code: "upstream_reset", Detail: "The origin reset the request before its answer was complete.", Side: proxy.ByUpstream,
	}
)

// serveH2 is serve for an endpoint of HTTP/2. It asks again where that is safe: when the origin says, by REFUSED_STREAM or by a
// GOAWAY with a lower stream, that it has processed nothing (RFC 9113 section 8.7), and once when a connection that had
// been used before ends without an answer to an idempotent request. Either needs a body that lies in memory.
func (e *endpoint) serveH2(x *proxy.Exchange, header string) error {
	p := e.h2.take(header)
	defer e.h2.give(p)
	e.inFlight.Add(1)
	e.requests.Add(1)
	stale := false
	for try := 1; ; try++ {
		x.Attempts++
		x.UpstreamAt = wire.Now()
		c, err := p.get(x)
		if err == nil {
			if err = beginCall(x); err != nil {
				p.release(c)
			}
		}
		if err != nil {
			e.inFlight.Add(-1)
			return err
		}
		x.Asked = true
		st := newH2Stream(c, x)
		if err = st.roundTrip(); err == nil {
			return nil // in flight until the response is closed
		}
		again := st.unprocessed || st.stale() && !stale && idempotent(x.Request.Method)
		again = again && !st.flowed && x.Request.Body.Rewind() && x.Canceled() == nil
		if again && try < h2TriesMax && !expired(x) {
			stale = stale || !st.unprocessed
			continue
		}
		e.inFlight.Add(-1)
		if again && st.unprocessed {
			unsent := *proxy.AsError(err)
			unsent.Unsent = true // the origin has processed nothing: another endpoint may be tried
			return &unsent
		}
		return err
	}
}

// get returns a connection on which a place is reserved, which release gives back.
func (p *h2pool) get(x *proxy.Exchange) (*h2conn, error) {
	p.mu.Lock()
	if len(p.waiting) == 0 {
		if c := p.room(); c != nil {
			c.taken++
			p.unlock()
			return c, nil
		}
	}
	turn := make(chan h2turn, 1)
	p.waiting = append(p.waiting, turn)
	if short := p.dialMore(); short {
		p.unlock()
		p.pools.makeRoom(p)
		p.mu.Lock()
	}
	limit := p.endpoint.options.Wait
	if p.dialing > 0 {
		limit += p.endpoint.options.Connect
	}
	p.unlock()
	if x.Deadline != 0 {
		limit = min(limit, time.Duration(x.Deadline-wire.Now()))
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	var err error
	select {
	case got := <-turn:
		return got.conn, got.err
	case <-t.C:
		err = errBusy
		if expired(x) {
			err = timeout(x)
		}
	case <-x.Done():
		err = x.Canceled()
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.unlock()
		return nil, err
	}
	p.unlock()
	if got := <-turn; got.conn != nil { // the turn came at the same moment: pass it on
		p.release(got.conn)
	}
	return nil, err
}

// room returns the oldest connection with room for a stream, or nil. The lock is held.
func (p *h2pool) room() *h2conn {
	for _, c := range p.conns {
		if c.taken < c.most {
			return c
		}
	}
	return nil
}

// dialMore opens as many connections as those who wait need and the limit allows for. short: MaxConns is reached by connections of other
// pools; the caller must call makeRoom. The lock is held.
func (p *h2pool) dialMore() (short bool) {
	if p.expects == 0 {
		p.expects = h2StreamsMax
	}
	for len(p.waiting) > p.dialing*p.expects {
		if !p.place() {
			return p.pools != nil
		}
		p.dialing++
		go p.dial()
	}
	return false
}

// place reports whether there may be one more connection. The lock is held.
func (p *h2pool) place() bool {
	if p.pools != nil {
		return p.pools.place(p)
	}
	limit := p.endpoint.options.MaxConns
	return limit == 0 || len(p.conns)+p.dialing < limit
}

// refuse gives those who wait an error. The lock is held.
func (p *h2pool) refuse(err error) {
	for _, turn := range p.waiting {
		turn <- h2turn{err: err}
	}
	p.waiting = nil
}

// unlock gives the lock back, after the pools were told what has changed.
func (p *h2pool) unlock() {
	defer p.mu.Unlock()
	if p.pools != nil {
		p.pools.hear(p)
	}
}

// handOut gives those who wait the places that there are. The lock is held.
func (p *h2pool) handOut() {
	for len(p.waiting) > 0 {
		c := p.room()
		if c == nil {
			return
		}
		c.taken++
		turn := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		turn <- h2turn{conn: c}
	}
}

// dial opens a connection for the requests that wait. It belongs to none of them: when one is canceled, the others still get the connection.
func (p *h2pool) dial() {
	defer caught()
	c, err := p.endpoint.dialH2(p)
	if err != nil {
		p.dialFailed(err)
		return
	}
	defer func() { go c.read() }() // last: what it finds closed is in the pool by then
	defer c.caught()
	switch short, unwanted := p.add(c); {
	case unwanted:
		p.leave(c)
	case short:
		p.pools.makeRoom(p)
	case p.pools != nil:
		p.pools.trim() // the request that it was opened for may be canceled
	}
}

func (p *h2pool) dialFailed(err error) {
	p.mu.Lock()
	defer p.unlock()
	p.dialing--
	if p.dialing == 0 && len(p.conns) == 0 {
		p.refuse(err)
	}
}

// add takes a new connection into the pool. short: the caller must call makeRoom; unwanted: nobody needs it.
func (p *h2pool) add(c *h2conn) (short, unwanted bool) {
	p.mu.Lock()
	defer p.unlock()
	p.dialing--
	p.expects = c.most
	p.conns = append(p.conns, c)
	p.handOut()
	short = p.dialMore()
	return short, p.retired && c.taken == 0
}

// dialH2 opens a connection and waits until the origin has said how many streams it takes, which also shows that it speaks HTTP/2
// at all. The time allowed is Connect.
func (e *endpoint) dialH2(p *h2pool) (_ *h2conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), e.options.Connect)
	defer cancel()
	var nc net.Conn
	defer func() {
		if caught := recover(); caught != nil {
			proxy.Caught(caught)
			if nc != nil {
				_ = nc.Close() // nobody has it as yet
			}
			err = proxy.ErrInternal
		}
	}()
	nc, err = e.connect(ctx, p.header)
	if err == nil {
		if t, ok := nc.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol != "h2" {
			err = errNoH2
		} else {
			var c *h2conn
			if c, err = greetH2(p, nc, time.Now().Add(e.options.Connect)); err == nil {
				e.reached()
				return c, nil
			}
		}
		_ = nc.Close() // what went wrong before is what counts
	}
	e.failed(err)
	return nil, errConnect.With(err)
}

// setMost takes what an origin says about how many streams it takes.
func (p *h2pool) setMost(c *h2conn, most int) {
	p.mu.Lock()
	defer p.unlock()
	c.most = most
	p.handOut()
}

// release gives a place back. A connection that nobody needs any more is closed.
func (p *h2pool) release(c *h2conn) {
	p.mu.Lock()
	c.taken--
	c.idleSince = wire.Now()
	p.handOut()
	surplus := c.taken == 0 && (c.away || p.retired || p.pools == nil && p.idle() > p.endpoint.options.MaxIdle)
	p.unlock()
	switch {
	case surplus:
		p.leave(c)
	case p.pools != nil:
		p.pools.trim()
	}
}

// idle is how many connections have no stream. The lock is held.
func (p *h2pool) idle() int {
	n := 0
	for _, c := range p.conns {
		if c.taken == 0 {
			n++
		}
	}
	return n
}

// leave takes c out of the pool: it takes no more streams, and is closed when those that it has are over.
func (p *h2pool) leave(c *h2conn) {
	short, unused := p.drop(c)
	if unused {
		c.fail(errUnused)
	}
	if short {
		p.pools.makeRoom(p)
	}
}

// drop is what of leave needs the lock. short: the caller must call makeRoom; unused: c has no stream.
func (p *h2pool) drop(c *h2conn) (short, unused bool) {
	p.mu.Lock()
	defer p.unlock()
	c.away = true
	p.conns = slices.DeleteFunc(p.conns, func(o *h2conn) bool { return o == c })
	if p.pools != nil {
		p.pools.hear(p) // its place is free
	}
	return p.dialMore(), c.taken == 0
}

var errUnused = errors.New("the connection is not needed any more")

// expire closes connections that idled too long. One that the origin has closed is noticed by its reader.
func (p *h2pool) expire(now int64) {
	p.closeIdle(func(c *h2conn) bool { return c.idleSince <= now-int64(p.endpoint.options.IdleFor) })
}

// retire closes what is idle, and from now on every connection after its last stream.
func (p *h2pool) retire() {
	p.mu.Lock()
	p.retired = true
	p.unlock()
	p.closeIdle(func(*h2conn) bool { return true })
}

// idleSince is when the connection fell idle that has been so for the longest; math.MaxInt64 if none is.
func (p *h2pool) idleSince() int64 {
	p.mu.Lock()
	defer p.unlock()
	since := int64(math.MaxInt64)
	for _, c := range p.conns {
		if c.taken == 0 {
			since = min(since, c.idleSince)
		}
	}
	return since
}

// closeIdle closes those of the idle connections that which picks.
func (p *h2pool) closeIdle(which func(c *h2conn) bool) {
	for _, c := range p.takeIdle(which) {
		c.fail(errUnused)
	}
}

// takeIdle takes those of the idle connections that which picks out of the pool. They are to be closed, by fail.
func (p *h2pool) takeIdle(which func(c *h2conn) bool) (taken []*h2conn) {
	p.mu.Lock()
	defer p.unlock()
	p.conns = slices.DeleteFunc(p.conns, func(c *h2conn) bool {
		if c.taken > 0 || !which(c) {
			return false
		}
		c.away = true
		taken = append(taken, c)
		return true
	})
	return taken
}

func (p *h2pool) counts() (open, idle int) {
	p.mu.Lock()
	defer p.unlock()
	return len(p.conns) + p.dialing, p.idle()
}
