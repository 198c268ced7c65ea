package background

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStart: only the first call counts, and Stop waits for what it began.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		if w.Begun() || w.Over() {
			t.Error("it begins by itself")
		}
		done := ""
		do := func(what string) func() {
			return func() {
				<-w.Life().Done()
				time.Sleep(time.Minute)
				done += what
			}
		}
		w.Start(do("first"))
		w.Start(do("second"))
		synctest.Wait()
		if !w.Begun() || w.Over() || done != "" {
			t.Errorf("begun: %t, over: %t, done: %q", w.Begun(), w.Over(), done)
		}
		w.Stop()
		if done != "first" || !w.Over() || !w.Begun() {
			t.Errorf("after Stop %q is done", done)
		}
		w.Stop()
		w.Start(do("third"))
		synctest.Wait()
		if done != "first" {
			t.Errorf("after Stop it begins again: %q", done)
		}
	})
}

// TestStopFirst: what was stopped never begins.
func TestStopFirst(t *testing.T) {
	w := New()
	w.Stop()
	w.Start(func() { t.Error("it has begun") })
	if w.Begun() || !w.Over() {
		t.Error("it has begun, or is not over")
	}
}

// TestWaits: sleeping and awaiting end in time, when somebody wakes, and with life.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		wake := make(chan struct{}, 1)
		f := func(what string, wait func() bool, want bool, took time.Duration) {
			t.Helper()
			began := time.Now()
			if got := wait(); got != want || time.Since(began) != took {
				t.Errorf("%s: %t after %v, want %t after %v", what, got, time.Since(began), want, took)
			}
		}
		sleep := func() bool { return w.Sleep(time.Minute, wake) }
		await := func() bool { return w.Await(wake) }
		in := func(d time.Duration, do func()) { time.AfterFunc(d, do) }
		rouse := func() { wake <- struct{}{} }

		f("nobody wakes it", sleep, true, time.Minute)
		in(time.Second, rouse)
		f("somebody wakes it", sleep, true, time.Second)
		in(time.Second, rouse)
		f("it comes", await, true, time.Second)
		in(time.Second, w.Stop)
		f("life ends meanwhile", sleep, false, time.Second)
		f("life is over", sleep, false, 0)
		f("life is over", await, false, 0)
		rouse()
		f("it comes too late", await, false, 0)
	})
}
