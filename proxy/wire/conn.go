package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a connection that saves system calls and scheduler work where the kernel lets it.
//
//   - On a TCP or unix socket it reads and writes with raw non-blocking calls inside RawConn callbacks. The
//     goroutine still parks in the ordinary netpoller and deadlines go on working; what is saved is the
//     scheduler's bookkeeping around calls that never block. Every other net.Conn (TLS, an in-memory pipe) is
//     used through its own methods.
//   - Deadlines are not timers: Arm stores when the owner's current wait has to end, and a Sweeper looks at all
//     of its connections every tick. A wait therefore ends up to one tick late.
//
// One goroutine may read while another writes. Arm, Disarm and Kick may be called by any goroutine.
type Conn struct {
	net.Conn
	raw    syscall.RawConn // nil where only the methods of Conn may be used
	socket syscall.RawConn // raw, or what lies beneath TLS, for questions to the kernel; nil if there is none

	// State of the callbacks below, which are bound once so that calling them allocates nothing.
	reading struct {
		p     []byte
		need  *Reader // fill this reader's buffer, taking it from the pool only when bytes are there
		send  []byte  // written first, see Converse
		try   bool    // do not wait
		probe bool    // look before sending
		sent  int
		n     int
		err   error
		step  func(fd uintptr) bool
	}
	writing struct {
		p    []byte
		n    int
		err  error
		step func(fd uintptr) bool
	}
	peeking struct {
		stale bool
		step  func(fd uintptr)
	}
	holding hold
	parking atomic.Pointer[Parking] // where it is parked

	stopped    atomic.Bool  // InterruptRead is in force
	endSent    atomic.Bool  // by CloseWrite
	armed      atomic.Int64 // when the current wait ends (Now); 0: no limit; negative: kicked, minus the Reason
	writeRate  atomic.Int64 // bytes per second that the peer has to take while a write is armed; 0: no matter
	writeAgain atomic.Int64 // nanoseconds that this earns
	lastAcked  uint64       // by the peer when the sweeper last looked; its own
	armedWrite atomic.Int64 // the same for writes alone; 0: no limit
	writeEnd   atomic.Int64 // when an armed write ends however much the peer has taken; 0: it does not for that
	hangup     atomic.Int64 // from when on to ask the kernel whether the peer has reset or, negative, closed; 0: not
	onReset    func()
	Owner      any // whoever owns the connection may leave itself here, for those who meet it in a Sweeper
	sweeper    *Sweeper
	list, slot int // where the sweeper has it
}

// Reason is why a connection's wait was ended from outside.
type Reason int64

// The reasons of Kick.
const (
	Expired  Reason = 1 + iota // the time given with Arm has passed
	Canceled                   // nobody waits for the outcome any more
	Draining                   // the process is going down
	HungUp                     // the peer has closed while an answer was awaited, see WatchClose; reads return io.EOF
)

// KickedError is what reads and writes return after a kick.
type KickedError struct{ Reason Reason }

func (e *KickedError) Error() string {
	switch e.Reason {
	case Expired:
		return "timed out"
	case Canceled:
		return "canceled"
	case HungUp:
		return "closed by the peer"
	}
	return "shutting down"
}

// Timeout makes it a net.Error's timeout.
func (e *KickedError) Timeout() bool { return e.Reason == Expired }

var kickedErrors = [...]*KickedError{Expired: {Expired}, Canceled: {Canceled}, Draining: {Draining}}

// NewConn wraps c. onReset, which may be nil, is called by the sweeper when WatchReset is on and the peer has
// reset the connection.
func NewConn(c net.Conn, onReset func()) *Conn {
	w := &Conn{Conn: c, onReset: onReset, slot: -1}
	if s, ok := beneath(c).(syscall.Conn); ok {
		w.socket, _ = s.SyscallConn() // fails only for a nil conn
	}
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		w.raw = w.socket
	}
	w.reading.step = w.readStep
	w.writing.step = w.writeStep
	w.peeking.step = w.peekStep
	w.holding.step = w.holdStep
	return w
}

// beneath returns the connection that c, if it is a TLS connection, encrypts, or what it wraps in another way.
func beneath(c net.Conn) net.Conn {
	for {
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = t.NetConn()
	}
}

// Read reads at least one byte, or returns io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.raw == nil {
		n, err := c.Conn.Read(p)
		return n, c.cause(err)
	}
	r := &c.reading
	r.p, r.n, r.err = p, 0, nil
	err := c.raw.Read(r.step)
	r.p = nil
	if err == nil {
		err = r.err
	}
	return r.n, c.cause(err)
}

