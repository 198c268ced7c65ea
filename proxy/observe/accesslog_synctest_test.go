package observe

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
)

func TestFlushEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		l, err := NewAccessLog(AccessLogOptions{Open: to(&out), Sample: 1, Format: "$service"})
		if err != nil {
			t.Fatal(err)
		}
		l.Finish(&proxy.Exchange{Service: "a"})
		l.Finish(&proxy.Exchange{Service: "b"})
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("%q was written at once", got)
		}
		time.Sleep(flushEvery)
		synctest.Wait()
		if got := out.String(); got != "a\nb\n" || out.writes != 1 {
			t.Errorf("got %q in %d writes", got, out.writes)
		}
		time.Sleep(10 * flushEvery)
		if out.writes != 1 {
			t.Error("nothing was written all the same")
		}
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if out.closed != 1 {
			t.Errorf("closed %d times", out.closed)
		}
	})
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		l, err := NewAccessLog(AccessLogOptions{Open: to(&out), Sample: 1, Format: "$time"})
		if err != nil {
			t.Fatal(err)
		}
		f := func(sleep time.Duration) {
			time.Sleep(sleep)
			l.Finish(&proxy.Exchange{})
		}
		f(0) // the bubble begins at midnight of 2000-01-01
		f(7 * time.Millisecond)
		f(992 * time.Millisecond)
		f(time.Millisecond)
		f(24*time.Hour + 30*time.Second + 123456789)
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		const want = "2000-01-01T00:00:00.000Z\n2000-01-01T00:00:00.007Z\n2000-01-01T00:00:00.999Z\n2000-01-01T00:00:01.000Z\n" +
			"2000-01-02T00:00:31.123Z\n"
		if got := out.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// stuck is an output whose reader has stopped reading until it is let go.
type stuck struct {
	buffer
	letGo chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.letGo
	return s.buffer.Write(p)
}

// TestStuckWriter: nobody waits for a reader that has stopped; what does not fit is counted, the rest is kept.
func TestStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{letGo: make(chan struct{})}
		l, err := NewAccessLog(AccessLogOptions{Open: to(out), Sample: 1, Format: strings.Repeat("x", 1023)})
		if err != nil {
			t.Fatal(err)
		}
		const lines = 3 * blockCount * blockSize / 1024
		before := time.Now()
		for range lines {
			l.Finish(&proxy.Exchange{})
			synctest.Wait() // the writer takes what it can
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("requests waited %v", waited)
		}
		if got, want := l.Dropped(), uint64(lines-blockCount*blockSize/1024); got != want {
			t.Errorf("dropped %d, want %d", got, want)
		}

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(before))
		}
		close(out.letGo)
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "x\n"); got != blockCount*blockSize/1024 {
			t.Errorf("%d lines were written", got)
		}
	})
}

// flaky fails while it is told to, after having written part bytes.
type flaky struct {
	buffer
	failing atomic.Bool
	part    int
}

func (f *flaky) Write(p []byte) (int, error) {
	if !f.failing.Load() {
		return f.buffer.Write(p)
	}
	n, err := f.buffer.Write(p[:min(f.part, len(p))])
	if err != nil {
		return n, err
	}
	return n, errors.New("no space left on device")
}

// TestWriteFails: lost lines are counted, the log recovers, and no line is glued to half of another.
func TestWriteFails(t *testing.T) {
	f := func(part int, wantDropped uint64, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			out := &flaky{part: part}
			l, err := NewAccessLog(AccessLogOptions{Open: to(out), Sample: 1, Format: "$service"})
			if err != nil {
				t.Fatal(err)
			}
			log := func(names ...string) {
				for _, name := range names {
					l.Finish(&proxy.Exchange{Service: name})
				}
				time.Sleep(2 * flushEvery)
			}
			time.Sleep(flushEvery / 2) // so that what is logged never meets a tick
			log("one")
			out.failing.Store(true)
			log("two", "three", "four")
			out.failing.Store(false)
			log("five")
			if err := l.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != want || l.Dropped() != wantDropped {
				t.Errorf("got %q, dropped %d, want %q, dropped %d", got, l.Dropped(), want, wantDropped)
			}
		})
	}
	f(0, 3, "one\nfive\n")
	f(2, 3, "one\ntw\nfive\n")
	f(4, 2, "one\ntwo\nfive\n")
	f(6, 2, "one\ntwo\nth\nfive\n")
}

func TestCloseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &flaky{}
		out.failing.Store(true)
		l, err := NewAccessLog(AccessLogOptions{Open: to(out), Sample: 1, Format: "x"})
		if err != nil {
			t.Fatal(err)
		}
		l.Finish(&proxy.Exchange{})
		if err := l.Close(context.Background()); err == nil {
			t.Error("the loss of the last lines went unsaid")
		}
		if l.Dropped() != 1 {
			t.Errorf("dropped %d", l.Dropped())
		}
	})
}
