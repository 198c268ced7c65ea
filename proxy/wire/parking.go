package wire

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Parking is where connections wait that have been idle for long (ErrIdle): without a goroutine, known to one epoll set of their
// own. All methods are safe for concurrent use.
//
// What it saves: a goroutine and its stack, which are more than all else that an idle connection costs. When it must not be
// used: for connections of which the next bytes are likely soon. To park and to come back cost two system calls, a new
// goroutine, and a stack that has to grow again.
type Parking struct {
	resume func(*Conn)
	epoll  *os.File
	raw    syscall.RawConn
	done   chan struct{}

	mu       sync.Mutex
	conns    []*Conn // by file descriptor
	n        int
	least    int // of n, since memory was last given back
	seen     int // n when it was last about to be
	released time.Time
	release  *time.Timer // that will give it back
}

// Stacks that nobody uses any more are the runtime's, which keeps much of them for long; buffers are the pools'. They are given back to the system
// when so many more connections are parked as to be worth it, a moment after that, when hardly more come, and not too often: it
// costs two collections.
const (
	releaseAfter = 1024
	releaseFew   = releaseAfter / 16
	releaseSoon  = 2 * time.Second
	releaseEvery = time.Minute
)

// NewParking starts a parking. resume is called, by any goroutine and so briefly, with a connection that has something to be
// read, or whose waits have been ended; it is not parked any more by then. Close ends the parking.
func NewParking(resume func(*Conn)) (*Parking, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the file below waits in the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Parking{resume: resume, epoll: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{})}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		p.epoll.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

// Close stops looking. Connections that are still parked come back only if their waits are ended by Kick, InterruptRead or
// a Sweeper.
func (p *Parking) Close() {
	_ = p.epoll.Close() // nothing is written to it
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.release != nil {
		p.release.Stop()
	}
}

// Len returns how many connections are parked.
func (p *Parking) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Park takes over a connection on which nobody reads or writes, and which was found to be idle (ErrIdle): what lies above the
// socket holds nothing that could be read. If it returns true the caller must not touch the connection any more: another
// goroutine may have it already. False says that it cannot be parked, and nothing has changed.
func (p *Parking) Park(c *Conn) bool {
	if c.socket == nil {
		return false
	}
	parked := false
	err := c.socket.Control(func(fd uintptr) { parked = p.add(int(fd), c) })
	if err != nil || !parked {
		return false
	}
	if c.Kicked() != 0 || c.stopped.Load() {
		c.unpark() // by somebody who did not find it here yet
	}
	return true
}

func (p *Parking) add(fd int, c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	if p.control(unix.EPOLL_CTL_ADD, fd, &e) != nil {
		return false
	}
	for fd >= len(p.conns) {
		p.conns = append(p.conns, nil)
	}
	p.conns[fd] = c
	c.setParked(true)
	p.n++
	c.parking.Store(p)
	if p.n-p.least >= releaseAfter && p.release == nil {
		p.seen = p.n
		p.release = time.AfterFunc(max(releaseSoon, releaseEvery-time.Since(p.released)), p.giveBack)
	}
	return true
}

func (p *Parking) giveBack() {
	defer func() {
		if bug := recover(); bug != nil {
			OnPanic(bug)
		}
	}()
	if !p.mayGiveBack() {
		return
	}
	runtime.GC() // pools hold what was put back until the second collection
	debug.FreeOSMemory()
}

// mayGiveBack returns false as long as many connections still come, and is asked again then.
func (p *Parking) mayGiveBack() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n-p.seen > releaseFew {
		p.seen = p.n
		p.release.Reset(releaseSoon)
		return false
	}
	p.least, p.released, p.release = p.n, time.Now(), nil
	return true
}

// remove takes out the connection that has this descriptor, if it is c or c is nil. Whoever gets it, and nobody else, has it.
func (p *Parking) remove(fd int, c *Conn) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd >= len(p.conns) || p.conns[fd] == nil || c != nil && p.conns[fd] != c {
		return nil
	}
	c = p.conns[fd]
	p.conns[fd] = nil
	p.n--
	p.least = min(p.least, p.n)
	c.setParked(false)
	c.parking.Store(nil)
	_ = p.control(unix.EPOLL_CTL_DEL, fd, nil) // fails only if the set is closed
	return c
}

func (p *Parking) control(op, fd int, e *unix.EpollEvent) error {
	var failed error
	err := p.raw.Control(func(epoll uintptr) { failed = unix.EpollCtl(int(epoll), op, fd, e) })
	return errors.Join(err, failed)
}

// Unpark has the connection back, if it is parked: somebody has something to write.
func (c *Conn) Unpark() { c.unpark() }

// unpark hands the connection back, if it is parked.
func (c *Conn) unpark() {
	p := c.parking.Load()
	if p == nil {
		return
	}
	var parked *Conn
	c.control(func(fd int) { parked = p.remove(fd, c) })
	if parked != nil {
		p.resume(c)
	}
}

func (p *Parking) run() {
	defer close(p.done)
	var events [128]unix.EpollEvent
	for {
		n := 0
		var failed error
		err := p.raw.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events[:], 0)
			return n > 0 || failed != nil && failed != unix.EINTR
		})
		if err != nil || failed != nil {
			return // closed
		}
		for _, e := range events[:max(n, 0)] {
			if c := p.remove(int(e.Fd), nil); c != nil {
				p.handBack(c)
			}
		}
	}
}

// handBack resumes a connection, which is closed if that panics: nobody has it then.
func (p *Parking) handBack(c *Conn) {
	defer func() {
		if bug := recover(); bug != nil {
			OnPanic(bug)
			_ = c.Close()
		}
	}()
	p.resume(c)
}
