package server

import (
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// TestWasted: a call counts as a reset if a service was asked and the time was over soon. One that waits in vain for one of the service's
// connections is an attempt, and does not count.
func TestWasted(t *testing.T) {
	f := func(asked bool, err *proxy.Error, waited time.Duration, want bool) {
		t.Helper()
		x := proxy.Acquire()
		defer x.Release()
		x.Started = wire.Now() - int64(waited)
		x.CallBy = x.Started + int64(waited)
		x.Attempts, x.Asked, x.Err = 1, asked, err
		if got := wasted(x); got != want {
			t.Errorf("asked %v, %v after %s: %v", asked, err, waited, got)
		}
	}
	f(true, proxy.ErrCallTimeout, 300*time.Millisecond, true)
	f(false, proxy.ErrCallTimeout, 300*time.Millisecond, false)
	f(true, proxy.ErrCallTimeout, promptly, false)
	f(true, proxy.ErrInternal, 300*time.Millisecond, false)
	f(true, nil, 300*time.Millisecond, false)
}
