package server

import (
	"errors"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// This file is about calls of gRPC whose clients say how long they wait (grpc-timeout): of the route's timeout and that time the earlier one
// counts until the head is there, and after it the client's alone. There is no timer for it. Whoever waits on behalf of an exchange has a
// limit already, be it the upstream for the service or an edge for its client, and of a call the limit is no later than its end; and whoever
// need not wait asks what time it is.

// runCall runs the chain for a call whose time is limited. What fails because there is no time left is told as that: in the words of whoever
// has waited, a limit on connections say, it would look as if another call could do better.
func runCall(x *proxy.Exchange) error {
	if x.Deadline == 0 || x.CallBy < x.Deadline {
		x.Deadline = x.CallBy
	}
	err := x.Route.Chain.Serve(x)
	if err != nil && x.Deadline == x.CallBy && x.CallOver() && proxy.AsError(err).Side != proxy.ByClient {
		return proxy.ErrCallTimeout.With(err)
	}
	return err
}

// endCall ends a call in the middle of its response, as a server of gRPC would that keeps the time, and reports whether it has. Only trailers
// can say so, and they end only what can end anywhere: a message that has not come whole is then no message.
func endCall(to stream, x *proxy.Exchange, why error) bool {
	r := &x.Response
	if !isCallTimeout(why) || x.ClientGRPC() != proxy.PlainGRPC || r.Body.Size() >= 0 || r.Head.Has("grpc-status") {
		return false
	}
	if form, _ := proxy.ParseGRPC(r.Head.GetKnown(wire.ContentType)); form != proxy.PlainGRPC {
		return false // whoever has answered does not speak gRPC
	}
	var trailers wire.Head
	trailers.Add("grpc-status", wire.AppendUint(nil, uint64(proxy.ErrCallTimeout.GRPCStatus())))
	trailers.Add("grpc-message", x.AppendGRPCMessage(nil, proxy.ErrCallTimeout))
	return to.sendHead(0, &trailers, -1, true) == nil
}

// promptly is how soon a call has to be over for it to count as one that was made for nothing. What has been waited for longer has held its place
// among the client's streams, of which there are no more than of calls that are answered.
const promptly = time.Second

// waitedOut reports whether a call that ends because its time is over, be it by the client, whose clock is ahead of ours, was waited for.
func waitedOut(began, callBy int64) bool {
	waited := wire.Now() - began
	return callBy != 0 && waited >= int64(promptly) && waited >= (callBy-began)/2
}

// wasted reports whether a service was asked and left alone at once, because the client had given its call no time: to the service it is
// as if the client had reset it, and it counts as much (see flood). A call that has only waited for one of the service's connections has
// cost the service nothing.
func wasted(x *proxy.Exchange) bool {
	return x.CallBy != 0 && x.Asked && (x.Err != nil && isCallTimeout(x.Err) || isCallTimeout(x.ErrCause)) && !waitedOut(x.Started, x.CallBy)
}

func isCallTimeout(err error) bool {
	var e *proxy.Error
	return errors.As(err, &e) && e.Code == proxy.ErrCallTimeout.Code
}
