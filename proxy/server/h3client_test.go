package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// all3 is a listener that speaks every version of HTTP.
const all3 = "listen: { web: { address: \"127.0.0.1:8080\", tls: self-signed, http: [h1, h2, h3] } }\n"

// h3client is a client of HTTP/3 that says whatever a test wants it to.
type h3client struct {
	*quic.Conn
	t       *testing.T
	control *quic.SendStream

	mu      sync.Mutex
	goAways []uint64
}

// The error codes of HTTP/3 that tests want (RFC 9114 section 8.1).
const (
	h3NoError         = 0x100
	h3Internal        = 0x102
	h3StreamCreation  = 0x103
	h3ClosedCritical  = 0x104
	h3FrameUnexpected = 0x105
	h3FrameError      = 0x106
	h3ExcessiveLoad   = 0x107
	h3ID              = 0x108
	h3Settings        = 0x109
	h3MissingSettings = 0x10a
	h3Rejected        = 0x10b
	h3Cancelled       = 0x10c
	h3Incomplete      = 0x10d
	h3Message         = 0x10e
	h3Decompression   = 0x200
	h3EncoderStream   = 0x201
	h3DecoderStream   = 0x202
)

// tls3 trusts whoever is there.
func tls3() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "test.localhost", NextProtos: []string{"h3"}}
}

// h3 connects, and sends the settings.
func (s *stage) h3() *h3client {
	s.t.Helper()
	c := s.quic(&quic.Config{})
	c.control = c.uni(0, frame(0x4))
	return c
}

// quic connects, and says nothing.
func (s *stage) quic(config *quic.Config) *h3client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.Addr, tls3(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	return newH3client(s.t, conn)
}

func newH3client(t *testing.T, conn *quic.Conn) *h3client {
	c := &h3client{Conn: conn, t: t}
	t.Cleanup(func() { conn.CloseWithError(h3NoError, "") })
	go c.listen()
	return c
}

// listen takes GOAWAY from the control stream.
func (c *h3client) listen() {
	str, err := c.AcceptUniStream(c.Context())
	if err != nil {
		return
	}
	in := quicvarint.NewReader(str)
	if kind, err := quicvarint.Read(in); err != nil || kind != 0 {
		return
	}
	for {
		kind, body, err := readFrame(str)
		if err != nil {
			return
		}
		if kind == 0x7 {
			id, _, err := quicvarint.Parse(body)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.goAways = append(c.goAways, id)
			c.mu.Unlock()
		}
	}
}

// gone returns the ids of GOAWAY when there are n.
func (c *h3client) gone(n int) []uint64 {
	c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		ids := c.goAways
		c.mu.Unlock()
		if len(ids) >= n {
			return ids
		}
		if time.Now().After(end) {
			c.t.Fatalf("got GOAWAY %v, want %d of them", ids, n)
		}
	}
}

// uni opens a stream in which the client alone speaks.
func (c *h3client) uni(kind uint64, b []byte) *quic.SendStream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	str, err := c.OpenUniStreamSync(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	// The gateway may have closed because of what was said before, which the test finds out.
	_, _ = str.Write(append(quicvarint.Append(nil, kind), b...))
	return str
}

// wantEnd waits for the end of the connection, and wants it to have this code.
func (c *h3client) wantEnd(code quic.ApplicationErrorCode) {
	c.t.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(patience):
		c.t.Fatal("the connection does not end")
	}
	err, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.Context()))
	if !ok || err.ErrorCode != code || !err.Remote {
		c.t.Fatalf("the connection ends with %v, want %#x", context.Cause(c.Context()), uint64(code))
	}
}

// frame is a frame.
func frame(kind uint64, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(body))), body...)
}

// number is an integer of variable length.
func number(n uint64) []byte { return quicvarint.Append(nil, n) }

// section is a block of fields: name, value, name, value.
func section(fields ...string) []byte {
	var b bytes.Buffer
	e := qpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return b.Bytes()
}

