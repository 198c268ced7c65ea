package wire

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// hold is the state of Hold.
//
// What it saves: a system call and a reset of the poller per request. Between two callbacks of a RawConn a wake-up can be
// lost, so a read that follows the one that brought a request first has to ask the kernel, mostly in vain. Within one callback
// none is lost: after a read that did not use all its room the socket is empty, and whatever comes next wakes the goroutine,
// which may park on trust.
//
// When it must not be used: while anything but its own function reads from the connection (the callback holds the read lock
// of the descriptor), or closes it (Close waits for the callback). Kick, InterruptRead, the sweeper's questions and writes of
// any goroutine are fine.
//
// One thing is told only once and may be told too early: that the peer has closed, if that arrives together with the last
// bytes. So the sweeper asks the kernel about each connection that has been parked on trust for a whole tick, once.
type hold struct {
	reader  *Reader
	serve   func() bool
	step    func(fd uintptr) bool // bound once
	err     error
	fd      uintptr
	running bool // the callback runs: writes may use fd

	// trust is 0, or how many times the owner has parked on trust, times waits, plus onTrust, then nudged if the sweeper wakes it,
	// be it because of something that the owner was not told or, with unused, because nothing has come for long.
	trust  atomic.Uint64
	parked uint64     // the owner's count
	tired  bool       // the sweeper has found it unused for long
	seen   uint64     // what the sweeper saw a tick ago
	ticks  int32      // and for how many ticks it has
	nudge  sync.Mutex // held while a nudge's deadline is set and taken back
}

const (
	onTrust = 1
	nudged  = 2
	unused  = 4
	waits   = 8
)

// idleTicks is after how many ticks without a byte ErrIdle is returned.
const idleTicks = int32(5 * time.Second / Tick)

// ErrIdle is what Hold and FillOrIdle return when nothing has come for long: the connection is as good as before, and may be parked.
var ErrIdle = errors.New("idle for long")

// Holds reports whether Hold can be used: the connection is a socket, and nothing decrypts what it carries.
func (c *Conn) Holds() bool { return c.raw != nil }

// Hold waits for bytes, puts them into r and calls serve, again and again until serve returns false. serve returns true when it
// has consumed everything; it may write to the connection, not read from it. Hold returns nil after serve returned false,
// else why there were no more bytes, as Fill does.
func (c *Conn) Hold(r *Reader, serve func() bool) error {
	h := &c.holding
	h.reader, h.serve = r, serve
	defer c.endHold()
	for {
		h.err = nil
		err := c.raw.Read(h.step)
		if c.untrust() && err != nil && c.Kicked() == 0 && !c.stopped.Load() {
			continue // a nudge: look again
		}
		if err == nil {
			err = h.err
		}
		return c.cause(err)
	}
}

func (c *Conn) endHold() {
	h := &c.holding
	h.reader, h.serve, h.running = nil, nil, false
}

func (c *Conn) holdStep(fd uintptr) bool {
	c.untrust()
	h := &c.holding
	for {
		full, n, err := c.receive(fd, h.reader)
		if n == 0 {
			if h.err = err; err == nil && h.tired {
				h.err = ErrIdle
			}
			h.tired = false
			return h.err != nil || c.parkOnTrust()
		}
		h.tired = false
		h.fd, h.running = fd, true
		more := h.serve()
		h.running = false
		if !more {
			return true
		}
		if !full {
			return c.parkOnTrust()
		}
	}
}

// parkOnTrust returns false, for a callback that is to wait.
func (c *Conn) parkOnTrust() bool {
	h := &c.holding
	h.parked += waits
	h.trust.Store(h.parked | onTrust)
	return false
}

// untrust ends the owner's being parked on trust, and reports and undoes a nudge.
func (c *Conn) untrust() bool {
	h := &c.holding
	if h.trust.Load() == 0 {
		return false
	}
	t := h.trust.Swap(0)
	if t&nudged == 0 {
		return false
	}
	h.tired = t&unused != 0
	h.nudge.Lock() // the deadline is set by now
	defer h.nudge.Unlock()
	_ = c.Conn.SetReadDeadline(time.Time{}) // fails only on a closed connection
	if c.Kicked() != 0 {
		c.unblock() // a kick came in between and must win
	} else if c.stopped.Load() {
		c.InterruptRead() // the same
	}
	return true
}

// verify looks after a connection that is parked on trust. After a whole tick it asks the kernel whether there is something to
// be read, be it the end, and wakes the owner if so; it also does when nothing has come for long.
func (c *Conn) verify() {
	h := &c.holding
	t := h.trust.Load()
	if t&onTrust == 0 || t&nudged != 0 {
		return
	}
	if t != h.seen {
		h.seen, h.ticks = t, 0
		return
	}
	h.ticks++
	switch {
	case h.ticks == 1 && c.Stale():
		c.nudge(t, nudged)
	case h.ticks == idleTicks:
		c.nudge(t, nudged|unused)
	}
}

// nudge wakes the owner, if it has been parked on trust since t.
func (c *Conn) nudge(t, why uint64) {
	h := &c.holding
	h.nudge.Lock()
	defer h.nudge.Unlock()
	if h.trust.CompareAndSwap(t, t|why) {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}
