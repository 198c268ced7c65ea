package wire

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lot is a parking whose connections come back through a channel.
type lot struct {
	*Parking
	back chan *Conn
}

func parking(t *testing.T) *lot {
	t.Helper()
	l := &lot{back: make(chan *Conn, 100)}
	p, err := NewParking(func(c *Conn) { l.back <- c })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	l.Parking = p
	return l
}

// park parks one end of a new connection and returns both.
func (l *lot) park(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ours, theirs := tcpPair(t)
	c := NewConn(ours, nil)
	if !l.Park(c) {
		t.Fatal("there was no room")
	}
	return c, theirs
}

func (l *lot) returns(t *testing.T, want *Conn) {
	t.Helper()
	select {
	case c := <-l.back:
		if c != want {
			t.Fatal("another connection came back")
		}
	case <-time.After(patience):
		t.Fatal("it did not come back")
	}
	if n := l.Len(); n != 0 {
		t.Errorf("%d are parked still", n)
	}
}

func TestParking(t *testing.T) {
	l := parking(t)
	f := func(what string, wake func(c *Conn, peer *net.TCPConn)) {
		t.Helper()
		ours, peer := tcpPair(t)
		c := NewConn(ours, nil)
		for range 3 { // a connection is parked many times in its life
			if !l.Park(c) {
				t.Fatalf("%s: there was no room", what)
			}
			time.Sleep(time.Millisecond)
			if n := l.Len(); n != 1 || len(l.back) != 0 {
				t.Fatalf("%s: %d are parked, %d came back by themselves", what, n, len(l.back))
			}
			wake(c, peer)
			l.returns(t, c)
			c.ResumeRead()
			var b [10]byte
			if c.TryRead(b[:]) == 0 { // it ended
				return
			}
		}
	}
	f("bytes", func(_ *Conn, peer *net.TCPConn) { _, _ = peer.Write([]byte("x")) })
	f("end", func(_ *Conn, peer *net.TCPConn) { _ = peer.CloseWrite() })
	f("reset", func(_ *Conn, peer *net.TCPConn) {
		_ = peer.SetLinger(0)
		_ = peer.Close()
	})
	f("kick", func(c *Conn, _ *net.TCPConn) { c.Kick(Draining) })
	f("interruption", func(c *Conn, _ *net.TCPConn) { c.InterruptRead() })
}

// TestParkingEarly: what came, or ended the wait, before the connection was parked brings it back at once.
func TestParkingEarly(t *testing.T) {
	l := parking(t)
	f := func(what string, before func(c *Conn, peer *net.TCPConn)) {
		t.Helper()
		ours, theirs := tcpPair(t)
		c := NewConn(ours, nil)
		before(c, theirs)
		if !l.Park(c) {
			t.Fatalf("%s: there was no room", what)
		}
		l.returns(t, c)
	}
	f("bytes", func(_ *Conn, peer *net.TCPConn) {
		_, _ = peer.Write([]byte("x"))
		time.Sleep(time.Millisecond)
	})
	f("kick", func(c *Conn, _ *net.TCPConn) { c.Kick(Expired) })
	f("interruption", func(c *Conn, _ *net.TCPConn) { c.InterruptRead() })
}

// TestParkingDeadline: the sweeper ends a parked connection's time, too.
func TestParkingDeadline(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	l := parking(t)
	c, _ := l.park(t)
	s.Add(c)
	defer s.Remove(c)
	c.Arm(Now() + int64(10*time.Millisecond))
	l.returns(t, c)
	if c.Kicked() != Expired {
		t.Errorf("kicked for %v", c.Kicked())
	}
}

func TestParkingClosed(t *testing.T) {
	l := parking(t)
	c, _ := l.park(t)
	l.Close()
	c.InterruptRead()
	l.returns(t, c)
	if l.Park(c) {
		t.Error("parked on a parking that is closed")
	}
}

// TestParkingRace ends a wait in several ways at once: the connection comes back once for each time it was parked.
func TestParkingRace(t *testing.T) {
	var back atomic.Int64
	var resumed sync.WaitGroup
	p, err := NewParking(func(c *Conn) {
		back.Add(1)
		resumed.Done()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const times = 500
	for range times {
		ours, theirs := tcpPair(t)
		c := NewConn(ours, nil)
		resumed.Add(1)
		var all sync.WaitGroup
		all.Go(func() { c.InterruptRead() })
		all.Go(func() { c.Kick(Draining) })
		all.Go(func() { _, _ = theirs.Write([]byte("x")) })
		all.Go(func() {
			if !p.Park(c) {
				t.Error("there was no room")
			}
		})
		all.Wait()
		resumed.Wait()
		_ = ours.Close()
		_ = theirs.Close()
	}
	if got := back.Load(); got != times || p.Len() != 0 {
		t.Errorf("parked %d times, back %d times, %d left", times, got, p.Len())
	}
}

// TestParkingPanic: a bug in who resumes a connection closes that one, and others come back.
func TestParkingPanic(t *testing.T) {
	bugs := caught(t)
	back := make(chan *Conn, 1)
	var broken *Conn
	p, err := NewParking(func(c *Conn) {
		if c == broken {
			panic("a bug of the test")
		}
		back <- c
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l := &lot{Parking: p, back: back}
	ours, theirs := tcpPair(t)
	broken = NewConn(ours, nil)
	if !p.Park(broken) {
		t.Fatal("there was no room")
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-bugs:
	case <-time.After(patience):
		t.Fatal("no bug was told")
	}
	c, theirs := l.park(t)
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	l.returns(t, c)
	if err := ours.SetDeadline(time.Time{}); err == nil {
		t.Error("the connection is not closed")
	}
}

// TestGiveBackPanic: a bug while memory is given back ends nobody, and keeps nobody from parking.
func TestGiveBackPanic(t *testing.T) {
	bugs := caught(t)
	p := &Parking{n: releaseFew + 1} // without its timer
	p.giveBack()
	if len(bugs) != 1 {
		t.Errorf("%d bugs were told of", len(bugs))
	}
	if !p.mu.TryLock() {
		t.Error("the lock is held")
	}
}
