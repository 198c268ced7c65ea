package rules

// Policy is what the operator of the gateway adds to the RFC, or takes from it. The zero value is the RFC. Spans are in seconds.
type Policy struct {
	// For is how long a response is fresh whose origin does not say: of the statuses that may be cached without being told (200, 203, 204, 300,
	// 301, 308, 404, 405, 410, 414, 501) and of "public" ones. 0: such a response is not stored.
	For int64
	// ByStatus is For by status, before For, of any status that is not about one request alone. 5xx but 501 are only ever stored by it.
	ByStatus []StatusFor
	// Override puts For and ByStatus in the place of max-age, s-maxage and Expires. What else the origin says still counts: no-store, private, no-cache,
	// must-revalidate.
	Override bool

	// StaleWhileRevalidate and StaleIfError are for responses whose origin says neither how long they may be used stale nor that they must not be.
	StaleWhileRevalidate, StaleIfError int64

	// HeuristicPercent is the share of the time since the last change that a response without any other lifetime is fresh for (RFC 9111
	// section 4.2.2), at most HeuristicMax. 0: none.
	HeuristicPercent, HeuristicMax int64

	// StripSetCookie stores responses with Set-Cookie; the cache has to take that field out of what it stores.
	StripSetCookie bool
	// ByIdentity says that the cache's key holds who asks, as it was proven, so that Authorization forbids nothing (RFC 9111 section 3.5 is about
	// one user's response for another).
	ByIdentity bool
	// IgnoreRequest lets no directive of a request count, which section 5.2.1 allows for most of them: clients cannot reach through to the origin.
	IgnoreRequest bool
}

// StatusFor is a lifetime for a status.
type StatusFor struct {
	Status int
	For    int64
}

// lifetime returns what is configured for a response with a status, and whether it is named there.
func (p *Policy) lifetime(status int, public bool) (seconds int64, named bool) {
	for i := range p.ByStatus {
		if p.ByStatus[i].Status == status {
			return p.ByStatus[i].For, true
		}
	}
	if heuristic(status) || public {
		return p.For, false
	}
	return 0, false
}
