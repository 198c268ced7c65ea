package wire

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// scriptedConn gives out its text in pieces of random size, then ends. It never waits.
type scriptedConn struct {
	text   []byte
	pieces func(most int) int
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		panic("BUG: a read into no room")
	}
	n := copy(p[:min(len(p), max(1, c.pieces(len(p))))], c.text)
	c.text = c.text[n:]
	return n, nil
}

func (c *scriptedConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return nil }
func (c *scriptedConn) RemoteAddr() net.Addr             { return nil }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// TestReaderModel does anything that may be done with a Reader, in any order, and compares it with the naive model: one
// long text, of which a part was received and a part of that consumed. Pinned bytes stay what and where they are until
// Unpin, detached ones until they are freed.
func TestReaderModel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, kind := range []string{"scripted", "tcp"} {
		for round := range 60 {
			text := make([]byte, 200_000)
			for i := range text {
				text[i] = byte(random.Uint32())
			}
			var nc net.Conn = &scriptedConn{text: text, pieces: func(most int) int { return random.IntN(most + 1) }}
			if kind == "tcp" {
				near, far := pair(t, kind)
				nc = near
				go func() {
					_, _ = far.Write(text)
					far.Close()
				}()
			}
			var r Reader
			r.Init(NewConn(nc, nil), Small)
			consumed := 0
			var pinned, want []byte // where the pinned bytes lie, and what they are
			type lent struct {
				buf       *Buf
				got, want []byte
			}
			var detached []lent
			limit := []int{Small, Medium, 3 * Small, 100_000}[round%4]
			verify := func(what string) {
				t.Helper()
				if b := r.Bytes(); len(b) != r.Buffered() || !bytes.Equal(b, text[consumed:consumed+len(b)]) {
					t.Fatalf("%s after %s: what is buffered is not what was received", kind, what)
				}
				if !bytes.Equal(pinned, want) {
					t.Fatalf("%s after %s: pinned bytes have changed", kind, what)
				}
				for _, l := range detached {
					if !bytes.Equal(l.got, l.want) {
						t.Fatalf("%s after %s: detached bytes have changed", kind, what)
					}
				}
			}
			for steps := 0; consumed < len(text); steps++ {
				if steps > 1_000_000 {
					t.Fatal("no progress")
				}
				switch op := random.IntN(12); {
				case op < 4:
					before := r.Buffered()
					ok, err := r.FillMore(limit)
					if !ok && before < limit || ok && err != nil && err != io.EOF || ok && err == nil && r.Buffered() <= before {
						t.Fatalf("%s: FillMore: %v %v with %d of %d", kind, ok, err, before, limit)
					}
					if ok && err == io.EOF && consumed+r.Buffered() != len(text) {
						t.Fatalf("%s: an early end", kind)
					}
					verify("FillMore")
				case op < 6:
					n := random.IntN(r.Buffered() + 1)
					r.Skip(n)
					consumed += n
					verify("Skip")
				case op == 6 && pinned == nil && r.Buffered() > 0:
					n := random.IntN(r.Buffered()) + 1
					pinned, want = r.Bytes()[:n], text[consumed:consumed+n]
					r.Pin(n)
					consumed += n
					verify("Pin")
				case op == 7:
					r.Unpin()
					pinned, want = nil, nil
					verify("Unpin")
					if r.Buffered() == 0 && r.buf != nil {
						t.Fatal("an idle reader holds a buffer")
					}
				case op == 8:
					some, held := r.Buffered() > 0, r.held != nil
					b, ok := r.Detach()
					if ok != (!some && !held) {
						t.Fatalf("Detach: %v with %d buffered", ok, r.Buffered())
					}
					if ok {
						detached = append(detached, lent{b, pinned, want})
						pinned, want = nil, nil
					}
					verify("Detach")
				case op == 9 && len(detached) > 0:
					detached[0].buf.Free()
					detached = detached[1:]
					verify("Free")
				case op == 10:
					p := make([]byte, random.IntN(3000)+1)
					n, err := r.Read(p)
					if err != nil && (err != io.EOF || consumed+n != len(text)) || !bytes.Equal(p[:n], text[consumed:consumed+n]) {
						t.Fatalf("%s: Read: %d %v", kind, n, err)
					}
					consumed += n
					verify("Read")
				case op == 11 && !r.Full() && r.buf != nil:
					if err := r.Fill(); err != nil && (err != io.EOF || consumed+r.Buffered() != len(text)) {
						t.Fatalf("%s: Fill: %v", kind, err)
					}
					verify("Fill")
				}
			}
			r.Close()
			for _, l := range detached {
				l.buf.Free()
			}
		}
	}
}

// TestReaderIdle holds no buffer while there is nothing to hold.
func TestReaderIdle(t *testing.T) {
	near, far := pair(t, "tcp")
	var r Reader
	r.Init(NewConn(near, nil), Small)
	filled := make(chan error, 1)
	go func() { filled <- r.Fill() }()
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	within(t, "the bytes", func() {
		if err := <-filled; err != nil {
			t.Error(err)
		}
	})
	r.Skip(1)
	r.Unpin()
	if r.buf != nil {
		t.Fatal("a buffer is held for nothing")
	}
	far.Close()
	if err := r.Fill(); err != io.EOF || r.buf != nil {
		t.Fatal(err, r.buf)
	}
}
