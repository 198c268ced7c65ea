package origin

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// What one connection may make us keep. A client that wants more is cut off.
const (
	headMax    = 64 << 10
	queuedMax  = 4096 // answers that nobody reads
	lineMax    = 1 << 10
	payloadMax = 60 << 10 // of a WebSocket message
)

// conn is a connection: what is expected next, and what is still to be sent.
type conn struct {
	fd    int
	kept  []byte // the beginning of something whose end has not arrived
	next  func(c *conn, in []byte) (used int, ok bool)
	left  int64 // bytes of the body, or of the chunk, that are still to come
	body  int64 // bytes of the body that came
	close bool  // after what is queued was sent

	queued [][]byte
}

// take makes answers of what arrived. A part takes what it can of the input; 0 means that it needs more to begin.
func (c *conn) take(in []byte) bool {
	if len(c.kept) > 0 {
		c.kept = append(c.kept, in...)
		in = c.kept
	}
	for len(in) > 0 {
		part := c.next
		if part == nil {
			part = (*conn).head
		}
		used, ok := part(c, in)
		if !ok || len(c.queued) > queuedMax {
			return false
		}
		if used == 0 {
			break
		}
		in = in[used:]
	}
	c.kept = append(c.kept[:0], in...)
	return true
}

// head takes the head of a request, and answers those that have no body.
func (c *conn) head(in []byte) (int, bool) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, len(in) < headMax
	}
	head := in[:end+4]
	line := head[:bytes.IndexByte(head, '\r')]
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte("?"))
	name := target[bytes.LastIndexByte(target, '/')+1:]

	if len(method) == 3 { // GET: the usual case needs no look at the fields
		if answer, ok := answers[string(name)]; ok {
			c.queued = append(c.queued, answer)
			return len(head), true
		}
	}
	return len(head), c.unusual(head, string(method), string(name))
}

// unusual is every request but those for a body of a certain size.
func (c *conn) unusual(head []byte, method, name string) bool {
	switch {
	case method == "GET" && name == "head":
		c.queued = append(c.queued, answer(200, "text/plain", head))
	case method == "GET" && name == "socket" && len(field(head, "Sec-WebSocket-Key")) > 0:
		c.queued = append(c.queued, accepted(field(head, "Sec-WebSocket-Key")))
		c.next = (*conn).frame
	case method == "POST" && name == "upload" && bytes.EqualFold(field(head, "Transfer-Encoding"), []byte("chunked")):
		c.body, c.next = 0, (*conn).chunkSize
	case method == "POST" && name == "upload":
		n, err := strconv.ParseInt(string(field(head, "Content-Length")), 10, 63)
		if err != nil || n < 0 {
			return false
		}
		c.body, c.left, c.next = 0, n, (*conn).sized
		if n == 0 {
			c.uploaded()
		}
	default:
		c.queued = append(c.queued, notFound)
		c.close = true // there may be a body, and nobody reads it
	}
	return true
}

// field returns the value of the first field of that name.
func field(head []byte, name string) []byte {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && len(key) == len(name) && bytes.EqualFold(key, []byte(name)) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// sized takes a body with a Content-Length.
func (c *conn) sized(in []byte) (int, bool) {
	n := c.consume(in)
	if c.left == 0 {
		c.uploaded()
	}
	return n, true
}

func (c *conn) chunkSize(in []byte) (int, bool) {
	line, _, ok := bytes.Cut(in, []byte("\r\n"))
	if !ok {
		return 0, len(in) < lineMax
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 16, 63)
	if err != nil || n < 0 {
		return 0, false
	}
	c.left, c.next = n, (*conn).chunk
	if n == 0 {
		c.next = (*conn).trailers
	}
	return len(line) + 2, true
}

func (c *conn) chunk(in []byte) (int, bool) {
	n := c.consume(in)
	if c.left == 0 {
		c.next = (*conn).chunkEnd
	}
	return n, true
}

func (c *conn) chunkEnd(in []byte) (int, bool) {
	if len(in) < 2 {
		return 0, true
	}
	c.next = (*conn).chunkSize
	return 2, in[0] == '\r' && in[1] == '\n'
}

func (c *conn) trailers(in []byte) (int, bool) {
	line, _, ok := bytes.Cut(in, []byte("\r\n"))
	if !ok {
		return 0, len(in) < lineMax
	}
	if len(line) == 0 {
		c.uploaded()
	}
	return len(line) + 2, true
}

func (c *conn) consume(in []byte) int {
	n := min(c.left, int64(len(in)))
	c.left -= n
	c.body += n
	return int(n)
}

// uploaded answers a request whose body is complete.
func (c *conn) uploaded() {
	c.queued = append(c.queued, answer(200, "application/json", fmt.Appendf(nil, `{"received":%d}`, c.body)))
	c.next = nil
}

// flush sends what the socket takes, and reports whether the connection goes on.
func (c *conn) flush() bool {
	for len(c.queued) > 0 {
		n, err := writeSome(c.fd, c.queued[0])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return true
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false
		}
		if c.queued[0] = c.queued[0][n:]; len(c.queued[0]) == 0 {
			copy(c.queued, c.queued[1:]) // keeps the array
			c.queued = c.queued[:len(c.queued)-1]
		}
	}
	return !c.close
}