// TryRead reads what is there without waiting, up to len(p) bytes. It returns 0 if nothing is, or if something is wrong,
// which a Read will tell; and always on other than sockets, unless they have a TryRead of their own.
func (c *Conn) TryRead(p []byte) int {
	if c.raw == nil || len(p) == 0 {
		if own, ok := c.Conn.(interface{ TryRead(p []byte) int }); ok {
			return own.TryRead(p)
		}
		return 0
	}
	r := &c.reading
	r.p, r.n, r.err, r.try = p, 0, nil, true
	_ = c.raw.Read(r.step) // see above
	r.p, r.try = nil, false
	return r.n
}

// TryWrite writes what the kernel takes at once, and returns how much that was. It can do so within a Hold alone, and writes
// nothing elsewhere, or if anything is wrong, which a Write will tell.
func (c *Conn) TryWrite(p []byte) int {
	if !c.holding.running || c.armed.Load() < 0 {
		return 0
	}
	n, e := rawSend(c.holding.fd, p)
	if e != 0 {
		return 0
	}
	return n
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw == nil {
		n, err := c.Conn.Write(p)
		return n, c.cause(err)
	}
	w := &c.writing
	w.p, w.n, w.err = p, 0, nil
	err := c.raw.Write(w.step)
	w.p = nil
	if err == nil {
		err = w.err
	}
	return w.n, c.cause(err)
}

// Converse writes p and then reads the first bytes of what comes back into r. The write happens inside the read
// callback, after the poller was reset: the wake-up for the answer cannot be lost, so the goroutine parks at
// once instead of asking the kernel for bytes that cannot be there yet, which saves a system call. It returns
// how much of p was written; p is written whole if err is nil.
//
// With probe set it first looks whether the connection is as silent as it has to be, and returns ErrNotSilent, nothing
// written, if not: bytes that nobody asked for would be taken for the answer, and one client's for another's.
func (c *Conn) Converse(p []byte, r *Reader, probe bool) (written int, err error) {
	if c.raw == nil {
		n, err := c.Write(p)
		if err != nil {
			return n, err
		}
		return n, r.Fill()
	}
	s := &c.reading
	s.need, s.send, s.sent, s.n, s.err = r, p, 0, 0, nil
	s.probe = probe
	err = c.raw.Read(s.step)
	s.need = nil
	written, s.send = s.sent, nil
	if err == nil {
		err = s.err
	}
	if err == errShortWrite {
		// The kernel's buffer is full: go on in the ordinary way.
		n, err := c.Write(p[written:])
		written += n
		if err != nil {
			return written, err
		}
		return written, r.Fill()
	}
	return written, c.cause(err)
}

var errShortWrite = errors.New("short write")

// ErrNotSilent is why a connection is not fit for another request: the peer has closed it, or has sent bytes that nobody
// asked for.
var ErrNotSilent = errors.New("the idle connection was closed, or carried bytes that nobody asked for")

// Probes reports whether Converse can look by itself; where it cannot, Stale has to.
func (c *Conn) Probes() bool { return c.raw != nil }

func (c *Conn) readStep(fd uintptr) bool {
	s := &c.reading
	if len(s.send) > 0 {
		if s.probe {
			if !silent(fd) {
				s.err = ErrNotSilent
				return true
			}
		}
		n, e := rawSend(fd, s.send)
		if e == 0 {
			s.sent = n
			if n == len(s.send) {
				s.send = nil
				return false // park; the answer wakes us
			}
		}
		if e == 0 || e == syscall.EAGAIN {
			s.err = errShortWrite
		} else {
			s.err = os.NewSyscallError("sendto", e)
		}
		return true
	}
	if s.need != nil {
		_, s.n, s.err = c.receive(fd, s.need)
		return s.n > 0 || s.err != nil
	}
	s.n, s.err = c.receiveInto(fd, s.p)
	return s.n > 0 || s.err != nil || s.try
}

// silent reports whether a connection is open and holds no unread byte. Asked with poll, which unlike a read with MSG_PEEK does
// not lock the socket, and which also knows of a close.
func silent(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	for {
		// ppoll(2), which is there on every architecture; poll(2) is not.
		var now unix.Timespec
		n, _, e := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if e != syscall.EINTR {
			return e == 0 && n == 0
		}
	}
}

// receive adds what has arrived to r's buffer, which it takes from the pool only if there is something. full reports that
// all the room was used, so that there may be more. Without bytes and without an error nothing has arrived.
func (c *Conn) receive(fd uintptr, r *Reader) (full bool, n int, err error) {
	var fresh *Buf
	p := r.room()
	if p == nil {
		fresh = GetBuf(r.size)
		p = fresh.B
	}
	n, err = c.receiveInto(fd, p)
	if n == 0 {
		fresh.Free()
		return false, 0, err
	}
	if fresh != nil {
		r.buf = fresh
	}
	r.w += n
	return n == len(p), n, nil
}

