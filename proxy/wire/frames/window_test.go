package frames

import (
	"testing"
	"time"
)

func TestSendWindow(t *testing.T) {
	w := SendWindow(InitialWindow)
	f := func(by int64, want bool, left SendWindow) {
		t.Helper()
		if got := w.Grow(by); got != want || w != left {
			t.Errorf("grown by %d: %t and %d left, want %t and %d", by, got, w, want, left)
		}
	}
	w.Sent(InitialWindow)
	f(10, true, 10)
	f(-30, true, -20)
	f(20, true, 0)
	f(WindowMax, true, WindowMax)
	f(1, false, WindowMax+1)
}

func TestShare(t *testing.T) {
	f := func(bytes int, stream, connection SendWindow, room, want int) {
		t.Helper()
		if got := Share(make([]byte, bytes), stream, connection, room); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	f(10, 100, 100, 100, 10)
	f(10, 5, 100, 100, 5)
	f(10, 100, 6, 100, 6)
	f(10, 100, 100, 7, 7)
	f(1<<20, 1<<20, 1<<20, 1<<20, Max)

	f(0, 100, 100, 100, 0)
	f(10, -5, 100, 100, 0)
	f(10, 100, 0, 100, 0)
	f(10, 100, 100, -9, 0)
}

func TestRecvWindow(t *testing.T) {
	w := NewRecvWindow(100)
	took := func(n int64, want bool) {
		t.Helper()
		if got := w.Take(n); got != want {
			t.Errorf("%d more: %t, want %t", n, got, want)
		}
	}
	gives := func(used, enough, low int64, want uint32) {
		t.Helper()
		w.Use(used)
		if got := w.GiveBack(enough, low); got != want {
			t.Errorf("%d are given back, want %d", got, want)
		}
	}
	took(60, true)
	gives(10, 25, 0, 0)
	gives(10, 25, 40, 0)
	gives(5, 25, 0, 25)
	gives(0, 0, 200, 0) // nothing was used
	took(60, true)
	gives(1, 25, 10, 1) // little is left
	took(6, true)
	if w.Open() {
		t.Error("a window that is used up is open")
	}
	took(1, false)
}

// TestAllowance: a burst, then as much as time earns back.
func TestAllowance(t *testing.T) {
	var a Allowance
	now := int64(1 << 60)
	spend := func(n int, want error) {
		t.Helper()
		for range n {
			if err := a.Spend(now, 5, time.Second); err != want {
				t.Fatalf("got %v, want %v", err, want)
			}
		}
	}
	spend(5, nil)
	spend(1, ErrCalm)
	now += int64(3 * time.Second)
	spend(2, nil) // the one that was refused counts
	// Patience is not saved up beyond the burst.
	now += int64(time.Hour)
	spend(5, nil)
	spend(1, ErrCalm)
	// What messages earn is, within bounds.
	a.Earn(100)
	spend(100, nil)
	spend(1, ErrCalm)
	a.Earn(EarnedMax)
	a.Earn(EarnedMax)
	spend(EarnedMax, nil)
	spend(1, ErrCalm)

	if a.Whole(now) || !a.Whole(now+int64(time.Hour)) {
		t.Error("what was spent is there, or is not there after an hour")
	}
	if Worse(a, Allowance{}) != a || Worse(Allowance{}, a) != a {
		t.Error("one of which nothing was spent is worse")
	}
}
