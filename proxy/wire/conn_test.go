package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds everything a test waits for.
const patience = 10 * time.Second

// pair returns both ends of a connection of the given kind; the test's end closes them.
func pair(t testing.TB, kind string) (near, far net.Conn) {
	t.Helper()
	if kind == "pipe" {
		near, far = net.Pipe()
	} else {
		address := "127.0.0.1:0"
		if kind == "unix" {
			address = filepath.Join(t.TempDir(), "s")
		}
		l, err := net.Listen(kind, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if near, err = net.Dial(kind, l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

var kinds = []string{"tcp", "unix", "pipe"}

// within fails the test if f does not return soon.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
	}
}

// eventually waits for what no event tells.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func TestConnReadWrite(t *testing.T) {
	for _, kind := range kinds {
		near, far := pair(t, kind)
		c, d := NewConn(near, nil), NewConn(far, nil)
		text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: more than any socket buffer takes at once
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := c.Write(text); n != len(text) || err != nil {
				t.Errorf("%s: wrote %d, %v", kind, n, err)
			}
			if n, err := c.Write(nil); n != 0 || err != nil {
				t.Errorf("%s: wrote %d, %v", kind, n, err)
			}
			c.Close()
		})
		within(t, kind, func() {
			got, err := io.ReadAll(d)
			if !bytes.Equal(got, text) || err != nil {
				t.Errorf("%s: read %d bytes, %v", kind, len(got), err)
			}
			if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: %d %v", kind, n, err)
			}
			if n, err := c.Read(nil); n != 0 || err != nil {
				t.Errorf("%s: reading nothing: %d %v", kind, n, err)
			}
		})
		wg.Wait()
	}
}

// TestKick ends waits under way and fails later ones, with the first reason given.
func TestKick(t *testing.T) {
	for _, kind := range kinds {
		for _, why := range []Reason{Expired, Canceled, Draining} {
			near, _ := pair(t, kind)
			c := NewConn(near, nil)
			var r Reader
			r.Init(c, Small)
			failed := make(chan error, 2)
			go func() { failed <- r.Fill() }()
			go func() {
				var err error
				for err == nil { // until the buffers of the kernel are full
					_, err = c.Write(make([]byte, 1<<16))
				}
				failed <- err
			}()
			c.Kick(why)
			c.Kick(Canceled) // comes too late to change anything
			within(t, kind, func() {
				for range 2 {
					check(t, <-failed, why)
				}
				_, err := c.Read(make([]byte, 1))
				check(t, err, why)
				_, err = c.Write([]byte("x"))
				check(t, err, why)
				_, err = c.Converse([]byte("x"), &r, false)
				check(t, err, why)
			})
			if c.Kicked() != why || c.Disarm() {
				t.Fatalf("%s: kicked %v", kind, c.Kicked())
			}
			c.Arm(Now() + int64(time.Hour))
			if c.Kicked() != why {
				t.Fatal("Arm took the kick back")
			}
			r.Close()
		}
	}
}

func check(t testing.TB, err error, why Reason) {
	t.Helper()
	var kicked *KickedError
	if !errors.As(err, &kicked) || kicked.Reason != why || kicked.Timeout() != (why == Expired) {
		t.Errorf("got %v, want a kick for reason %d", err, why)
	}
}

// TestKickWins lets everything that touches the deadline happen at once: a kick always comes through.
func TestKickWins(t *testing.T) {
	for _, kind := range []string{"tcp", "pipe"} {
		for range 150 {
			near, _ := pair(t, kind)
			c := NewConn(near, nil)
			begin := make(chan struct{})
			var wg sync.WaitGroup
			for _, f := range []func(){
				func() {
					for range 20 {
						c.Arm(Now() + int64(time.Hour))
						c.Disarm()
					}
				},
				func() {
					for range 10 {
						c.InterruptRead()
						c.ResumeRead()
					}
				},
				func() { c.Kick(Canceled) },
			} {
				wg.Go(func() {
					<-begin
					f()
				})
			}
			close(begin)
			wg.Wait()
			if c.Kicked() != Canceled {
				t.Fatal("the kick was lost")
			}
			c.ResumeRead() // does not bring a kicked connection back
			within(t, "a read after the kick", func() {
				_, err := c.Read(make([]byte, 1))
				check(t, err, Canceled)
			})
			near.Close()
		}
	}
}

