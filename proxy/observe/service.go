package observe

import (
	"sync/atomic"

	"sluice/proxy"
)

// ServiceMetrics counts what a service is asked and answers. It outlives reloads. Safe for concurrent use.
type ServiceMetrics struct {
	name    string
	stripes atomic.Pointer[[]serviceStripe] // nil until the first request
}

type serviceStripe struct {
	retries   atomic.Uint64
	durations histogram
	_         [stripePad]byte
}

// Name is the service's configured name.
func (s *ServiceMetrics) Name() string { return s.name }

// finish counts an exchange that asked this service. The class is that of the status the client got, or 0 if that
// was the gateway's own answer: the service was out of reach or late, or its answer was refused.
func (s *ServiceMetrics) finish(x *proxy.Exchange, end int64, status int) {
	stripes := s.stripes.Load()
	if stripes == nil {
		stripes = s.firstRequest()
	}
	c := classOf(status)
	if x.Err != nil && x.Err.Status == status {
		c = 0
	}
	head := x.HeadAt
	if head < x.UpstreamAt {
		head = end // there never was one
	}
	t := &(*stripes)[stripe()]
	t.durations.observe(c, head-x.UpstreamAt)
	if x.Attempts > 1 {
		t.retries.Add(uint64(x.Attempts - 1))
	}
}

func (s *ServiceMetrics) firstRequest() *[]serviceStripe {
	stripes := make([]serviceStripe, stripeCount)
	s.stripes.CompareAndSwap(nil, &stripes) // of several first requests one wins
	return s.stripes.Load()
}

// serviceTotals is what a scrape read of a service.
type serviceTotals struct {
	service   *ServiceMetrics
	durations tally
	retries   uint64
	used      bool // there was a request
}

func (s *ServiceMetrics) totals() serviceTotals {
	t := serviceTotals{service: s}
	stripes := s.stripes.Load()
	if stripes == nil {
		return t
	}
	t.used = true
	for i := range *stripes {
		t.durations.add(&(*stripes)[i].durations)
		t.retries += (*stripes)[i].retries.Load()
	}
	return t
}
