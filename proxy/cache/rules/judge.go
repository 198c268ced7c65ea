package rules

// Verdict is what to do with a stored response that a request matches.
type Verdict uint8

const (
	// Fresh: use it.
	Fresh Verdict = iota
	// StaleUsable: use it, and ask the origin in the background.
	StaleUsable
	// Revalidate: ask the origin first. If that fails, MayUseOnError says whether it may be used.
	Revalidate
	// Missing: it may not be used, and the client does not want the origin to be asked: 504 (RFC 9111 section 5.2.1.7). So it is if nothing is
	// stored and the client says only-if-cached: see OnlyIfCached.
	Missing
)

var verdictNames = [...]string{"fresh", "stale", "revalidate", "missing"}

// String is the word for a verdict.
func (v Verdict) String() string { return verdictNames[v] }

// Judge decides whether a stored response of an age in seconds may be used for a request (RFC 9111 section 4). A response that was purged softly is
// at least as old as it is fresh: pass max(age, l.Fresh).
func Judge(age int64, l *Life, req *Request, p *Policy) Verdict {
	v := judge(age, l, req, p)
	if v == Revalidate && OnlyIfCached(req, p) {
		return Missing
	}
	return v
}

// OnlyIfCached says that the client wants an answer from the cache or none: 504.
func OnlyIfCached(req *Request, p *Policy) bool { return req.OnlyIfCached && !p.IgnoreRequest }

func judge(age int64, l *Life, req *Request, p *Policy) Verdict {
	if l.NoCache || refuses(age, l, req, p) {
		return Revalidate
	}
	if age < l.Fresh {
		return Fresh
	}
	if l.MustRevalidate {
		return Revalidate
	}
	stale := age - l.Fresh
	if !p.IgnoreRequest {
		// Who says max-age does not want what is stale, unless max-stale says how stale (section 5.2.1.1).
		if req.MaxStale >= 0 && (stale <= req.MaxStale || req.MaxStale == DeltaMax) {
			return StaleUsable
		}
		if req.MaxAge >= 0 || req.MaxStale >= 0 {
			return Revalidate
		}
	}
	if stale < l.StaleWhileRevalidate {
		return StaleUsable
	}
	return Revalidate
}

// refuses says that the request does not want the response at its age: no-cache, max-age, min-fresh (RFC 9111 section 5.2.1). What is immutable and
// fresh has not changed, so that a reload, which is one of the first two, changes nothing (RFC 8246 section 2).
func refuses(age int64, l *Life, req *Request, p *Policy) bool {
	if p.IgnoreRequest {
		return false
	}
	if req.MinFresh >= 0 && l.Fresh-age < req.MinFresh {
		return true
	}
	if l.Immutable && age < l.Fresh {
		return false
	}
	return req.NoCache || req.MaxAge >= 0 && age > req.MaxAge
}

// MayUseOnError says that a stored response may be used because the origin failed to answer, or answered with what FailsOver says is as good as that
// (RFC 5861 section 4). What must be revalidated is not; the answer is then the failure, 504 if the origin was not reached (RFC 9111 section 5.2.2.2).
func MayUseOnError(age int64, l *Life, req *Request, p *Policy) bool {
	if l.NoCache || refuses(age, l, req, p) {
		return false
	}
	if age < l.Fresh {
		return true
	}
	if l.MustRevalidate {
		return false
	}
	stale := age - l.Fresh
	if p.IgnoreRequest {
		return stale < l.StaleIfError
	}
	if req.StaleIfError >= 0 && stale <= req.StaleIfError {
		return true
	}
	if req.MaxStale >= 0 {
		return stale <= req.MaxStale || req.MaxStale == DeltaMax
	}
	return req.MaxAge < 0 && stale < l.StaleIfError
}

// FailsOver says that a status is an error for which a stored response may stand in (RFC 5861 section 4).
func FailsOver(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

// KeepFor is how long after it was received a stored response is of use to anybody, given its age then: while it is fresh or may be used stale, and, if the
// origin can be asked about it, for keepForValidation more, which spares its body.
func KeepFor(initialAge int64, l *Life, validator bool) int64 {
	span := l.Fresh
	if !l.NoCache && !l.MustRevalidate {
		span += max(l.StaleWhileRevalidate, l.StaleIfError)
	}
	span = max(span-initialAge, 0)
	if validator {
		span += keepForValidation
	}
	return min(span, DeltaMax)
}

const keepForValidation = 600
