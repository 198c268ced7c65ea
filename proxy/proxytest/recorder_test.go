package proxytest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// recorder is an origin that keeps exactly the bytes it receives, one recording per connection. It answers every whole
// request with an empty 200 that is marked as its own.
type recorder struct {
	path string // of its socket
	t    testing.TB
	done sync.WaitGroup

	mu         sync.Mutex
	changed    sync.Cond
	open       int
	recordings []*recording
}

type recording struct {
	bytes.Buffer
	ended bool
}

// originMark stands in the answers of the recorder and in no other.
const originMark = "X-From-Origin: yes\r\n"

// barrier begins the connections that Flush opens. No request begins like this.
const barrier = "\x00barrier"

func newRecorder(t testing.TB) *recorder {
	t.Helper()
	// A socket in the file system: no run of tens of thousands of connections can use up the ports.
	r := &recorder{path: filepath.Join(t.TempDir(), "o"), t: t}
	r.changed.L = &r.mu
	l, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.done.Add(1)
	go r.accept(l)
	t.Cleanup(func() {
		l.Close()
		r.done.Wait()
	})
	return r
}

func (r *recorder) accept(l net.Listener) {
	defer r.done.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		rec := &recording{}
		r.mu.Lock()
		r.open++
		r.recordings = append(r.recordings, rec)
		r.mu.Unlock()
		r.done.Add(1)
		go r.serve(c, rec)
	}
}

func (r *recorder) serve(c net.Conn, rec *recording) {
	defer r.done.Done()
	defer func() {
		c.Close()
		r.mu.Lock()
		r.open--
		rec.ended = true
		r.mu.Unlock()
		r.changed.Broadcast()
	}()
	in := bufio.NewReader(io.TeeReader(c, rec))
	// A gateway that lost its way must not keep this origin for ever.
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		r.t.Error(err)
	}
	for r.answer(c, in) == nil {
	}
	// Whatever came that is no request is recorded as well, up to the end. How it ends is not of interest.
	_, _ = io.Copy(io.Discard, in)
}

func (r *recorder) answer(c net.Conn, in *bufio.Reader) error {
	req, err := http.ReadRequest(in)
	if err == io.EOF {
		return err
	}
	if err == nil && req.Header.Get("Expect") != "" {
		_, err = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	if err != nil {
		// The gateway shall hear of what it sent, unless it has gone.
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return err
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+originMark+"Content-Length: 0\r\n\r\n")
	return err
}

// flush waits until every connection opened so far has ended, and returns and forgets what was recorded on them.
func (r *recorder) flush(t testing.TB) [][]byte {
	t.Helper()
	// Connections are accepted in the order they were made: once the barrier has been, none that came before it still
	// waits to be.
	c, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, barrier); err != nil {
		t.Fatal(err)
	}
	c.Close()
	late := false
	timer := time.AfterFunc(20*time.Second, func() {
		r.mu.Lock()
		late = true
		r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !(r.open == 0 && r.passed()) {
		if late {
			t.Fatalf("%d connections to the origin are still open", r.open)
		}
		r.changed.Wait()
	}
	var out [][]byte
	for _, rec := range r.recordings {
		if rec.String() != barrier {
			out = append(out, rec.Bytes())
		}
	}
	r.recordings = nil
	return out
}

// passed reports whether the barrier was recorded. The lock is held.
func (r *recorder) passed() bool {
	for _, rec := range r.recordings {
		if rec.ended && rec.String() == barrier {
			return true
		}
	}
	return false
}

// pipes is a listener whose connections lie in memory. A write returns when the gateway has taken the bytes: what was
// written in two parts is read in two parts, always.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.gone) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// dial returns the client's end of a new connection.
func (p *pipes) dial() (halfCloser, error) {
	up0, up1 := net.Pipe()
	down0, down1 := net.Pipe()
	select {
	case p.conns <- &duplex{Conn: up1, out: down1}:
		return &duplex{Conn: down0, out: up0}, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// duplex is one end of a connection made of two pipes, so that either direction can be closed by itself.
type duplex struct {
	net.Conn // read from
	out      net.Conn
}

func (d *duplex) Write(p []byte) (int, error)        { return d.out.Write(p) }
func (d *duplex) CloseWrite() error                  { return d.out.Close() }
func (d *duplex) SetWriteDeadline(t time.Time) error { return d.out.SetWriteDeadline(t) }

func (d *duplex) SetDeadline(t time.Time) error {
	if err := d.out.SetDeadline(t); err != nil {
		return err
	}
	return d.Conn.SetDeadline(t)
}

func (d *duplex) Close() error {
	d.out.Close()
	return d.Conn.Close()
}
