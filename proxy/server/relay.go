package server

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// copy copies both ways until both sides have said all. One side's end is passed on as such; the other may go on for as long as it
// likes.
//
// Between sockets the kernel moves the bytes where there are many (splice(2), which net.TCPConn.ReadFrom uses): they never come into
// this process. A side that does not read stops the other one, after what fits into the kernel's buffers.
func (r *relay) copy(first []byte, silence time.Duration) {
	r.silence, r.movedAt = silence, wire.Now()
	r.mu.Lock()
	r.clock = time.AfterFunc(lookEvery(silence), r.look)
	r.mu.Unlock()
	var down sync.WaitGroup
	down.Go(func() { r.pour(r.client, r.origin, nil, &r.passage.BytesOut, proxy.EndedByOrigin, proxy.OriginBroke) })
	r.pour(r.origin, r.client, first, &r.passage.BytesIn, proxy.EndedByClient, proxy.ClientBroke)
	down.Wait()
	r.mu.Lock()
	r.over = true // the clock stands still from now on
	r.clock.Stop()
	r.mu.Unlock()
}

// pour copies one way until the source ends, then tells the sink so. If the source breaks, that ends both ways. If the sink takes
// nothing any more, what it has said before is still to be passed on: the other way goes on, and finds its end by itself.
func (r *relay) pour(to, from net.Conn, first []byte, count *atomic.Int64, ends, breaks proxy.Ending) {
	defer caught() // of cut, for one
	defer r.recover()
	p := pipe{relay: r, to: to, from: from, count: count}
	err := p.write(first)
	if err == nil {
		err = p.run()
	}
	var broken *sourceError
	switch {
	case err == nil:
		r.end(ends, nil)
		r.endSide(to)
		if c, ok := to.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite() // an end that cannot be told to end has ended
		}
	case errors.As(err, &broken) && !r.isOver():
		r.end(breaks, broken.err)
		r.cut(breaks)
	}
}

// recover ends the passage after a panic.
func (r *relay) recover() {
	if p := recover(); p != nil {
		proxy.Caught(p)
		r.cut(proxy.EndedByBug)
	}
}

// endSide remembers that a side is told that nothing more will come.
func (r *relay) endSide(c net.Conn) {
	if c == r.client {
		r.toldEnd[0].Store(true)
	} else {
		r.toldEnd[1].Store(true)
	}
}

// hasToldEnd reports whether the side was told so.
func (r *relay) hasToldEnd(c net.Conn) bool {
	if c == r.client {
		return r.toldEnd[0].Load()
	}
	return r.toldEnd[1].Load()
}

// pipe is one direction of a relay.
type pipe struct {
	relay    *relay
	to, from net.Conn
	count    *atomic.Int64
}

// sourceError is why a source broke; any other error of a pipe is the sink's.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (p *pipe) run() error {
	to, ok := p.to.(*net.TCPConn)
	if ok {
		switch from := p.from.(type) {
		case *net.TCPConn:
			return p.splice(to, from)
		case *net.UnixConn:
			return p.splice(to, from)
		}
	}
	return p.ferry()
}

// What the kernel moves bytes through is a pipe: two file descriptors, and memory. It is worth that only for connections that have much
// to say. So they begin with a buffer; when one is filled at once, the kernel is left to it for spliceFor, after which what it has
// moved is counted, and goes on unless that is less than spliceMin. Package net has a pool of pipes.
const (
	spliceFor = 5 * time.Second
	spliceMin = 1 << 20
)

