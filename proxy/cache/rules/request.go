package rules

import "sluice/proxy/wire"

// Request is what the head of a request says about caching. Spans are in seconds, Absent where nothing is said.
type Request struct {
	NoStore, NoCache, OnlyIfCached, NoTransform bool
	MaxAge, MinFresh                            int64
	MaxStale                                    int64 // DeltaMax if any staleness will do
	StaleIfError                                int64 // RFC 5861 section 4

	Authorization bool
	Range         bool
	Conditional   bool // If-None-Match or If-Modified-Since, which NotModified evaluates
	// Precondition: If-Match or If-Unmodified-Since. The request is to be passed on, as they are about the origin's state now (RFC 9111 section 4.3.2).
	Precondition bool
}

// ParseRequest reads the head of a request. Pragma counts where there is no Cache-Control (RFC 9111 section 5.4).
func ParseRequest(h *wire.Head) Request {
	r := Request{MaxAge: Absent, MinFresh: Absent, MaxStale: Absent, StaleIfError: Absent}
	r.Authorization = h.HasKnown(wire.Authorization)
	pragma, cacheControl := false, false
	for name, value := range h.All() {
		switch len(name) {
		case 5:
			r.Range = r.Range || is(name, "range")
		case 6:
			pragma = pragma || is(name, "pragma") && saysNoCache(value)
		case 8:
			r.Precondition = r.Precondition || is(name, "if-match")
		case 13:
			if is(name, "cache-control") {
				cacheControl = true
				r.parseCacheControl(value)
			} else if is(name, "if-none-match") {
				r.Conditional = true
			}
		case 17:
			r.Conditional = r.Conditional || is(name, "if-modified-since")
		case 19:
			r.Precondition = r.Precondition || is(name, "if-unmodified-since")
		}
	}
	r.NoCache = r.NoCache || pragma && !cacheControl
	return r
}

func saysNoCache(pragma []byte) bool {
	d := directives{rest: pragma}
	for name, _, ok := d.next(); ok; name, _, ok = d.next() {
		if is(name, "no-cache") {
			return true
		}
	}
	return false
}

func (r *Request) parseCacheControl(line []byte) {
	d := directives{rest: line}
	for name, arg, ok := d.next(); ok; name, arg, ok = d.next() {
		seconds, valid := parseDelta(arg)
		switch {
		case is(name, "no-store"):
			r.NoStore = true
		case is(name, "no-cache"):
			r.NoCache = true
		case is(name, "only-if-cached"):
			r.OnlyIfCached = true
		case is(name, "no-transform"):
			r.NoTransform = true
		case is(name, "max-age"):
			r.MaxAge = restrict(r.MaxAge, seconds)
		case is(name, "min-fresh"):
			if valid {
				r.MinFresh = max(r.MinFresh, seconds)
			}
		case is(name, "max-stale"):
			if arg == nil {
				seconds, valid = DeltaMax, true
			}
			if valid {
				r.MaxStale = restrict(r.MaxStale, seconds)
			}
		case is(name, "stale-if-error"):
			if valid {
				r.StaleIfError = restrict(r.StaleIfError, seconds)
			}
		}
	}
}
