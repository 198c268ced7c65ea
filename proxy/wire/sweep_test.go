package wire

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// countingConn notes when its waits were ended. Nothing else of it is used.
type countingConn struct {
	net.Conn
	ended atomic.Int64
}

func (c *countingConn) SetDeadline(time.Time) error {
	c.ended.Store(Now())
	return nil
}

// TestSweeperMany ends the waits of 10,000 connections at most two ticks late, and no wait too early. A busy machine may
// make a sweep late, but not ten times in a row.
func TestSweeperMany(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	const n = 10_000
	late := time.Duration(0)
	for range 10 {
		conns := make([]*Conn, n)
		deadlines, added := make([]int64, n), make([]int64, n)
		now := Now()
		for i := range conns {
			conns[i] = NewConn(&countingConn{}, nil)
			deadlines[i] = now + int64(time.Duration(i%150)*time.Millisecond)
			switch i % 3 {
			case 0:
				conns[i].ArmWrite(deadlines[i])
			case 1:
				conns[i].Arm(deadlines[i])
			default: // armed far away, or disarmed again
				conns[i].Arm(now + int64(time.Hour))
				if i%2 == 0 {
					conns[i].Arm(deadlines[i])
					conns[i].Disarm()
				}
			}
			s.Add(conns[i])
			added[i] = Now()
		}
		eventually(t, "every wait has ended", func() bool {
			for i, c := range conns {
				if i%3 != 2 && c.Kicked() == 0 {
					return false
				}
			}
			return true
		})
		late = 0
		for i, c := range conns {
			ended := c.Conn.(*countingConn).ended.Load()
			if i%3 == 2 {
				if ended != 0 || c.Kicked() != 0 {
					t.Fatalf("connection %d was kicked", i)
				}
			} else {
				eventually(t, "the wait is ended", func() bool { ended = c.Conn.(*countingConn).ended.Load(); return ended != 0 })
				if ended < deadlines[i] || c.Kicked() != Expired {
					t.Fatalf("connection %d was kicked for %d, %s early", i, c.Kicked(), time.Duration(deadlines[i]-ended))
				}
				// What was over before it was added counts from there.
				late = max(late, time.Duration(ended-max(deadlines[i], added[i])))
			}
			s.Remove(c)
		}
		if n := len(s.lists[0]) + len(s.lists[1]); n != 0 {
			t.Fatalf("%d connections are left", n)
		}
		if late <= 2*Tick {
			return
		}
	}
	t.Fatalf("a wait ended %s late", late)
}

// TestSweeperRemove forgets a connection wherever it stands in the list, and any number of times.
func TestSweeperRemove(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	conns := make([]*Conn, 100)
	for i := range conns {
		conns[i] = NewConn(&countingConn{}, nil)
		s.Add(conns[i])
	}
	left := make(map[*Conn]bool)
	for i, c := range conns {
		if i*37%100 < 60 {
			s.Remove(c)
			s.Remove(c)
		} else {
			left[c] = true
		}
	}
	seen := 0
	s.Each(func(c *Conn) {
		seen++
		if !left[c] {
			t.Error("a removed connection is still there")
		}
	})
	if seen != len(left) {
		t.Fatalf("%d of %d are there", seen, len(left))
	}
	s.Remove(NewConn(&countingConn{}, nil)) // never added
}

// TestEndWrite ends a write whose peer takes enough, when it is to end whatever the peer takes, and no sooner.
func TestEndWrite(t *testing.T) {
	t.Parallel()
	s := NewSweeper()
	defer s.Stop()
	near, far := pair(t, "tcp")
	go func() {
		// So much at a time that TCP tells of it with each read or two, and so seldom that all of it takes seconds.
		buf := make([]byte, 64<<10)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	c := NewConn(near, nil)
	s.Add(c)
	defer s.Remove(c)
	const again = 300 * time.Millisecond // in which a peer on a busy machine has to have had its turn
	if !c.WriteRate(1, again) {
		t.Fatal("a connection of TCP does not tell what its peer takes")
	}
	large := make([]byte, 256<<20) // takes the peer longer than anybody waits
	end := Now() + int64(2*again+again/2)
	c.EndWrite(end)
	c.ArmWrite(Now() + int64(again))
	_, err := c.Write(large)
	if now := Now(); c.Kicked() != Expired || now < end {
		t.Errorf("the write ended %s after its time, with %v", time.Duration(now-end), err)
	}
}

// TestWatchReset tells of a reset, once, and of nothing else.
func TestWatchReset(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	near, far := pair(t, "tcp")
	told := make(chan struct{}, 10)
	c := NewConn(near, func() { told <- struct{}{} })
	s.Add(c)
	defer s.Remove(c)
	c.WatchReset(Now())
	eventually(t, "the sweeper has looked", func() bool { return c.hangup.Load() > Now() })
	if len(told) > 0 {
		t.Fatal("told of a reset that has not been")
	}
	NewConn(far, nil).Abort()
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("the reset was not noticed")
	}
	if c.hangup.Load() != 0 {
		t.Fatal("the sweeper goes on looking")
	}
}