func readFrame(r io.Reader) (kind uint64, body []byte, err error) {
	in := quicvarint.NewReader(r)
	if kind, err = quicvarint.Read(in); err != nil {
		return 0, nil, err
	}
	size, err := quicvarint.Read(in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return kind, body, err
}

// h3stream is a request, and what comes of it.
type h3stream struct {
	*quic.Stream
	t        *testing.T
	interim  []string
	status   string
	fields   map[string]string
	body     []byte
	trailers map[string]string
}

// open opens a stream and sends bytes on it.
func (c *h3client) open(b ...[]byte) *h3stream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	str, err := c.OpenStreamSync(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = str.SetReadDeadline(time.Now().Add(patience))
	st := &h3stream{Stream: str, t: c.t, fields: map[string]string{}, trailers: map[string]string{}}
	st.send(b...)
	return st
}

// usual is a head as a client would send it.
func usual(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "https", ":path", path, ":authority", "test"}, more...)
}

// request sends a head as a client would.
func (c *h3client) request(method, path string, end bool, more ...string) *h3stream {
	c.t.Helper()
	st := c.open(frame(0x1, section(usual(method, path, more...)...)))
	if end {
		st.Close()
	}
	return st
}

// send sends bytes. It fails where the gateway wants no more of them, which the answer shows.
func (st *h3stream) send(b ...[]byte) {
	for _, p := range b {
		_, _ = st.Write(p)
	}
}

// data sends a part of the body.
func (st *h3stream) data(body string, end bool) {
	st.send(frame(0x0, []byte(body)))
	if end {
		st.Close()
	}
}

// step takes a frame of the response. io.EOF is its end.
func (st *h3stream) step() error {
	st.t.Helper()
	kind, body, err := readFrame(st.Stream)
	if err != nil {
		return err
	}
	switch kind {
	case 0x0:
		st.body = append(st.body, body...)
	case 0x1:
		st.head(body)
	default:
		st.t.Fatalf("got a frame %#x", kind)
	}
	return nil
}

func (st *h3stream) head(block []byte) {
	st.t.Helper()
	to := st.fields
	if st.status != "" {
		to = st.trailers
	}
	var d qpack.Decoder
	for next := d.Decode(block); ; {
		f, err := next()
		if err == io.EOF {
			return
		}
		if err != nil {
			st.t.Fatal(err)
		}
		switch {
		case f.Name != strings.ToLower(f.Name):
			st.t.Errorf("the field name %q", f.Name)
		case f.Name != ":status":
			to[f.Name] = f.Value
		case f.Value[0] == '1':
			st.interim = append(st.interim, f.Value)
			to = map[string]string{}
		default:
			st.status = f.Value
		}
	}
}

// want awaits an answer that is whole.
func (st *h3stream) want(status, body string) *h3stream {
	st.t.Helper()
	var err error
	for err == nil {
		err = st.step()
	}
	if err != io.EOF || st.status != status || body != "*" && string(st.body) != body {
		st.t.Fatalf("got %s %v with body %q and %v, want %s %q", st.status, st.fields, st.body, err, status, body)
	}
	return st
}

// wantReset awaits a reset.
func (st *h3stream) wantReset(code quic.StreamErrorCode) *h3stream {
	st.t.Helper()
	var err error
	for err == nil {
		err = st.step()
	}
	if reset, ok := errors.AsType[*quic.StreamError](err); !ok || reset.ErrorCode != code || !reset.Remote {
		st.t.Fatalf("got %s with body %q and %v, want a reset with %#x", st.status, st.body, err, uint64(code))
	}
	return st
}

// cancel is how a client gives a request up.
func (st *h3stream) cancel() {
	st.CancelRead(h3Cancelled)
	st.CancelWrite(h3Cancelled)
}

// udp listens on the port of a TCP listener.
func udp(t *testing.T, nl net.Listener) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", nl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return pc
}
