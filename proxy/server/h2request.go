package server

import (
	"sluice/proxy"
	"sluice/proxy/wire"
)

// fillBody makes the body what has arrived of it, if that is all, else a flow.
func (st *h2stream) fillBody(x *proxy.Exchange) {
	c, r := st.c, &x.Request
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.ended && st.body.Len() == 0 && !st.trailers:
		return
	case st.ended && st.failed == nil && !st.trailers:
		if b, n := st.body.Detach(); b != nil {
			x.Hold(b)
			r.Body.SetWhole(b.B[:n])
			st.taken = int64(n)
			c.giveBack(st.taken)
			return
		}
	}
	r.Body.SetFlow(nil, st, st.declared)
	if r.Head.HasKnown(wire.Expect) && st.arrived == 0 && !st.ended {
		r.ExpectContinue = true
		st.expecting = true
	}
}
