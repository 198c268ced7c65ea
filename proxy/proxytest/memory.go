package proxytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// Memory is a network inside the process, for benchmarks that are to measure the gateway and nothing else: no kernel, no
// other goroutine, no scheduler. What the gateway writes is looked at within its Write, and what that leads to can be read
// at once, so that one goroutine runs a whole exchange without ever waiting. It allocates nothing.
//
// The gateway uses such a connection as it uses TLS, through the methods of net.Conn: what it does to spare system calls is
// not part of it.
type Memory struct {
	mu       sync.Mutex
	origins  map[string][]byte // what they answer, by address
	arriving chan net.Conn
	closed   chan struct{}
	close    sync.Once
}

// NewMemory returns an empty network.
func NewMemory() *Memory {
	return &Memory{origins: make(map[string][]byte), arriving: make(chan net.Conn), closed: make(chan struct{})}
}

// Canned adds an origin that answers every request with the same bytes. It returns the address.
func (m *Memory) Canned(response string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	address := fmt.Sprintf("192.0.2.%d:80", len(m.origins)+1)
	m.origins[address] = []byte(response)
	return address
}

// Start is Start of a gateway that knows no other network. There can be one.
func (m *Memory) Start(t testing.TB, yaml string) *Gateway {
	t.Helper()
	return start(t, yaml, m, m.dial)
}

func (m *Memory) dial(_ context.Context, _, address string) (net.Conn, error) {
	m.mu.Lock()
	answer := m.origins[address]
	m.mu.Unlock()
	if answer == nil {
		return nil, fmt.Errorf("nobody listens on %s of this network", address)
	}
	return newMemoryConn(&cannedPeer{answer: answer, at: len(answer)}), nil
}

// Accept, Close and Addr make it a net.Listener, the gateway's.
func (m *Memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.arriving:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *Memory) Close() error {
	m.close.Do(func() { close(m.closed) })
	return nil
}

func (m *Memory) Addr() net.Addr { return memoryAddr }

var memoryAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:80"))

// Replayer is a client that sends the same request over and over on one connection.
type Replayer struct {
	conn *memoryConn
	peer *replayPeer
}

// Replay opens a connection for a request whose responses must have this status.
func (m *Memory) Replay(t testing.TB, status int, request string) *Replayer {
	t.Helper()
	p := &replayPeer{request: []byte(request), at: len(request), want: fmt.Appendf(nil, "HTTP/1.1 %d ", status), done: make(chan error, 1)}
	c := newMemoryConn(p)
	select {
	case m.arriving <- c:
	case <-m.closed:
		t.Fatal("the gateway listens no more")
	}
	t.Cleanup(func() { c.Close() })
	return &Replayer{conn: c, peer: p}
}

// Do sends the request n times, each after the response to the one before, and returns when the last response is whole.
func (r *Replayer) Do(n int) error {
	if err := r.send(n); err != nil {
		return err
	}
	return <-r.peer.done
}

func (r *Replayer) send(n int) error {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	switch {
	case r.peer.err != nil:
		return r.peer.err
	case r.conn.closed:
		return net.ErrClosed
	}
	r.peer.left = n
	r.conn.changed.Broadcast()
	return nil
}

// memoryConn is the gateway's end of a connection. The other end is no goroutine but a peer.
type memoryConn struct {
	mu        sync.Mutex
	changed   sync.Cond
	peer      peer
	closed    bool
	lateRead  bool // the deadline has passed
	lateWrite bool
}

// peer is the other end of a memoryConn, which holds its lock for it.
type peer interface {
	take(p []byte) error // what the gateway wrote
	give(p []byte) int   // what it can read now
	gone()               // the gateway has closed
}

func newMemoryConn(p peer) *memoryConn {
	c := &memoryConn{peer: p}
	c.changed.L = &c.mu
	return c
}

func (c *memoryConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.lateRead:
			return 0, os.ErrDeadlineExceeded
		}
		if n := c.peer.give(p); n > 0 {
			return n, nil
		}
		c.changed.Wait()
	}
}

