package server

import (
	"io"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Read, Buffered, Interrupt and Close make a stream the flow of its request's body. Whoever reads is held to nothing: what the
// client sends ahead is bounded by its window. The client is held to the minimum rate, as in requestBody.read.

// Read reads the body. Safe for concurrent use with all but itself.
func (st *h2stream) Read(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case st.failed != nil:
			return 0, st.failed
		case st.ended && st.taken == st.arrived:
			return 0, io.EOF // also when it is closed: whoever has read it all may learn so late
		case st.closed:
			return 0, errBodyGone
		case len(p) == 0:
			return 0, nil
		case st.body.Len() > 0:
			n := st.body.Take(p)
			st.taken += int64(n)
			c.giveBack(int64(n))
			st.giveBack(int64(n))
			if rate := st.limits.MinRate; rate > 0 {
				st.recvCredit = min(st.recvCredit+int64(n)*int64(time.Second)/rate, int64(st.limits.HeadTimeout))
			}
			return n, nil
		case st.recvCredit <= 0 && st.limits.MinRate > 0:
			st.closed = true
			return 0, proxy.ErrSlowBody
		case st.x.CallOver():
			return 0, proxy.ErrCallTimeout
		}
		if st.expecting && !st.headOut {
			var none wire.Head
			st.out += c.writeHead(st.id, 100, &none, -1, false)
		}
		st.expecting = false
		if st.recvWindow.Open() && c.recvWindow.Open() {
			st.wait(&st.recvCredit)
		} else {
			// The client may not send: what it has sent on other streams waits for services that do not read.
			free := int64(windowLook)
			st.wait(&free)
		}
	}
}

// windowLook is how often a closed window is looked at.
const windowLook = 100 * time.Millisecond

// Buffered is how many bytes Read can return without waiting.
func (st *h2stream) Buffered() int {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.body.Len()
}

// Interrupt ends a read under way and fails later ones.
func (st *h2stream) Interrupt() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.closeBody()
}

// Close leaves the rest of the body unread: what still comes of it is dropped.
func (st *h2stream) Close() error {
	st.Interrupt()
	return nil
}

func (st *h2stream) closeBody() {
	st.closed = true
	st.c.giveBack(st.body.Clear())
	st.changed.Broadcast()
}

// giveBack lets the client send n bytes more of the body. Not each read is worth a frame.
func (st *h2stream) giveBack(n int64) {
	st.recvWindow.Use(n)
	if st.ended {
		return
	}
	if more := st.recvWindow.GiveBack(streamWindow/4, 0); more > 0 {
		_ = st.c.framer.WriteWindowUpdate(st.id, more)
	}
}