func (c *Conn) receiveInto(fd uintptr, p []byte) (int, error) {
	for {
		n, e := rawReceive(fd, p, 0)
		switch e {
		case 0:
			if n > 0 {
				return n, nil
			}
			if !c.endSent.Load() && wasReset(fd) {
				return 0, os.NewSyscallError("recvfrom", syscall.ECONNRESET)
			}
			return 0, io.EOF
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, os.NewSyscallError("recvfrom", e)
		}
	}
}

// wasReset tells a reset from the end of the stream. The kernel reports a reset once: when a write at the same time has
// met it, the read sees what looks like an end, and a body that ends with the connection would seem whole.
func wasReset(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == TCPClose
}

// TCPClose is TCP_CLOSE, a state of unix.TCPInfo: that of a connection which was reset, or whose sides have both ended. A peer that has only
// ended its side leaves TCP_CLOSE_WAIT.
const TCPClose = 7

func (c *Conn) writeStep(fd uintptr) bool {
	s := &c.writing
	for s.n < len(s.p) {
		n, e := rawSend(fd, s.p[s.n:])
		switch e {
		case 0:
			s.n += n
		case syscall.EAGAIN:
			return false
		default:
			s.err = os.NewSyscallError("sendto", e)
			return true
		}
	}
	return true
}

// rawSend and rawReceive are sendto and recvfrom without the scheduler's entry and exit: they never block,
// because the sockets are non-blocking. MSG_NOSIGNAL spares a SIGPIPE.
func rawSend(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			syscall.MSG_NOSIGNAL, 0, 0)
		if e != syscall.EINTR {
			return int(n), e
		}
	}
}

func rawReceive(fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		flags, 0, 0)
	return int(n), e
}

// Arm limits the waits from now on: when Now reaches deadline, they fail with a KickedError of reason Expired.
// It does nothing on a connection that was kicked.
func (c *Conn) Arm(deadline int64) {
	for {
		old := c.armed.Load()
		if old < 0 || c.armed.CompareAndSwap(old, deadline) {
			return
		}
	}
}

// WriteRate makes the end of an armed write's time a question: a peer that has taken enough since the last one, in bytes
// per second, gets as much time again. Only TCP tells; it reports whether this connection does.
func (c *Conn) WriteRate(bytesPerSecond int64, again time.Duration) bool {
	if _, ok := beneath(c.Conn).(*net.TCPConn); !ok {
		return false
	}
	c.writeRate.Store(bytesPerSecond)
	c.writeAgain.Store(int64(again))
	return true
}

// takes reports whether the peer has taken enough since the sweeper last asked, and how much time that earns. The first
// answer on a connection may count what was taken before: it is given once too often rather than once too seldom.
func (c *Conn) takes() (int64, bool) {
	rate, again := c.writeRate.Load(), c.writeAgain.Load()
	if rate <= 0 {
		return 0, false
	}
	enough := false
	c.control(func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		enough = float64(info.Bytes_acked-c.lastAcked) >= float64(rate)*float64(again)/float64(time.Second)
		c.lastAcked = info.Bytes_acked
	})
	return again, enough
}

// ArmWrite limits the writes alone, so that the two directions can be waited for by two goroutines. 0 takes the
// limit away.
func (c *Conn) ArmWrite(deadline int64) {
	if c.armedWrite.Swap(deadline) < 0 {
		c.Kick(Expired) // the sweeper is about to: nobody may use the connection as if it were not
	}
}

// EndWrite says when an armed write ends however much the peer has taken until then; 0: that is no matter.
func (c *Conn) EndWrite(at int64) { c.writeEnd.Store(at) }

// Disarm takes the limit away and reports whether the connection can still be used.
func (c *Conn) Disarm() bool {
	c.Arm(0)
	return c.armed.Load() >= 0
}

// Kick ends the waits of a connection for good: reads and writes under way and later ones fail with a
// KickedError. The owner finds out and closes; Kick never closes what another goroutine is using.
func (c *Conn) Kick(why Reason) {
	for {
		old := c.armed.Load()
		if old < 0 {
			return
		}
		if c.armed.CompareAndSwap(old, -int64(why)) {
			break
		}
	}
	c.unblock()
}

// Forgive takes back a kick for a wait that took too long, so that its peer can still be told.
func (c *Conn) Forgive() {
	if c.armed.CompareAndSwap(-int64(Expired), 0) {
		_ = c.Conn.SetDeadline(time.Time{}) // fails only on a closed connection
		if c.Kicked() != 0 {
			c.unblock() // another kick came in between and must win
		}
	}
}

func (c *Conn) unblock() {
	// A deadline in the past wakes who waits. It fails only on a connection that is closed already.
	_ = c.Conn.SetDeadline(time.Unix(1, 0))
	c.unpark()
}

// Kicked returns why the connection was kicked, or 0.
func (c *Conn) Kicked() Reason {
	if v := c.armed.Load(); v < 0 {
		return Reason(-v)
	}
	return 0
}