// TestInterruptRead stops reads and leaves writes alone; after ResumeRead the bytes that came meanwhile are all there.
func TestInterruptRead(t *testing.T) {
	for _, kind := range kinds {
		near, far := pair(t, kind)
		c := NewConn(near, nil)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		c.InterruptRead()
		within(t, kind, func() { check(t, <-failed, Canceled) })
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("a read went on after InterruptRead")
		}
		received := make(chan byte, 1)
		go func() {
			var b [1]byte
			_, _ = io.ReadFull(far, b[:])
			received <- b[0]
			_, _ = far.Write([]byte("z"))
		}()
		within(t, kind, func() {
			if _, err := c.Write([]byte("w")); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			if b := <-received; b != 'w' {
				t.Errorf("%s: %q", kind, b)
			}
			c.ResumeRead()
			var b [1]byte
			if _, err := c.Read(b[:]); err != nil || b[0] != 'z' {
				t.Errorf("%s: %q %v", kind, b, err)
			}
		})
		if c.Kicked() != 0 || !c.Disarm() {
			t.Fatal("an interruption is no kick")
		}
	}
}

// TestConverse writes more than the kernel takes at once: the rest goes the ordinary way, and the answer is not lost.
func TestConverse(t *testing.T) {
	for _, kind := range kinds {
		for _, size := range []int{1, 1000, 300_000, 5_000_000} {
			near, far := pair(t, kind)
			if s, ok := near.(interface{ SetWriteBuffer(int) error }); ok {
				if err := s.SetWriteBuffer(4 << 10); err != nil {
					t.Fatal(err)
				}
			}
			text := make([]byte, size)
			for i := range text {
				text[i] = byte(i * 7 >> 3)
			}
			go func() {
				h := crc32.NewIEEE()
				_, _ = io.CopyN(h, far, int64(size))
				_, _ = far.Write(h.Sum(nil))
			}()
			c := NewConn(near, nil)
			var r Reader
			r.Init(c, Small)
			within(t, kind, func() {
				n, err := c.Converse(text, &r, false)
				for err == nil && r.Buffered() < 4 {
					err = r.Fill()
				}
				want := crc32.ChecksumIEEE(text)
				if b := r.Bytes(); n != size || err != nil || len(b) != 4 || uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]) != want {
					t.Errorf("%s: wrote %d of %d, %v, got %x", kind, n, size, err, b)
				}
			})
			r.Close()
		}
	}
}

// TestConverseClosed tells how much was written when there is no answer.
func TestConverseClosed(t *testing.T) {
	near, far := pair(t, "tcp")
	go func() {
		_, _ = io.ReadFull(far, make([]byte, 5))
		far.Close()
	}()
	c := NewConn(near, nil)
	var r Reader
	r.Init(c, Small)
	within(t, "the end", func() {
		if n, err := c.Converse([]byte("hello"), &r, false); n != 5 || err != io.EOF {
			t.Errorf("%d %v", n, err)
		}
	})
	if r.buf != nil {
		t.Error("a buffer is held for nothing")
	}
	near.Close()
	if n, err := c.Converse([]byte("hello"), &r, false); n != 0 || err == nil {
		t.Errorf("%d %v", n, err)
	}
}

// TestWatchClose ends the wait for an answer from a peer that has closed its sending side before the question, which the
// poller does not tell a second time.
func TestWatchClose(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	near, far := pair(t, "tcp")
	c := NewConn(near, nil)
	s.Add(c)
	defer s.Remove(c)
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the close arrives", c.Stale)
	var r Reader
	r.Init(c, Small)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if n, err := c.Converse([]byte("hello"), &r, false); n != 5 || err != io.EOF {
			t.Errorf("%d %v", n, err)
		}
	}()
	within(t, "the question", func() {
		if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	})
	c.WatchClose(Now()) // a sweep before that would end the wait before the question is written
	within(t, "the end", func() { <-ended })

	// A peer that has sent something and then closed is read to its end.
	near, far = pair(t, "tcp")
	c = NewConn(near, nil)
	s.Add(c)
	defer s.Remove(c)
	if _, err := far.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	far.Close()
	c.WatchClose(Now())
	eventually(t, "the sweeper has looked", func() bool { return c.hangup.Load() != 0 && c.hangup.Load() < -Now() })
	r.Init(c, Small)
	if err := r.Fill(); err != nil || string(r.Bytes()) != "bye" || c.Kicked() != 0 {
		t.Fatal(err, c.Kicked())
	}
	r.Close()
}