// TryRead is Read without waiting.
func (c *memoryConn) TryRead(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.lateRead {
		return 0
	}
	return c.peer.give(p)
}

func (c *memoryConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.lateWrite:
		return 0, os.ErrDeadlineExceeded
	}
	if err := c.peer.take(p); err != nil {
		return 0, err
	}
	c.changed.Broadcast() // another goroutine may read
	return len(p), nil
}

func (c *memoryConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.peer.gone()
		c.changed.Broadcast()
	}
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return memoryAddr }
func (c *memoryConn) RemoteAddr() net.Addr { return memoryAddr }

func (c *memoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *memoryConn) SetReadDeadline(t time.Time) error  { return c.setLate(&c.lateRead, t) }
func (c *memoryConn) SetWriteDeadline(t time.Time) error { return c.setLate(&c.lateWrite, t) }

// setLate knows none and those that have passed: the gateway's sweeper sets no others, and writes do not wait.
func (c *memoryConn) setLate(late *bool, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	*late = !t.IsZero() && !t.After(time.Now())
	c.changed.Broadcast()
	return nil
}

// replayPeer is a client.
type replayPeer struct {
	request []byte
	at      int // what of the request was read
	want    []byte
	in      delimiter
	waiting bool // for a response
	left    int  // requests to send
	done    chan error
	err     error
}

func (r *replayPeer) give(p []byte) int {
	if r.at == len(r.request) {
		if r.waiting || r.left == 0 {
			return 0
		}
		r.at, r.waiting = 0, true
		r.left--
	}
	n := copy(p, r.request[r.at:])
	r.at += n
	return n
}

func (r *replayPeer) take(p []byte) error {
	if r.err == nil && (!r.waiting || r.in.fresh() && !bytes.HasPrefix(p, r.want)) {
		r.fail(fmt.Errorf("got %.200q, want %q", p, r.want))
	}
	if r.err != nil {
		return r.err
	}
	whole, err := r.in.add(p)
	if err != nil {
		r.fail(err)
		return err
	}
	if whole {
		if r.waiting = false; r.left == 0 {
			r.done <- nil
		}
	}
	return nil
}

func (r *replayPeer) gone() {
	if r.err == nil && (r.waiting || r.left > 0) {
		r.fail(io.ErrUnexpectedEOF)
	}
}

// fail tells Do, which waits: there is an answer to come, or a request to be sent. It is for good.
func (r *replayPeer) fail(err error) {
	r.err, r.left = err, 0
	r.done <- err
}

// cannedPeer is an origin.
type cannedPeer struct {
	answer []byte
	at     int // what of the answer was read
	in     delimiter
}

func (o *cannedPeer) give(p []byte) int {
	n := copy(p, o.answer[o.at:])
	o.at += n
	return n
}

func (o *cannedPeer) take(p []byte) error {
	whole, err := o.in.add(p)
	if whole {
		o.at = 0
	}
	return err
}

func (o *cannedPeer) gone() {}

// delimiter finds where messages end in a stream that comes in pieces.
type delimiter struct {
	partial []byte // of a message whose end is not known
	left    int    // bytes to come of one whose end is
}

var errOverrun = errors.New("there are bytes behind the end of the message, which nobody asked for")

// fresh reports whether a message begins with the next piece.
func (f *delimiter) fresh() bool { return f.left == 0 && len(f.partial) == 0 }

// add takes the next piece and reports whether it makes the message whole. A piece never belongs to two messages: nothing is
// sent before the answer to what was sent before.
func (f *delimiter) add(p []byte) (bool, error) {
	if f.left == 0 {
		b := p
		if len(f.partial) > 0 {
			f.partial = append(f.partial, p...)
			b = f.partial
		}
		end := messageEnd(b)
		if end == 0 {
			if len(f.partial) == 0 {
				f.partial = append(f.partial, p...)
			}
			return false, nil
		}
		f.partial = f.partial[:0]
		f.left = end - (len(b) - len(p))
	}
	if f.left -= len(p); f.left < 0 {
		return false, errOverrun
	}
	return f.left == 0, nil
}
