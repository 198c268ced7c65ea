package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// held runs Hold on one end of a connection in a goroutine. Each time bytes are there it answers them with "." and goes on,
// unless they hold an "!".
type held struct {
	conn *Conn
	peer *net.TCPConn
	got  chan string
	done chan error
}

func holding(t *testing.T, s *Sweeper) *held {
	t.Helper()
	ours, theirs := tcpPair(t)
	h := &held{conn: NewConn(ours, nil), peer: theirs, got: make(chan string, 100), done: make(chan error, 1)}
	if s != nil {
		s.Add(h.conn)
		t.Cleanup(func() { s.Remove(h.conn) })
	}
	var r Reader
	r.Init(h.conn, Small)
	go func() {
		h.done <- h.conn.Hold(&r, func() bool {
			b := string(r.Bytes())
			r.Skip(len(b))
			r.Unpin()
			h.got <- b
			_, err := h.conn.Write([]byte("."))
			return err == nil && !bytes.ContainsRune([]byte(b), '!')
		})
	}()
	return h
}

func (h *held) say(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(h.peer, s); err != nil {
		t.Fatal(err)
	}
}

func (h *held) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-h.got:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
		var b [1]byte
		if _, err := io.ReadFull(h.peer, b[:]); err != nil || b[0] != '.' {
			t.Fatalf("the answer is %q, %v", b, err)
		}
	case <-time.After(patience):
		t.Fatalf("did not hear %q", want)
	}
}

func (h *held) ends(t *testing.T, within time.Duration) error {
	t.Helper()
	select {
	case err := <-h.done:
		return err
	case <-time.After(within):
		t.Fatalf("the hold has not ended within %v", within)
		return nil
	}
}

func TestHold(t *testing.T) {
	h := holding(t, nil)
	for _, s := range []string{"one", "two", "three"} {
		h.say(t, s)
		h.hears(t, s)
	}
	h.say(t, "end!")
	h.hears(t, "end!")
	if err := h.ends(t, patience); err != nil {
		t.Error(err)
	}
}

// TestHoldFull sends more than the reader's buffer takes in one read: what is left must not wait for more to come.
func TestHoldFull(t *testing.T) {
	h := holding(t, nil)
	h.say(t, string(bytes.Repeat([]byte("x"), 3*Small+10)))
	total := 0
	for total < 3*Small+10 {
		select {
		case s := <-h.got:
			total += len(s)
		case <-time.After(patience):
			t.Fatalf("%d bytes came", total)
		}
	}
}

// TestHoldClose has a peer that closes in the same moment as its last bytes arrive, which the poller tells only once.
func TestHoldClose(t *testing.T) {
	s := NewSweeper()
	defer s.Stop()
	for range 20 {
		ours, theirs := tcpPair(t)
		c := NewConn(ours, nil)
		s.Add(c)
		if _, err := io.WriteString(theirs, "bye"); err != nil {
			t.Fatal(err)
		}
		if err := theirs.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // both are there before anybody looks
		var r Reader
		r.Init(c, Small)
		began := time.Now()
		err := c.Hold(&r, func() bool {
			r.Skip(r.Buffered())
			r.Unpin()
			return true
		})
		if err != io.EOF {
			t.Errorf("the hold ended with %v", err)
		}
		// Some ticks are what it takes. A hold that is told nothing ends all the same when it has been idle for long, after 5 s.
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("the end was noticed after %v", took)
		}
		s.Remove(c)
	}
}

// TestHoldVerified leaves a held connection alone for long enough to be asked about, and then speaks again.
func TestHoldVerified(t *testing.T) {
	s := NewSweeper()
	h := holding(t, s)
	for range 3 {
		h.say(t, "hello")
		h.hears(t, "hello")
		// One wait has to last for three whole sweeps: the first may meet the connection before it waits, the next sees it, and
		// the last one asks. How many a busy machine makes in a time is not known.
		wait, tick, ticks := uint64(0), int64(0), 0
		eventually(t, "the sweeper has come by", func() bool {
			if v := h.conn.holding.trust.Load(); v == 0 || v != wait {
				wait, tick, ticks = v, s.Now(), 0
			} else if now := s.Now(); now != tick {
				tick = now
				ticks++
			}
			return ticks >= 4 // the last of them may be under way
		})
	}
	s.Stop()
	if h.conn.holding.ticks == 0 {
		t.Error("the sweeper has not asked about an idle connection")
	}
}

