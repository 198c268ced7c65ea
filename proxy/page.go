package proxy

// ErrOriginDenied answers a browser that asks for a page that may not call.
var ErrOriginDenied = &Error{Status: 403, Code: "origin_denied", Detail: "Pages of this origin may not call the service.", Side: ByClient}

// Preflight returns the method of the request that a browser wants to send for a page of another origin, and asks about first (Fetch
// standard, "CORS-preflight fetch"); nil: x is no such question.
func (x *Exchange) Preflight() []byte {
	if x.Request.Method != "OPTIONS" || !x.Request.Head.Has("origin") {
		return nil
	}
	return x.Request.Head.Get("access-control-request-method")
}

// Asked returns the route of the request that a browser asks about; nil: x is no such question, or no route takes that. If it knows
// pages of other origins it answers the question, whether it takes OPTIONS or not: two routes of a path, for GET and for PUT, are asked
// apart. If it knows none, whatever takes OPTIONS answers, unless that knows pages: it would answer for a route that does not.
func (s *Snapshot) Asked(x *Exchange) *Route {
	method := x.Preflight()
	if method == nil {
		return nil
	}
	x.Lookup.Method = method
	route, _ := s.Table.Lookup(&x.Lookup, &x.Match)
	x.Lookup.Method = x.Received.Method
	return route
}
