package proxytest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// Canned starts an origin that answers every request with the same bytes and allocates nothing while it does, so that
// what is measured is the gateway's. It returns the address.
func Canned(t testing.TB, response string) string {
	answer := []byte(response)
	return RawOrigin(t, func(c *net.TCPConn) {
		m := newMessages(c)
		for {
			if _, err := m.next(); err != nil {
				return // the gateway has closed the connection, or its test says what is wrong
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

// Repeater sends the same request over and over on one connection and reads every response to its end. It allocates
// nothing.
type Repeater struct {
	in     *messages
	writes [][]byte
	want   []byte
}

// repeatFor bounds a whole run of a Repeater: a response that never comes fails the test and does not hang it.
const repeatFor = 5 * time.Minute

// Repeat opens a connection for a request, sent in as many writes as there are strings. Its responses must have this
// status.
func (g *Gateway) Repeat(status int, writes ...string) *Repeater {
	g.t.Helper()
	c := g.Dial()
	if err := c.SetDeadline(time.Now().Add(repeatFor)); err != nil {
		g.t.Fatal(err)
	}
	r := &Repeater{in: newMessages(c.TCPConn), want: fmt.Appendf(nil, "HTTP/1.1 %d ", status)}
	for _, w := range writes {
		r.writes = append(r.writes, []byte(w))
	}
	return r
}

// Do sends the request once and returns the response, which is valid until the next call.
func (r *Repeater) Do() ([]byte, error) {
	for _, w := range r.writes {
		if _, err := r.in.conn.Write(w); err != nil {
			return nil, err
		}
	}
	m, err := r.in.next()
	if err == nil && !bytes.HasPrefix(m, r.want) {
		err = fmt.Errorf("got %.200q, want %q", m, r.want)
	}
	return m, err
}

// messages reads one HTTP/1.1 message after the other, without allocating, as long as they fit into messageMax and spell
// their framing as the gateway does.
type messages struct {
	conn net.Conn
	buf  []byte
	r, w int // what is read and belongs to no message yet
}

const messageMax = 256 << 10

func newMessages(c net.Conn) *messages { return &messages{conn: c, buf: make([]byte, messageMax)} }

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
	chunked       = []byte("\r\nTransfer-Encoding: chunked\r\n")
	lastChunk     = []byte("\r\n0\r\n\r\n") // of a body with no bytes like it
)

var errMessageTooLong = errors.New("the message is longer than messageMax")

// next returns the next message, head and body.
func (m *messages) next() ([]byte, error) {
	m.w = copy(m.buf, m.buf[m.r:m.w])
	m.r = 0
	for {
		if end := messageEnd(m.buf[:m.w]); end > 0 && end <= m.w {
			m.r = end
			return m.buf[:end], nil
		}
		if err := m.fill(); err != nil {
			return nil, err
		}
	}
}

// messageEnd returns where the message at the front of b ends, which may be behind the end of b; 0 while that is not
// known.
func messageEnd(b []byte) int {
	head := bytes.Index(b, headEnd)
	if head < 0 {
		return 0
	}
	head += len(headEnd)
	if bytes.Contains(b[:head], chunked) {
		i := bytes.Index(b[head-2:], lastChunk)
		if i < 0 {
			return 0
		}
		return head - 2 + i + len(lastChunk)
	}
	n := 0
	if i := bytes.Index(b[:head], contentLength); i >= 0 {
		for _, c := range b[i+len(contentLength) : head] {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int(c-'0')
		}
	}
	return head + n
}

func (m *messages) fill() error {
	if m.w == len(m.buf) {
		return errMessageTooLong
	}
	n, err := m.conn.Read(m.buf[m.w:])
	m.w += n
	if n > 0 {
		return nil
	}
	return err
}
