package server

import (
	"io"
	"sync"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// TestH3_neglectCounted: a body is neglected while somebody ought to read it and nobody does.
func TestH3_neglectCounted(t *testing.T) {
	c := &h3{}
	f := func(end func(st *h3stream), want bool) {
		t.Helper()
		st := &h3stream{c: c, str: nil} // which is used only while a read is under way
		st.unread = sync.Cond{L: &st.mu}
		st.incoming.reset(&proxy.Limits{})
		st.declared = -1
		x := proxy.Acquire()
		defer x.Release()
		st.fillBody(x, false)
		if !c.neglect.any() {
			t.Error("a body that nobody reads as yet is not neglected")
		}
		for range 2 {
			if err := st.enter(); err != nil || c.neglect.any() {
				t.Errorf("a body that is read: %v, neglected %v", err, c.neglect.any())
			}
			if err := st.leave(1, nil); err != nil || !c.neglect.any() {
				t.Errorf("a body that nobody reads any more: %v, neglected %v", err, c.neglect.any())
			}
		}
		end(st)
		if c.neglect.any() != want {
			t.Errorf("neglected %v at the end, want %v", !want, want)
		}
		_ = x.Request.Body.Close()
		if c.neglect.any() {
			t.Error("a body that is closed is neglected")
		}
	}
	f(func(*h3stream) {}, true)
	f(func(st *h3stream) { st.Interrupt() }, false)
	f(func(st *h3stream) { st.drop(proxy.ErrClientGone) }, false)
	f(func(st *h3stream) {
		_ = st.enter()
		if err := st.leave(0, io.EOF); err != io.EOF {
			t.Errorf("got %v", err)
		}
	}, false)
	// Nobody reads on in a body that was too slow: it may have ended in the middle of its trailers.
	f(func(st *h3stream) {
		_ = st.enter()
		if err := st.leave(0, proxy.ErrSlowBody); err != proxy.ErrSlowBody {
			t.Errorf("got %v", err)
		}
		if _, err := st.Read(make([]byte, 1)); err != errBodyGone {
			t.Errorf("then got %v", err)
		}
	}, false)
}

// TestH3_excuse: a neglected body beside it excuses a body for a while, which only bytes make longer.
func TestH3_excuse(t *testing.T) {
	const second = int64(time.Second)
	lim := proxy.Limits{MinRate: wire.Small, HeadTimeout: 4 * time.Second}
	c := &h3{}
	st := &h3stream{c: c}
	st.incoming.reset(&lim)
	st.recvCredit, st.excuse = int64(lim.HeadTimeout), st.sendCreditMax()
	most := 4*second + windowBytes/wire.Small*second
	f := func(neglect int32, waited int64, n int, credit, excuse int64) {
		t.Helper()
		c.neglect.bodies.Store(neglect)
		st.charge(waited, n)
		if st.recvCredit != credit || st.excuse != excuse {
			t.Errorf("got the credit %v and the excuse %v, want %v and %v",
				time.Duration(st.recvCredit), time.Duration(st.excuse), time.Duration(credit), time.Duration(excuse))
		}
	}
	f(0, second, 0, 3*second, most) // nothing is neglected
	f(1, 10*second, 0, 3*second, most-10*second)
	f(1, most-10*second-1, 0, 3*second, 1)
	if got := st.patience(); got != int64(windowLook) {
		t.Errorf("an excused body is looked at again after %v", time.Duration(got))
	}
	f(1, second+1, 0, 2*second, 0) // the excuse is used up
	if got := st.patience(); got != 2*second {
		t.Errorf("the client is waited for for %v", time.Duration(got))
	}
	f(1, 3*second, 0, -second, 0)
	f(1, second, wire.Small, -second, 0) // what a second of the minimum rate earns, it takes
	f(0, 0, 8*wire.Small, 4*second, 3*second)
	f(0, 0, 100*wire.Small, 4*second, most)
	f(7, 5*second, 0, 4*second, most-5*second)
}