// splice copies from one socket to another until the source ends.
func (p *pipe) splice(to *net.TCPConn, from interface {
	net.Conn
	syscall.Conn
}) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return &sourceError{err}
	}
	for {
		_ = from.SetReadDeadline(time.Time{}) // fails only on a closed connection, as below
		if p.relay.isOver() {
			return errOver
		}
		much, err := p.carry(raw)
		for n := int64(0); err == nil && much; much = n >= spliceMin {
			_ = from.SetReadDeadline(time.Now().Add(spliceFor))
			if p.relay.isOver() {
				return errOver
			}
			n, err = to.ReadFrom(from)
			p.moved(n)
			switch {
			case err == nil:
				err = io.EOF
			case errors.Is(err, os.ErrDeadlineExceeded) && !p.relay.isOver():
				err = nil
			case tcpState(p.to) == wire.TCPClose && tcpState(p.from) != wire.TCPClose:
				return err
			default:
				return &sourceError{err}
			}
		}
		switch {
		case err == io.EOF && p.wasReset():
			return &sourceError{syscall.ECONNRESET}
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

var errOver = errors.New("the connection was ended from outside")

// carry copies through a buffer, which it has only while there is something in it, until much comes at once. It returns io.EOF at
// the source's end. The poller tells of what arrives, and only once: so everything is read, and the end looked for, before it waits.
func (p *pipe) carry(raw syscall.RawConn) (much bool, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		for {
			buf := wire.GetBuf(wire.Medium)
			n, e := unix.Read(int(fd), buf.B)
			if n > 0 {
				err = p.write(buf.B[:n])
			}
			much = n == len(buf.B)
			buf.Free()
			switch {
			case e == unix.EINTR:
			case e == unix.EAGAIN:
				return false
			case e != nil:
				err = &sourceError{os.NewSyscallError("read", e)}
				return true
			case n == 0:
				err = io.EOF
				return true
			case err != nil || much:
				return true
			}
		}
	})
	if failed != nil {
		err = &sourceError{failed}
	}
	return much, err
}

// ferry copies through a buffer, between connections that the kernel cannot.
func (p *pipe) ferry() error {
	buf := wire.GetBuf(wire.Medium)
	defer buf.Free()
	for {
		n, err := p.from.Read(buf.B)
		if err := p.write(buf.B[:n]); err != nil {
			return err
		}
		switch {
		case err == io.EOF && p.wasReset():
			return &sourceError{syscall.ECONNRESET}
		case err == io.EOF:
			return nil
		case err != nil:
			return &sourceError{err}
		}
	}
}

func (p *pipe) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := p.to.Write(b)
	p.moved(int64(n))
	return err
}

func (p *pipe) moved(n int64) {
	p.count.Add(n)
	p.relay.tell()
}

// wasReset tells a reset from an end, see the function of this name in package wire. A connection to which we have ended our side,
// too, is closed as well; then there was nothing left to be reset.
func (p *pipe) wasReset() bool {
	return tcpState(p.from) == wire.TCPClose && !p.relay.hasToldEnd(p.from)
}

func tcpState(c net.Conn) uint8 {
	if info := tcpInfo(c); info != nil {
		return info.State
	}
	return 0
}

// tcpInfo is what the kernel knows of a connection; nil if it is none of TCP.
func tcpInfo(c net.Conn) (info *unix.TCPInfo) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) { // fails only on a closed connection, of which nothing is known either
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil {
		return nil
	}
	return info
}

// lookEvery is how often a relay is looked at: a silence is noticed up to an eighth later.
func lookEvery(silence time.Duration) time.Duration { return max(silence/8, 10*time.Millisecond) }

// look ends a relay in which nothing has moved for too long.
func (r *relay) look() {
	defer caught() // of cut, for one
	defer r.recover()
	if r.isSilent(r.activity()) {
		r.cut(proxy.EndedIdle)
	}
}

// isSilent reports whether it has been for too long, and sets the time for the next look if not.
func (r *relay) isSilent(moved uint64) bool {
	now := wire.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	if moved != r.moved {
		r.moved, r.movedAt = moved, now
	}
	if now-r.movedAt >= int64(r.silence) {
		return true
	}
	r.clock.Reset(lookEvery(r.silence))
	return false
}

// activity changes whenever a byte moves, also within the kernel: a slow reader takes what was moved for it long ago.
func (r *relay) activity() uint64 {
	sum := uint64(r.passage.BytesIn.Load() + r.passage.BytesOut.Load())
	for _, c := range []net.Conn{r.client, r.origin} {
		if info := tcpInfo(c); info != nil {
			sum += info.Bytes_received + info.Bytes_acked
		}
	}
	return sum
}
