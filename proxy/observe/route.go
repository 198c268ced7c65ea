package observe

import (
	"sync/atomic"

	"sluice/proxy"
)

// RouteMetrics counts what happens on one route. It outlives reloads. Safe for concurrent use.
type RouteMetrics struct {
	name    string
	stripes atomic.Pointer[[]routeStripe] // nil until the first request: of 10,000 routes most are idle
	refused codes
	reports codes
}

// routeStripe is one stripe's share. All of it lies together, so that an exchange touches few cache lines.
type routeStripe struct {
	begun         atomic.Uint64
	aborted       atomic.Uint64
	requestBytes  atomic.Uint64
	responseBytes atomic.Uint64
	durations     histogram
	_             [stripePad]byte
}

// Name is the route's configured name.
func (r *RouteMetrics) Name() string { return r.name }

func (r *RouteMetrics) begin() { r.stripe().begun.Add(1) }

// finish counts an exchange that ended at end (wire.Now) with this status.
func (r *RouteMetrics) finish(x *proxy.Exchange, end int64, status int) {
	s := r.stripe()
	s.durations.observe(classOf(status), end-x.Started)
	s.responseBytes.Add(uint64(x.BytesOut))
	if x.BytesIn > 0 {
		s.requestBytes.Add(uint64(x.BytesIn))
	}
	if x.Aborted {
		s.aborted.Add(1)
	}
	if x.Err != nil {
		r.refused.get(x.Err.Code).Add(1)
	}
	if x.WouldRefuse != "" {
		r.reports.get(x.WouldRefuse).Add(1)
	}
}

func (r *RouteMetrics) stripe() *routeStripe {
	stripes := r.stripes.Load()
	if stripes == nil {
		stripes = r.firstRequest()
	}
	return &(*stripes)[stripe()]
}

func (r *RouteMetrics) firstRequest() *[]routeStripe {
	stripes := make([]routeStripe, stripeCount)
	r.stripes.CompareAndSwap(nil, &stripes) // of several first requests one wins
	return r.stripes.Load()
}

// routeTotals is what a scrape read of a route.
type routeTotals struct {
	route                                *RouteMetrics
	durations                            tally
	aborted, requestBytes, responseBytes uint64
	inFlight                             uint64
	used                                 bool // there was a request
}

func (r *RouteMetrics) totals() routeTotals {
	t := routeTotals{route: r}
	stripes := r.stripes.Load()
	if stripes == nil {
		return t
	}
	t.used = true
	for i := range *stripes {
		s := &(*stripes)[i]
		t.durations.add(&s.durations)
		t.aborted += s.aborted.Load()
		t.requestBytes += s.requestBytes.Load()
		t.responseBytes += s.responseBytes.Load()
	}
	// Begun is read after every stripe's finished: an exchange that was seen to finish was also seen to begin,
	// whichever stripes it met, and the difference is never below 0.
	var begun uint64
	for i := range *stripes {
		begun += (*stripes)[i].begun.Load()
	}
	t.inFlight = begun - t.durations.count()
	return t
}
