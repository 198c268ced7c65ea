package observe

import (
	"math"
	"slices"
	"time"
)

// Durations counts finished requests by how long they took, over all routes. Two of them that were taken one after the
// other tell what happened in between.
type Durations [bucketCount]uint64

// Durations sums over every route but those named in except.
func (m *Metrics) Durations(except ...string) Durations {
	m.mu.Lock()
	routes := make([]*RouteMetrics, 0, len(m.routes))
	for name, r := range m.routes {
		if !slices.Contains(except, name) {
			routes = append(routes, r)
		}
	}
	m.mu.Unlock()
	var all tally
	for _, r := range routes {
		stripes := r.stripes.Load()
		if stripes == nil {
			continue
		}
		for i := range *stripes {
			all.add(&(*stripes)[i].durations)
		}
	}
	return all.byBucket()
}

// Since returns what was counted after earlier. It is false if there is less of something now: a route was removed in
// between, and nothing can be said.
func (d Durations) Since(earlier Durations) (Durations, bool) {
	for b := range d {
		if d[b] < earlier[b] {
			return Durations{}, false
		}
		d[b] -= earlier[b]
	}
	return d, true
}

// Count is the number of requests.
func (d Durations) Count() (sum uint64) {
	for _, n := range d {
		sum += n
	}
	return sum
}

// Quantile returns the duration that the share q of all requests did not exceed, or 0 without a request. Whether it is
// above a bound of the histogram is known exactly; within a bucket the requests are taken to be spread evenly, and
// beyond the last bound the answer is that bound.
func (d Durations) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(d.Count())))
	var below uint64
	for b, n := range d {
		if n > 0 && below+n >= rank {
			return within(b, float64(rank-below)/float64(n))
		}
		below += n
	}
	return 0
}

// within is the point of a bucket that a share of its requests did not exceed.
func within(bucket int, share float64) time.Duration {
	if bucket == len(bounds) {
		return time.Duration(bounds[len(bounds)-1])
	}
	var low int64
	if bucket > 0 {
		low = bounds[bucket-1]
	}
	return time.Duration(low + int64(share*float64(bounds[bucket]-low)))
}
