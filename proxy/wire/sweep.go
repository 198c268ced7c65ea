package wire

import (
	"sync"
	"sync/atomic"
	"time"
)

// Sweeper ends waits that last too long. It looks at every connection given to it once per tick; arming a
// deadline is then a store into memory where a timer would cost a lock and a heap operation per request.
// All methods are safe for concurrent use.
type Sweeper struct {
	tick  time.Duration
	now   atomic.Int64
	mu    sync.Mutex
	lists [2][]*Conn // the ordinary ones, and those that are parked
	stop  chan struct{}
	done  chan struct{}
}

// Tick is how late a deadline may be noticed.
const Tick = 50 * time.Millisecond

// parkedTicks is how many ticks pass until a parked connection is looked at: there may be many, and what ends for them are
// minutes.
const parkedTicks = int(time.Second / Tick)

// resetEvery is how often the kernel is asked about a peer of whom nothing is read: twice per second, so that
// a reset is noticed within one.
const resetEvery = 500 * time.Millisecond

// NewSweeper starts a sweeper. Stop ends it.
func NewSweeper() *Sweeper {
	s := &Sweeper{tick: Tick, stop: make(chan struct{}), done: make(chan struct{})}
	s.now.Store(Now())
	go s.run()
	return s
}

// Stop ends the sweeper's goroutine and waits for it. Deadlines are no longer kept afterwards.
func (s *Sweeper) Stop() {
	close(s.stop)
	<-s.done
}

// Now is the time of the last tick: older than wire.Now by a tick or, on a busy host, more, and free of charge.
func (s *Sweeper) Now() int64 { return s.now.Load() }

// Add puts a connection under the sweeper's eyes.
func (s *Sweeper) Add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.sweeper = s
	s.add(c, 0)
}

func (s *Sweeper) add(c *Conn, list int) {
	c.list, c.slot = list, len(s.lists[list])
	s.lists[list] = append(s.lists[list], c)
}

// Remove forgets a connection; it must be called before or soon after it is closed.
func (s *Sweeper) Remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c)
}

// remove reports whether it was there.
func (s *Sweeper) remove(c *Conn) bool {
	i := c.slot
	if i < 0 {
		return false
	}
	conns := s.lists[c.list]
	last := len(conns) - 1
	conns[i] = conns[last]
	conns[i].slot = i
	conns[last] = nil
	s.lists[c.list] = conns[:last]
	c.slot = -1
	return true
}

// setParked tells how often it needs to be looked at.
func (c *Conn) setParked(parked bool) {
	s := c.sweeper
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remove(c) {
		list := 0
		if parked {
			list = 1
		}
		s.add(c, list)
	}
}

// Each runs f on every connection.
func (s *Sweeper) Each(f func(*Conn)) {
	s.mu.Lock()
	conns := append(append([]*Conn(nil), s.lists[0]...), s.lists[1]...)
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

func (s *Sweeper) run() {
	defer close(s.done)
	t := time.NewTicker(s.tick)
	defer t.Stop()
	for ticks := 1; ; ticks++ {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		now := Now()
		s.now.Store(now)
		s.sweep(0, now)
		if ticks%parkedTicks == 0 {
			s.sweep(1, now)
		}
	}
}

func (s *Sweeper) sweep(list int, now int64) {
	// The lock is given up between batches: accepting a connection must not wait for the sweep. A connection that moves in
	// between is seen one tick later.
	var batch [256]*Conn
	for from := 0; ; from += len(batch) {
		s.mu.Lock()
		n := 0
		if conns := s.lists[list]; from < len(conns) {
			n = copy(batch[:], conns[from:])
		}
		s.mu.Unlock()
		if n == 0 {
			return
		}
		sweepAll(batch[:n], now)
	}
}

// sweepAll looks at connections. A panic over one of them is a bug, and keeps nobody from looking at the others.
func sweepAll(conns []*Conn, now int64) {
	i := 0
	defer func() {
		if p := recover(); p != nil {
			OnPanic(p)
			sweepAll(conns[i+1:], now)
		}
	}()
	for ; i < len(conns); i++ {
		conns[i].sweep(now)
	}
}

// OnPanic is told of each panic that a Sweeper or a Parking has caught, by any goroutine. Package proxy counts them.
var OnPanic = func(p any) { panic(p) }

func (c *Conn) sweep(now int64) {
	c.verify()
	if d := c.armed.Load(); d > 0 && now >= d && c.armed.CompareAndSwap(d, -int64(Expired)) {
		c.unblock()
		return
	}
	if d := c.armedWrite.Load(); d > 0 && now >= d {
		end := c.writeEnd.Load()
		if again, ok := c.takes(); ok && (end == 0 || now < end) {
			next := now + again
			if end != 0 {
				next = min(next, end)
			}
			c.armedWrite.CompareAndSwap(d, next)
		} else if c.armedWrite.CompareAndSwap(d, -1) {
			c.Kick(Expired)
			return
		}
	}
	switch h := c.hangup.Load(); {
	case h > 0 && now >= h:
		if !c.ResetByPeer() {
			c.hangup.CompareAndSwap(h, now+int64(resetEvery))
		} else if c.hangup.CompareAndSwap(h, 0) {
			c.onReset()
		}
	case h < 0 && now >= -h:
		if !c.ended() {
			c.hangup.CompareAndSwap(h, -now-int64(resetEvery))
		} else if c.hangup.CompareAndSwap(h, 0) {
			c.Kick(HungUp)
		}
	}
}
