package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Question is a GET that the gateway asks itself, as if a client on this host had sent it.
type Question struct {
	Scheme string // "http" or "https"
	Host   string // in lower case, with its port if that is not the scheme's
	Target string // path and query
	Fields [][2]string
}

// Answer is what came of it.
type Answer struct {
	Status int
	Cache  string // what the cache did, as in the access log; empty: none was there
	Bytes  int64  // of the body
}

// ErrQuestion is the error of a question that no client could have sent.
var ErrQuestion = errors.New("it is no request that a client could send")

// Ask serves a question by the routes of now and reads its answer to the end: it is logged and counted like any other request. The
// error says that it was not asked, that ctx has ended, or what broke the body.
func (s *Server) Ask(ctx context.Context, q Question) (a Answer, err error) {
	x := proxy.Acquire()
	x.Started = wire.Now()
	if !s.put(x, q) {
		x.Release()
		return a, ErrQuestion
	}
	x.Edge, x.Waited = proxy.Nobody{}, true
	canceled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(canceled)
		defer caught()
		x.Cancel(proxy.ErrClientGone)
	})
	defer func() {
		if !stop() {
			<-canceled // Cancel is at work, or was: it must not meet another exchange. Done is closed in the middle of it.
		}
		_ = x.Response.Body.Close() // what counts is known
		x.Wait()
		x.BytesOut = a.Bytes
		x.Finish()
		x.Release()
	}()
	s.serveBy(x, new(settings), made{})
	a.Status, a.Cache = x.Response.Status, x.Cache
	if x.Response.Tunnel != nil || x.Response.Body.Absent() {
		return a, nil
	}
	a.Bytes, err = io.Copy(io.Discard, &x.Response.Body)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return a, err
}

// put makes q the request of x.
func (s *Server) put(x *proxy.Exchange, q Question) bool {
	limits := s.Snapshot().Limits
	target, host := []byte(q.Target), []byte(q.Host)
	if len(target) == 0 || target[0] != '/' || len(target) > limits.TargetBytes || !wire.ValidHost(host) || len(host) == 0 {
		return false
	}
	var m wire.Message
	m.Reset()
	if m.Receive([]byte("GET"), target, &wire.Limits{TargetBytes: limits.TargetBytes}) != nil {
		return false
	}
	r := &x.Request
	for _, f := range q.Fields {
		if r.Head.Receive(string(bytes.ToLower([]byte(f[0]))), f[1], &m) != nil {
			return false
		}
	}
	wire.DropHopByHop(&m, &r.Head)
	x.Received = proxy.Received{Method: []byte("GET"), Target: target, Origin: target, Minor: 1, Proto: "HTTP/1.1"}
	x.Client.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	x.Client.Text = []byte("127.0.0.1")
	x.Client.Transport = new(proxy.Transport)
	r.Method, r.Scheme, r.Host = "GET", q.Scheme, lowerHost(x, host)
	r.Path, r.Query, r.HasQuery = bytes.Cut(target, []byte("?"))
	identify(x, new(settings), x.Client.Text, via[1])
	return true
}