// TestHoldIdle has a sweeper whose clock is ahead by the time after which a connection is idle.
func TestHoldIdle(t *testing.T) {
	h := holding(t, nil)
	h.say(t, "hello")
	h.hears(t, "hello")
	// The poller may tell of bytes that the first look has found already: the owner looks once more then, and begins another wait,
	// for which ticks are counted anew.
	hold := &h.conn.holding
	eventually(t, "a wait is nearly long enough", func() bool {
		if hold.ticks < idleTicks-1 {
			h.conn.verify()
			return false
		}
		select {
		case err := <-h.done:
			t.Fatalf("the hold has ended too early, with %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if hold.trust.Load() == hold.seen {
			return true
		}
		h.conn.verify()
		return false
	})
	h.conn.verify()
	if err := h.ends(t, patience); err != ErrIdle {
		t.Errorf("the hold ended with %v", err)
	}
}

// TestHoldNudge plays a sweeper that finds something which is not there: the hold has to go on, deadline and all.
func TestHoldNudge(t *testing.T) {
	h := holding(t, nil)
	nudges := 0
	for range 100 {
		h.say(t, "hello")
		h.hears(t, "hello")
		time.Sleep(time.Millisecond)
		hold := &h.conn.holding
		// After a wake-up for bytes that were read already the owner has asked itself, and there is no trust.
		if v := hold.trust.Load(); v != 0 {
			h.conn.nudge(v, nudged)
			nudges++
		}
	}
	if nudges == 0 {
		t.Error("the owner never parked on trust")
	}
	h.say(t, "end!")
	h.hears(t, "end!")
	if err := h.ends(t, patience); err != nil {
		t.Error(err)
	}
}

func TestHoldKicked(t *testing.T) {
	h := holding(t, nil)
	h.say(t, "hello")
	h.hears(t, "hello")
	h.conn.Kick(Draining)
	var kicked *KickedError
	if err := h.ends(t, patience); !errors.As(err, &kicked) || kicked.Reason != Draining {
		t.Errorf("the hold ended with %v", err)
	}
}

func TestHoldInterrupted(t *testing.T) {
	h := holding(t, nil)
	h.say(t, "hello")
	h.hears(t, "hello")
	h.conn.InterruptRead()
	var kicked *KickedError
	if err := h.ends(t, patience); !errors.As(err, &kicked) || kicked.Reason != Canceled {
		t.Errorf("the hold ended with %v", err)
	}
}

// TestHoldWrites has answers that the peer does not take at once.
func TestHoldWrites(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := NewConn(ours, nil)
	const size = 8 << 20
	var r Reader
	r.Init(c, Small)
	done := make(chan error, 1)
	go func() {
		var failed error
		if err := c.Hold(&r, func() bool {
			r.Skip(r.Buffered())
			r.Unpin()
			_, failed = c.Write(make([]byte, size))
			return false
		}); err != nil {
			failed = err
		}
		done <- failed
	}()
	if _, err := io.WriteString(theirs, "go"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if n, err := io.CopyN(io.Discard, theirs, size); n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHoldAbort aborts from within, where Close would wait for ever.
func TestHoldAbort(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := NewConn(ours, nil)
	var r Reader
	r.Init(c, Small)
	done := make(chan error, 1)
	go func() {
		err := c.Hold(&r, func() bool {
			c.Abort()
			return false
		})
		_ = c.Close()
		done <- err
	}()
	if _, err := io.WriteString(theirs, "go"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Abort waits for itself")
	}
	if _, err := io.ReadAll(theirs); err == nil {
		t.Error("the peer saw an end and not a reset")
	}
}

func tcpPair(t *testing.T) (ours net.Conn, theirs *net.TCPConn) {
	t.Helper()
	ours, far := pair(t, "tcp")
	return ours, far.(*net.TCPConn)
}
