package proxy

import (
	"io"

	"sluice/proxy/wire"
	"sluice/router"
)

// Nobody is the edge of an exchange that no client waits for: informational responses go nowhere.
type Nobody struct{}

// Interim implements Edge.
func (Nobody) Interim(*Exchange, int, *wire.Head) error { return nil }

// relayed is the edge of a fork whose parent waits for it: informational responses are the client's.
type relayed struct{ parent *Exchange }

func (r relayed) Interim(_ *Exchange, status int, h *wire.Head) error {
	_ = r.parent.Edge.Interim(r.parent, status, h) // a client that has gone ends its own exchange, not what others wait for, too
	return nil
}

// Fork returns an exchange for the same request, as it is now, without its body. What it needs of x is copied, so that it may
// outlive x; whoever has forked it ends it with End, or hands it to Adopt. Until x has what it waits for, the fork's informational
// responses go to x's client; after Leave, or a return of the goroutine that serves x, they must not.
//
// A fork has its own response, finishers and cancellation: see CancelFork. Nobody logs or counts it.
func (x *Exchange) Fork() *Exchange {
	c := Acquire()
	r, of := &c.Request, &x.Request
	r.Method, r.Scheme = of.Method, of.Scheme
	r.Host, r.Path, r.Query, r.HasQuery = c.copied(of.Host), c.copied(of.Path), c.copied(of.Query), of.HasQuery
	r.Head.Load(c.KeepScratch(of.Head.AppendTo(c.Scratch())))
	r.TakesTrailers = of.TakesTrailers
	r.Decided = append(r.Decided, of.Decided...)
	c.Received = x.Received
	c.Received.Method, c.Received.Target, c.Received.Origin = c.copied(x.Received.Method), c.copied(x.Received.Target), c.copied(x.Received.Origin)
	c.Client = x.Client
	c.Client.Text = c.copied(x.Client.Text)
	c.Edge = relayed{x}
	c.Snapshot, c.Route, c.Match = x.Snapshot, x.Route, x.Match
	c.MatchedPath = c.copied(x.MatchedPath)
	c.Lookup = router.Request{Method: c.Received.Method, Host: c.copied(x.Lookup.Host), Path: c.MatchedPath, Values: c}
	c.ID, c.Page, c.Token = c.copied(x.ID), c.copied(x.Page), c.copied(x.Token)
	c.Started, c.Deadline, c.CallBy = x.Started, x.Deadline, x.CallBy
	c.others = append(c.others, x.others...)
	c.Identity, c.ByAuthorization, c.Proof, c.Bucket, c.GRPCWeb = x.Identity, x.ByAuthorization, x.Proof, x.Bucket, x.GRPCWeb
	c.Waited = true // its time has little to do with Started
	return c
}

// copied copies b into memory of the exchange. What is nil stays it.
func (x *Exchange) copied(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) == 0 {
		return []byte{}
	}
	return x.KeepScratch(append(x.Scratch(), b...))
}

// Leave says that the fork is on its own from here: nobody waits for it.
func (x *Exchange) Leave() { x.Edge = Nobody{} }

// End finishes a fork that nobody has adopted, wherever its response stands.
func (x *Exchange) End() {
	_ = x.Response.Body.Close() // whatever it says, nobody wants more of it
	x.Wait()
	x.Finish()
	x.Release()
}

// Adopt makes the response of a fork x's own. The fork lives on inside x, is canceled with it and ends with it.
func (x *Exchange) Adopt(c *Exchange) {
	if x.adopted != nil {
		panic("BUG: an exchange adopts twice")
	}
	x.adopted = c
	x.OnFinish(ender{c})
	to, from := &x.Response, &c.Response
	to.Status, to.Reason, to.Via, to.Tunnel = from.Status, from.Reason, from.Via, from.Tunnel
	to.OpenEnded = from.OpenEnded
	to.Head, from.Head = from.Head, to.Head
	to.Trailers, from.Trailers = from.Trailers, to.Trailers
	to.Decided = append(to.Decided[:0], from.Decided...)
	to.Body = from.Body
	from.Body = Body{}
	if to.Body.flow != nil {
		to.Body.flow = &adoptedFlow{Flow: to.Body.flow, x: x, c: c}
	}
	x.editors = append(x.editors, c.editors...)
	x.Learn(c)
	c.Leave()
	x.CancelFork(c, nil)
}

// CancelFork makes Cancel end a fork, too, that x waits for; nil: none any more. spared, if not nil, is asked in that moment whether somebody
// else wants the fork to go on.
func (x *Exchange) CancelFork(c *Exchange, spared func() bool) {
	x.cancel.Lock()
	defer x.cancel.Unlock()
	x.cancel.child, x.cancel.spared = c, spared
	if why := x.Canceled(); why != nil && c != nil && (spared == nil || !spared()) {
		c.Cancel(why)
	}
}

// RunEditors lets those who want to edit the head do so now. They are not asked again.
func (x *Exchange) RunEditors() {
	x.EditHead()
	clear(x.editors)
	x.editors = x.editors[:0]
}

// Learn takes over what a fork has learned about where the answer came from, for the log and the metrics.
func (x *Exchange) Learn(c *Exchange) {
	x.Service, x.Endpoint, x.Attempts, x.Asked = c.Service, c.Endpoint, c.Attempts, c.Asked
	x.UpstreamAt, x.HeadAt, x.Waited = c.UpstreamAt, c.HeadAt, true
}

// adoptedFlow is the body of a response that was adopted: its trailers arrive in the fork.
type adoptedFlow struct {
	Flow
	x, c *Exchange
}

func (f *adoptedFlow) Read(p []byte) (int, error) {
	n, err := f.Flow.Read(p)
	if err == io.EOF {
		for name, value := range f.c.Response.Trailers.All() {
			f.x.Response.Trailers.Add(string(name), value)
		}
		f.c.Response.Trailers.Reset()
	}
	return n, err
}

// Interrupt implements Interrupter as far as the flow does.
func (f *adoptedFlow) Interrupt() {
	if i, ok := f.Flow.(Interrupter); ok {
		i.Interrupt()
	}
}

// ender runs the finishers of an adopted fork with those of its parent. Its memory goes with the parent's: the access log, which
// comes last, still looks at the head.
type ender struct{ c *Exchange }

func (e ender) Finish(*Exchange) {
	e.c.Wait()
	e.c.Finish()
}
