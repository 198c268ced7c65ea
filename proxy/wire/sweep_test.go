package wire

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// countingConn notes which sweep has ended its waits. Nothing else of it is used.
type countingConn struct {
	net.Conn
	sweeper *Sweeper
	ended   atomic.Int64
}

func (c *countingConn) SetDeadline(time.Time) error {
	c.ended.Store(c.sweeper.Now())
	return nil
}

// TestSweeperMany ends the waits of 10,000 connections with the first sweep that finds their time over, and no wait too early.
// How late that is depends on how busy the machine is, but now and then one sweep has to follow another within two ticks.
func TestSweeperMany(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	const n = 10_000
	least := time.Hour
	for range 10 {
		conns := make([]*Conn, n)
		deadlines, added := make([]int64, n), make([]int64, n)
		now := Now()
		for i := range conns {
			conns[i] = NewConn(&countingConn{sweeper: s}, nil)
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
		ended := func(i int) int64 { return conns[i].Conn.(*countingConn).ended.Load() }
		eventually(t, "every wait has ended", func() bool {
			for i := range conns {
				if i%3 != 2 && ended(i) == 0 {
					return false
				}
			}
			return true
		})
		var sweeps []int64 // those that have ended something
		for i, c := range conns {
			at := ended(i)
			if i%3 == 2 {
				if at != 0 || c.Kicked() != 0 {
					t.Fatalf("connection %d was kicked", i)
				}
			} else if at < deadlines[i] || c.Kicked() != Expired {
				t.Fatalf("connection %d was kicked for %d, %s early", i, c.Kicked(), time.Duration(deadlines[i]-at))
			} else if !slices.Contains(sweeps, at) {
				sweeps = append(sweeps, at)
			}
			s.Remove(c)
		}
		slices.Sort(sweeps)
		for i := range conns {
			due := max(deadlines[i], added[i]) // what was over before it was added counts from there
			if first, _ := slices.BinarySearch(sweeps, due); i%3 != 2 && ended(i) > due && sweeps[first] != ended(i) {
				t.Fatalf("connection %d was passed over: its wait ended %s after a sweep that came in time", i, time.Duration(ended(i)-sweeps[first]))
			}
		}
		for i := range len(sweeps) - 1 {
			least = min(least, time.Duration(sweeps[i+1]-sweeps[i]))
		}
		if n := len(s.lists[0]) + len(s.lists[1]); n != 0 {
			t.Fatalf("%d connections are left", n)
		}
		if least <= 2*Tick {
			return
		}
	}
	t.Fatalf("no sweep came earlier than %s after another", least)
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

// caught returns what OnPanic is told for the length of a test.
func caught(t *testing.T) chan any {
	t.Helper()
	bugs, before := make(chan any, 10), OnPanic
	OnPanic = func(p any) { bugs <- p }
	t.Cleanup(func() { OnPanic = before })
	return bugs
}

// TestSweepPanic: a bug over one connection keeps nobody from looking at the others.
func TestSweepPanic(t *testing.T) {
	bugs := caught(t)
	broken := new(Conn) // there is nothing that could be ended
	broken.Arm(1)
	ours, _ := tcpPair(t)
	fine := NewConn(ours, nil)
	fine.Arm(1)
	sweepAll([]*Conn{broken, fine}, 2)
	if len(bugs) != 1 {
		t.Errorf("%d bugs were told, want 1", len(bugs))
	}
	if fine.Kicked() != Expired {
		t.Error("the other connection was not looked at")
	}
}
