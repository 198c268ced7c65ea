package proxy

import (
	"bytes"

	"sluice/proxy/wire"
	"sluice/router"
)

// Find returns the route of a request whose path is resolved, and leaves in x.Lookup and x.Match how it was found. Without a route, and without
// an error, the gateway itself answers OPTIONS. It allocates nothing.
func (s *Snapshot) Find(x *Exchange) (*Route, error) {
	r := &x.Request
	x.Lookup = router.Request{Method: x.Received.Method, Host: HostName(r.Host), Path: r.Path, Values: x}
	asked := s.Asked(x)
	if asked != nil && asked.Pages != nil {
		x.Lookup.Method = x.Preflight()
		return asked, x.BodyError()
	}
	route, outcome := s.Table.Lookup(&x.Lookup, &x.Match)
	if err := x.BodyError(); err != nil {
		return nil, err
	}
	switch outcome {
	case router.Found:
		if asked != nil && route.Pages != nil {
			return nil, ErrOriginDenied // it would answer for asked, which knows no pages
		}
		return route, nil
	case router.Options:
		return nil, nil
	case router.MethodNotAllowed:
		return nil, ErrMethodNotAllowed
	}
	return nil, ErrNoRoute
}

// LimitBody bounds the body of a request by what its route accepts. It fails with ErrBodyTooLarge if the length is known and more.
func (x *Exchange) LimitBody() error {
	limit := x.Route.BodyLimit
	if limit == 0 {
		limit = x.Snapshot.Limits.BodyBytes
	}
	if limit <= 0 {
		return nil
	}
	if x.Request.Body.Size() > limit {
		return ErrBodyTooLarge
	}
	x.Request.Body.SetLimit(limit)
	return nil
}

// HostName is a host without its port, and without the dot at the end: "a.example.:80" is a.example. It is a part of host.
func HostName(host []byte) []byte {
	host, _ = wire.SplitHostPort(host)
	return bytes.TrimSuffix(host, dot)
}

var dot = []byte(".")