// cause replaces the poller's timeout by the reason for it.
func (c *Conn) cause(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if why := c.Kicked(); why == HungUp {
		return io.EOF
	} else if why > 0 {
		return kickedErrors[why]
	}
	if c.stopped.Load() {
		return kickedErrors[Canceled]
	}
	return err
}

// InterruptRead ends the read under way and fails later ones, until ResumeRead; writes go on.
func (c *Conn) InterruptRead() {
	c.stopped.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	c.unpark()
}

// Interrupted reports whether InterruptRead is in force.
func (c *Conn) Interrupted() bool { return c.stopped.Load() }

// ResumeRead ends what InterruptRead began. No read may be under way.
func (c *Conn) ResumeRead() {
	c.stopped.Store(false)
	if c.Kicked() == 0 {
		_ = c.Conn.SetReadDeadline(time.Time{}) // fails only on a closed connection
		if c.Kicked() != 0 {
			c.unblock() // a kick came in between and must win
		}
	}
}

// WatchReset asks the sweeper to look out, from the given time on, for a peer that resets the connection.
// Zero ends it. A peer that only closes its sending side has not gone away.
func (c *Conn) WatchReset(from int64) { c.hangup.Store(from) }

// ResetByPeer asks the kernel whether the peer has reset the connection. On other than sockets it says false.
func (c *Conn) ResetByPeer() bool {
	gone := false
	c.control(func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(p, 0); err == nil {
			gone = p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	})
	return gone
}

// WatchClose asks the sweeper to look out, from the given time on, for a peer that has closed its sending side, and
// to end the wait if it has. Zero ends it. Converse needs it on a connection that was idle before: the poller may have
// been told of the close then, and does not tell twice. Not together with WatchReset.
func (c *Conn) WatchClose(from int64) { c.hangup.Store(-from) }

// ended reports whether the peer has closed its sending side and everything it sent was read.
func (c *Conn) ended() bool {
	ended := false
	c.control(func(fd int) {
		var b [1]byte
		n, e := rawReceive(uintptr(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = n == 0 && e == 0 || e != 0 && e != syscall.EAGAIN && e != syscall.EINTR
	})
	return ended
}

// Stale reports whether an idle connection can no longer be used: the peer has closed it, or has sent bytes that
// nobody asked for. Under TLS such bytes may be a session ticket, and do not count; a close behind them does. It
// allocates nothing, and nobody may read at the same time.
func (c *Conn) Stale() bool {
	if c.socket == nil {
		return false
	}
	c.peeking.stale = false
	if err := c.socket.Control(c.peeking.step); err != nil {
		return true // closed already
	}
	return c.peeking.stale
}

// Speaks is Stale for a connection that has carried a whole exchange: by then a session ticket has arrived, and whatever
// there is, in the kernel or read ahead by TLS, nobody has asked for.
func (c *Conn) Speaks() bool {
	if c.raw != nil || c.socket == nil {
		return c.Stale()
	}
	pending := false
	c.control(func(fd int) {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		n, err := unix.Poll(p[:], 0)
		pending = err == nil && n > 0
	})
	if pending {
		return true
	}
	// With its deadline in the past a read returns only what TLS holds already.
	c.InterruptRead()
	defer c.ResumeRead()
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	timeout, ok := err.(net.Error)
	return n > 0 || !ok || !timeout.Timeout()
}

func (c *Conn) peekStep(fd uintptr) {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	if _, err := unix.Poll(p[:], 0); err != nil {
		return
	}
	closed := p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	c.peeking.stale = closed || c.raw != nil && p[0].Revents != 0
}

func (c *Conn) control(f func(fd int)) {
	if c.socket != nil {
		// Control fails only on a closed connection, of which there is nothing left to ask.
		_ = c.socket.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// CloseWrite closes the sending side, where the connection can.
func (c *Conn) CloseWrite() error {
	c.endSent.Store(true)
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// ShutdownHard ends both directions at once while another goroutine may still use the connection. The peer sees a
// close without whatever would have made the message whole.
func (c *Conn) ShutdownHard() {
	c.control(func(fd int) {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // fails only on a connection that is gone
	})
}

// Abort closes so that the peer sees a reset: a message that was cut short must not look as if it were whole.
func (c *Conn) Abort() {
	c.ResetOnClose()
	if c.holding.running {
		return // Close would wait for the callback that we are in; the owner closes when its Hold has returned
	}
	if t, ok := beneath(c.Conn).(*net.TCPConn); ok {
		_ = t.Close()
	}
	_ = c.Conn.Close()
}

// ResetOnClose makes Close be seen as a reset. It may be called while another goroutine uses the connection.
func (c *Conn) ResetOnClose() {
	if t, ok := beneath(c.Conn).(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails only on a closed connection
	}
}
