package rules

// Life is how long a response can be used. It is what is kept with a stored one for Judge. Spans are in seconds from the moment the
// response was made.
type Life struct {
	Fresh int64
	// How long after Fresh it may be used all the same.
	StaleWhileRevalidate, StaleIfError int64

	NoCache        bool // never used without asking the origin
	MustRevalidate bool // never used stale
	Immutable      bool // does not change while it is fresh (RFC 8246)
	Heuristic      bool // nobody said how long: Fresh is a guess
}

// Lifetime decides how long a response can be used: the operator's override, s-maxage, max-age, Expires, the operator's default, and a
// guess if it is asked for (RFC 9111 section 4.2.1). An Expires without a Date counts for nothing, so set Date if the origin did not.
//
// s-maxage forbids use after it, as proxy-revalidate does (section 5.2.2.10), and so a stale-while-revalidate beside it: an origin that wants
// both says max-age in CDN-Cache-Control.
func Lifetime(status int, resp *Response, p *Policy) Life {
	configured, _ := p.lifetime(status, resp.Public)
	override := p.Overrides(status, resp)
	l := Life{
		NoCache:              resp.NoCache,
		MustRevalidate:       resp.MustRevalidate || resp.SMaxAge >= 0 && !override,
		Immutable:            resp.Immutable,
		StaleWhileRevalidate: given(resp.StaleWhileRevalidate, p.StaleWhileRevalidate),
		StaleIfError:         given(resp.StaleIfError, p.StaleIfError),
	}
	switch {
	case override:
		l.Fresh = configured
	case resp.SMaxAge >= 0:
		l.Fresh = resp.SMaxAge
	case resp.MaxAge >= 0:
		l.Fresh = resp.MaxAge
	case resp.HasExpires:
		if resp.Date != 0 {
			l.Fresh = min(max(resp.Expires-resp.Date, 0), DeltaMax)
		}
	case configured > 0:
		l.Fresh = configured
	case p.HeuristicPercent > 0 && (heuristic(status) || resp.Public):
		l.Fresh, l.Heuristic = guess(resp, p), true
	}
	return l
}

// Overrides reports whether the operator's lifetime counts, whatever the origin says.
func (p *Policy) Overrides(status int, resp *Response) bool {
	configured, _ := p.lifetime(status, resp.Public)
	return p.Override && configured > 0
}

func given(said, otherwise int64) int64 {
	if said >= 0 {
		return said
	}
	return otherwise
}

// guess takes what has not changed for long for what will not change soon (RFC 9111 section 4.2.2).
func guess(resp *Response, p *Policy) int64 {
	if resp.LastModified == 0 || resp.Date <= resp.LastModified {
		return 0
	}
	unchanged := min(resp.Date-resp.LastModified, DeltaMax)
	return min(unchanged*min(p.HeuristicPercent, 100)/100, p.HeuristicMax)
}

// InitialAge is the age of a response when it was received, in seconds: corrected_initial_age of RFC 9111 section 4.2.3. The three times are in Unix
// seconds by our clock, but Date, which is by the origin's.
//
// The apparent age, Date against our clock, is there for old caches on the way that do not say Age, and may be left out. It is left out when it is
// within skewMax: then it tells of two clocks, not of a cache, and would spoil what is cached for a second or two.
func InitialAge(resp *Response, requestedAt, receivedAt int64) int64 {
	apparent := int64(0)
	if resp.Date != 0 && receivedAt-resp.Date > skewMax {
		apparent = receivedAt - resp.Date
	}
	delay := max(receivedAt-requestedAt, 0)
	return min(max(apparent, resp.Age+delay), DeltaMax)
}

const skewMax = 2
