package wire

import (
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

	// trust is 0, or how many times the owner has parked on trust, times 4, plus onTrust, then nudged if the sweeper has found
	// something that the owner was not told.
	trust  atomic.Uint64
	parked uint64     // the owner's count
	seen   uint64     // what the sweeper saw a tick ago
	nudge  sync.Mutex // held while a nudge's deadline is set and taken back
}

const (
	onTrust = 1
	nudged  = 2
)

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
			h.err = err
			return err != nil
		}
		h.fd, h.running = fd, true
		more := h.serve()
		h.running = false
		if !more {
			return true
		}
		if !full {
			h.parked += 4
			h.trust.Store(h.parked | onTrust)
			return false
		}
	}
}

// untrust ends the owner's being parked on trust, and reports and undoes a nudge.
func (c *Conn) untrust() bool {
	h := &c.holding
	if h.trust.Load() == 0 || h.trust.Swap(0)&nudged == 0 {
		return false
	}
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

// verify asks the kernel about a connection that has been parked on trust since the last tick, and wakes its owner if there
// is something to be read, be it the end.
func (c *Conn) verify() {
	h := &c.holding
	t := h.trust.Load()
	if t&onTrust == 0 || t&nudged != 0 {
		return
	}
	if t != h.seen {
		h.seen = t
		return
	}
	if !c.Stale() {
		h.trust.CompareAndSwap(t, 0) // the owner is parked as if it had asked itself
		return
	}
	h.nudge.Lock()
	defer h.nudge.Unlock()
	if h.trust.CompareAndSwap(t, t|nudged) {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}
