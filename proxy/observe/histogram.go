package observe

import (
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of the buckets, in nanoseconds; what is longer falls into one bucket more, +Inf. They
// reach from the overhead of the gateway itself to the timeouts people configure.
var bounds = [...]int64{
	int64(500 * time.Microsecond), int64(time.Millisecond), int64(2500 * time.Microsecond), int64(5 * time.Millisecond),
	int64(10 * time.Millisecond), int64(25 * time.Millisecond), int64(50 * time.Millisecond), int64(100 * time.Millisecond),
	int64(250 * time.Millisecond), int64(500 * time.Millisecond), int64(time.Second), int64(2500 * time.Millisecond),
	int64(5 * time.Second), int64(10 * time.Second), int64(30 * time.Second), int64(60 * time.Second),
}

// boundLabels are the bounds in seconds, as the label le.
var boundLabels = [bucketCount]string{
	"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "+Inf",
}

const bucketCount = len(bounds) + 1

// class is the first digit of a status, 0 for a status that is none.
type class uint8

const classCount = 6

func classOf(status int) class {
	if status < 100 || status > 599 {
		return 0
	}
	return class(status / 100)
}

// histogram counts durations by class and bucket. One addition serves the counter of the class, the bucket, and
// the number of all observations, which are sums over this matrix; three separate counters would cost three.
type histogram struct {
	cells [classCount][bucketCount]atomic.Uint64
	sum   atomic.Uint64 // nanoseconds
}

// observe counts one duration in nanoseconds. A negative one, which only a caller's mistake could make, counts as 0.
func (h *histogram) observe(c class, ns int64) {
	ns = max(ns, 0)
	h.cells[c][bucketOf(ns)].Add(1)
	h.sum.Add(uint64(ns))
}

// bucketOf walks from the front: most requests are fast, so that it ends after a few steps.
func bucketOf(ns int64) int {
	for i := range bounds {
		if ns <= bounds[i] {
			return i
		}
	}
	return len(bounds)
}

// tally is the sum of the histograms of several stripes.
type tally struct {
	cells [classCount][bucketCount]uint64
	sum   uint64 // nanoseconds
}

func (t *tally) add(h *histogram) {
	for c := range h.cells {
		for b := range h.cells[c] {
			t.cells[c][b] += h.cells[c][b].Load()
		}
	}
	t.sum += h.sum.Load()
}

func (t *tally) byClass() (counts [classCount]uint64) {
	for c := range t.cells {
		for _, n := range t.cells[c] {
			counts[c] += n
		}
	}
	return counts
}

func (t *tally) byBucket() (counts [bucketCount]uint64) {
	for c := range t.cells {
		for b, n := range t.cells[c] {
			counts[b] += n
		}
	}
	return counts
}

func (t *tally) count() (sum uint64) {
	for _, n := range t.byClass() {
		sum += n
	}
	return sum
}
