package rules

import "sluice/proxy/wire"

// Response is what the head of a response says about caching. Spans are in seconds, Absent where nothing is said; points in time
// are in Unix seconds, 0 where there is none.
type Response struct {
	NoStore, NoCache, Private, Public bool
	// MustRevalidate is must-revalidate or proxy-revalidate, for this is a shared cache. That s-maxage says it, too, Lifetime knows.
	MustRevalidate                         bool
	MustUnderstand, NoTransform, Immutable bool
	MaxAge, SMaxAge                        int64
	StaleWhileRevalidate, StaleIfError     int64 // RFC 5861

	// Date is the origin's. A response without one was made when it was received (RFC 9110 section 6.6.1): whoever knows the time sets it.
	Date         int64
	LastModified int64
	Expires      int64
	HasExpires   bool // with an Expires of 0 if it is no date: that is in the past (RFC 9111 section 5.3)
	Age          int64

	ETag      bool
	SetCookie bool
	// VaryAll says that no request matches the stored response: Vary holds "*", or what is no list of names, or more than VaryMax.
	VaryAll bool
	// Targeted says that CDN-Cache-Control spoke, so that Cache-Control and Expires do not count (RFC 9213).
	Targeted bool
}

// Absent is a span of which nothing is said.
const Absent = -1

// HasValidator says that the origin can be asked whether the response still holds (RFC 9111 section 4.3.1).
func (r *Response) HasValidator() bool { return r.ETag || r.LastModified != 0 }

// HasAuthPermission says that the response to a request with Authorization may be shared (RFC 9111 section 3.5).
func (r *Response) HasAuthPermission() bool { return r.Public || r.MustRevalidate || r.SMaxAge >= 0 }

// HasLifetime says that the origin itself said how long the response is fresh, if only that it never is.
func (r *Response) HasLifetime() bool {
	return r.NoCache || r.MaxAge >= 0 || r.SMaxAge >= 0 || r.HasExpires
}

// ParseResponse reads the head of a response. The qualified forms of no-cache and private, with field names, count as the unqualified
// ones, as RFC 9111 says that most caches do it (sections 5.2.2.4 and 5.2.2.7): the response is asked for again, or not shared, as a whole.
func ParseResponse(h *wire.Head) Response {
	r := Response{MaxAge: Absent, SMaxAge: Absent, StaleWhileRevalidate: Absent, StaleIfError: Absent}
	if t, ok := parseTargeted(h, r); ok {
		r = t
		r.Targeted = true
	}
	age, vary := false, false
	for name, value := range h.All() {
		switch len(name) {
		case 3:
			if is(name, "age") && !age {
				// Of several, or of a list, the first counts; what is no number does not (RFC 9111 section 5.1).
				age = true
				first, _, _ := cutItem(value)
				r.Age, _ = parseDelta(trim(first))
			}
		case 4:
			if is(name, "date") && r.Date == 0 {
				r.Date, _ = ParseDate(value)
			} else if is(name, "etag") {
				r.ETag = true
			} else if is(name, "vary") {
				vary = true
			}
		case 7:
			if is(name, "expires") && !r.Targeted {
				at, _ := ParseDate(value)
				if !r.HasExpires || at < r.Expires {
					r.Expires = at
				}
				r.HasExpires = true
			}
		case 10:
			r.SetCookie = r.SetCookie || is(name, "set-cookie")
		case 13:
			if is(name, "cache-control") && !r.Targeted {
				r.parseCacheControl(value)
			} else if is(name, "last-modified") && r.LastModified == 0 {
				r.LastModified, _ = ParseDate(value)
			}
		}
	}
	if vary {
		var names varyNames
		r.VaryAll = !names.collect(h)
	}
	return r
}

func (r *Response) parseCacheControl(line []byte) {
	d := directives{rest: line}
	for name, arg, ok := d.next(); ok; name, arg, ok = d.next() {
		seconds, _ := parseDelta(arg)
		r.note(name, seconds)
	}
	r.NoCache = r.NoCache || d.broken
}

// note takes down one directive with its argument as a number, 0 if it is none: a lifetime that cannot be read is over (RFC 9111
// section 4.2.1), and a permission to use what is stale that cannot be read is not given.
func (r *Response) note(name []byte, seconds int64) {
	switch {
	case is(name, "no-store"):
		r.NoStore = true
	case is(name, "no-cache"):
		r.NoCache = true
	case is(name, "private"):
		r.Private = true
	case is(name, "public"):
		r.Public = true
	case is(name, "must-revalidate"), is(name, "proxy-revalidate"):
		r.MustRevalidate = true
	case is(name, "must-understand"):
		r.MustUnderstand = true
	case is(name, "no-transform"):
		r.NoTransform = true
	case is(name, "immutable"):
		r.Immutable = true
	case is(name, "max-age"):
		r.MaxAge = restrict(r.MaxAge, seconds)
	case is(name, "s-maxage"):
		r.SMaxAge = restrict(r.SMaxAge, seconds)
	case is(name, "stale-while-revalidate"):
		r.StaleWhileRevalidate = restrict(r.StaleWhileRevalidate, seconds)
	case is(name, "stale-if-error"):
		r.StaleIfError = restrict(r.StaleIfError, seconds)
	}
}
