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
