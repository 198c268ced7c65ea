package upstream

import (
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// beginCall is asked when x could be sent. A call whose time is over is not sent any more, and of one that has waited here the service is told
// how much of its time is left, as every server of gRPC tells those that it calls in turn: one that counts from the arrival would work on for
// a client that has left. As long as less than a hundredth is gone the field goes on as it has come: the difference is less than that of clocks
// and networks, and each other value would be another one for the compression of HTTP/2 to keep.
func beginCall(x *proxy.Exchange) error {
	if x.CallBy == 0 {
		return nil
	}
	left := time.Duration(x.CallBy - wire.Now())
	if left <= 0 {
		return timeout(x)
	}
	// A policy may have taken the field away, or have given the service less.
	if said, ok := x.Request.GRPCTimeout(); ok && said-left > said/100 {
		x.Request.Head.Set("grpc-timeout", proxy.AppendGRPCTimeout(nil, left))
	}
	return nil
}

// timeout is what a wait for an origin ends with that was too long. That a client gives its call less time than the route has says nothing about
// the origin, which is why it is told apart: nobody may count it against the endpoint.
func timeout(x *proxy.Exchange) error {
	if x.CallOver() && (x.Deadline == x.CallBy || x.HeadAt != 0) {
		return proxy.ErrCallTimeout
	}
	return errTimeout
}

// within is the earlier one of until, 0 for never, and the end of x as a call.
func within(x *proxy.Exchange, until int64) int64 {
	if x.CallBy != 0 && (until == 0 || x.CallBy < until) {
		return x.CallBy
	}
	return until
}