func TestStale(t *testing.T) {
	f := func(kind, what string, want bool, do func(far net.Conn)) {
		t.Helper()
		near, far := pair(t, kind)
		c := NewConn(near, nil)
		if c.Stale() {
			t.Fatalf("%s: stale from the start", what)
		}
		do(far)
		if want {
			eventually(t, what, c.Stale)
		} else if c.Stale() {
			t.Fatalf("%s: stale", what)
		}
	}
	for _, kind := range []string{"tcp", "unix"} {
		f(kind, "nothing", false, func(net.Conn) {})
		f(kind, "closed", true, func(far net.Conn) { far.Close() })
		f(kind, "bytes", true, func(far net.Conn) { _, _ = far.Write([]byte("x")) })
		f(kind, "half-closed", true, func(far net.Conn) { _ = far.(interface{ CloseWrite() error }).CloseWrite() })
	}
	f("tcp", "reset", true, func(far net.Conn) {
		_ = far.(*net.TCPConn).SetLinger(0)
		far.Close()
	})
	f("pipe", "nothing can be asked", false, func(far net.Conn) { far.Close() })

	near, _ := pair(t, "tcp")
	c := NewConn(near, nil)
	near.Close()
	if !c.Stale() {
		t.Fatal("closed on this side, and not stale")
	}
}

// TestStaleTLS does not take a session ticket for a close, but finds the close behind a farewell.
func TestStaleTLS(t *testing.T) {
	near, far := pair(t, "tcp")
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	server := tls.Server(far, cert.TLS)
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	within(t, "the handshake", func() {
		go func() { _ = server.Handshake() }()
		if err := client.Handshake(); err != nil {
			t.Error(err)
		}
	})
	c := NewConn(client, nil)
	// Any record will do for a session ticket: only who holds the keys can tell them apart.
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a record arrives", func() bool { return readable(near) })
	if c.Stale() {
		t.Fatal("a record is no close")
	}
	server.Close()
	eventually(t, "the close arrives", c.Stale)
}

func readable(c net.Conn) bool {
	ready := false
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(p, 0)
		ready = p[0].Revents != 0
	})
	return ready
}

// TestAbort resets: the peer sees that what it got is not whole. Without it, a close looks like an end.
func TestAbort(t *testing.T) {
	near, far := pair(t, "tcp")
	c, d := NewConn(near, nil), NewConn(far, nil)
	if d.ResetByPeer() {
		t.Fatal("reset from the start")
	}
	c.Abort()
	eventually(t, "the reset arrives", d.ResetByPeer)
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}

	near, far = pair(t, "tcp")
	c, d = NewConn(near, nil), NewConn(far, nil)
	c.Close()
	within(t, "the end", func() {
		if _, err := d.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want an end", err)
		}
	})
	if d.ResetByPeer() {
		t.Fatal("a peer that closed has not reset")
	}

	// One that only closes its sending side has not gone away.
	near, far = pair(t, "tcp")
	c, d = NewConn(near, nil), NewConn(far, nil)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	within(t, "the end", func() {
		if _, err := d.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want an end", err)
		}
	})
	if d.ResetByPeer() {
		t.Fatal("a half-close is no reset")
	}
	if _, err := d.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"unix", "pipe"} {
		near, far = pair(t, kind)
		NewConn(near, nil).Abort()
		within(t, "the end", func() {
			if _, err := far.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s is still open", kind)
			}
		})
	}
}

// TestShutdownHard ends both directions while somebody reads.
func TestShutdownHard(t *testing.T) {
	near, far := pair(t, "tcp")
	c := NewConn(near, nil)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		failed <- err
	}()
	c.ShutdownHard()
	within(t, "the end of both", func() {
		if err := <-failed; err != io.EOF {
			t.Error(err)
		}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	})
}
