package rules

// Reason is why a response is not stored. Its name is for the detail of Cache-Status and for logs.
type Reason uint8

const (
	Stored          Reason = iota // it is
	ByRequest                     // the request says no-store
	ByPartial                     // 206
	ByStatus                      // no status to store, or not without being told how long
	ByNoStore                     // the response says no-store
	ByPrivate                     // the response says private
	ByAuthorization               // the request has Authorization, and the response does not say that it may be shared
	BySetCookie                   // the response sets a cookie
	ByVary                        // no request would match: Vary: *
	ByNoLifetime                  // it would never be fresh, nor usable stale, nor could the origin be asked about it
	reasonCount
)

var reasonNames = [reasonCount]string{
	"", "request-no-store", "partial", "status", "no-store", "private", "authorization", "set-cookie", "vary", "no-lifetime",
}

// String is the word for a reason, as Cache-Status has it in detail.
func (r Reason) String() string { return reasonNames[r] }

// Storable decides whether the complete response to a GET may be stored (RFC 9111 section 3). Responses to other methods never are.
func Storable(status int, req *Request, resp *Response, p *Policy) Reason {
	configured, named := p.lifetime(status, resp.Public)
	switch {
	case req.NoStore && !p.IgnoreRequest:
		return ByRequest
	case status == 206:
		return ByPartial
	case neverStored(status):
		return ByStatus
	case resp.MustUnderstand && !understood(status):
		return ByStatus
	case resp.NoStore && !resp.MustUnderstand:
		return ByNoStore
	case resp.Private:
		return ByPrivate
	case req.Authorization && !p.ByIdentity && !resp.HasAuthPermission():
		return ByAuthorization
	case resp.SetCookie && !p.StripSetCookie:
		return BySetCookie
	case resp.VaryAll:
		return ByVary
	}
	if status >= 500 && status != 501 && (!named || configured <= 0) {
		return ByStatus
	}
	if !heuristic(status) && !resp.Public && !resp.HasLifetime() && !named {
		return ByStatus
	}
	if !useful(resp, Lifetime(status, resp, p)) {
		return ByNoLifetime
	}
	return Stored
}

// useful says that a stored response would ever spare the origin anything. What says nothing about its lifetime and has none configured
// is not stored only because it has a validator: every answer of every service would be.
func useful(resp *Response, l Life) bool {
	if !resp.HasLifetime() && l.Fresh <= 0 {
		return false
	}
	if resp.HasValidator() {
		return true
	}
	return !l.NoCache && (l.Fresh > 0 || !l.MustRevalidate && l.StaleWhileRevalidate+l.StaleIfError > 0)
}

// heuristic says that a status may be cached without the origin saying how long (RFC 9110 section 15.1), but 206.
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// neverStored says that a status is about one request rather than about what it asked for, or must not be stored by its own definition: 428,
// 429, 431 and 511 (RFC 6585); a delta (226) or a 304 is no response of its own.
func neverStored(status int) bool {
	switch status {
	case 206, 226, 304, 407, 408, 412, 416, 417, 421, 425, 426, 428, 429, 431, 511:
		return true
	}
	return status < 200 || status > 599
}

// understood says that a status is one whose every demand on caches this package knows (RFC 9111 section 5.2.2.3).
func understood(status int) bool {
	switch status {
	case 200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422,
		500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}
