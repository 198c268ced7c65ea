package server

import (
	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/router"
)

// serve is what happens to every request, whichever protocol carried it: load the snapshot, look the route up, run its
// chain, turn an error into a response. l is where it has come from, over a connection that was made so.
func (s *Server) serve(x *proxy.Exchange, l *Listener, made made) {
	s.serveBy(x, l.settings.Load(), made) // those of now, as the routes are, and not of when the request began
}

// serveBy is serve by a listener's settings.
func (s *Server) serveBy(x *proxy.Exchange, settings *settings, made made) {
	snap := s.snapshot.Load()
	x.Snapshot = snap
	if settings.misdirects(made, x.Request.Host) {
		s.begin(x, snap.Fallback)
		s.fail(x, proxy.ErrMisdirected)
	} else if err := s.route(x, settings); err != nil {
		s.begin(x, snap.Fallback)
		s.fail(x, err)
	} else if x.Route == nil {
		s.begin(x, snap.Fallback)
		s.options(x)
	} else {
		s.begin(x, x.Route)
		if err := s.run(x); err != nil {
			s.fail(x, err)
		}
	}
	finishHead(x)
}

// finishHead completes the response head. Policies have the last word: what the gateway adds they may take away.
func finishHead(x *proxy.Exchange) {
	if x.HeadAt == 0 { // no upstream has answered
		x.HeadAt = wire.Now()
	}
	h := &x.Response.Head
	if !h.HasKnown(wire.Date) {
		h.AddKnown(wire.Date, wire.AppendDate(x.Scratch(), x.HeadAt))
	}
	if len(x.ID) > 0 && !h.HasKnown(wire.XRequestID) {
		h.AddKnown(wire.XRequestID, x.ID)
	}
	if via := x.Response.Via; via != "" {
		h.AddKnownString(wire.Via, via)
	}
	x.EditHead()
}

// route finds the route. It leaves x.Route nil for an OPTIONS request that the gateway answers itself.
func (s *Server) route(x *proxy.Exchange, settings *settings) error {
	r := &x.Request
	if len(r.Path) > 1 || r.Path[0] != '*' {
		// The resolved path is both matched and sent.
		path, err := router.NormalizePath(x.Scratch(), r.Path)
		if err != nil {
			return proxy.ErrBadPath
		}
		if &path[0] != &r.Path[0] {
			path = x.KeepScratch(path)
		}
		r.Path = path
	}
	x.MatchedPath = r.Path
	if settings.Ahead != nil {
		if x.Route = settings.Ahead(x); x.Route != nil {
			return nil
		}
	}
	if settings.Instead != nil {
		x.Route = settings.Instead
		return nil
	}
	var err error
	x.Route, err = x.Snapshot.Find(x)
	return err
}

func (s *Server) begin(x *proxy.Exchange, route *proxy.Route) {
	x.Route = route
	if o := route.Observer; o != nil {
		o.Begin(x)
		x.OnFinish(o)
	}
	if p := route.Pages; p != nil {
		p.Meet(x)
	}
}

// run runs the route's chain. A panic in a policy is a bug: it costs its own request an error 500 and no other's.
func (s *Server) run(x *proxy.Exchange) (err error) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			err = proxy.ErrInternal
		}
	}()
	route := x.Route
	if err = x.LimitBody(); err != nil {
		return err
	}
	if route.Timeout > 0 {
		x.Deadline = x.Started + int64(route.Timeout)
	}
	if x.CallBy != 0 {
		return runCall(x)
	}
	return route.Chain.Serve(x)
}

// options answers OPTIONS where no route wants to.
func (s *Server) options(x *proxy.Exchange) {
	x.Response.Status = 204
	x.Response.Body.SetAbsent(-1)
	x.Response.Head.Add("Allow", s.allow(x))
}

func (s *Server) allow(x *proxy.Exchange) []byte {
	return x.KeepScratch(x.Snapshot.Table.AppendAllow(x.Scratch(), &x.Lookup))
}

// fail replaces whatever response there was by one that says what went wrong.
func (s *Server) fail(x *proxy.Exchange, err error) {
	e := proxy.AsError(err)
	x.Err, x.ErrCause = e, e.Cause
	r := &x.Response
	if r.Body.Flowing() {
		x.Request.Body.Interrupt() // whoever sends it upstream is waited for
	}
	_ = r.Body.Close() // the response is dropped
	r.Head.Reset()
	r.Trailers.Reset()
	r.Tunnel = nil
	r.Status, r.Reason, r.Via = e.Status, nil, ""
	if e == proxy.ErrMethodNotAllowed {
		r.Head.Add("Allow", s.allow(x))
	}
	if e.Challenge != "" {
		r.Head.AddString("WWW-Authenticate", e.Challenge)
	}
	if e.RetryAfter > 0 {
		var digits [20]byte
		r.Head.Add("Retry-After", wire.AppendUint(digits[:0], uint64(e.RetryAfter)))
	}
	x.Route.Errors.Render(x, e)
}

// refuse answers a request whose head was not understood.
func (s *Server) refuse(x *proxy.Exchange, err error) bool {
	snap := s.snapshot.Load()
	x.Snapshot = snap
	if x.Request.Method == "" {
		x.Request.Method = "-"
	}
	if x.ID == nil {
		x.ID = x.KeepScratch(newRequestID(x.Scratch()))
	}
	s.begin(x, snap.Fallback)
	r, ok := err.(*wire.Refusal)
	if !ok {
		s.fail(x, err)
	} else {
		s.fail(x, &proxy.Error{Status: r.Status, Code: r.Code, Detail: r.Detail, Side: proxy.ByClient})
	}
	finishHead(x)
	return true
}
