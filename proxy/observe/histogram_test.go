package observe

import (
	"strconv"
	"testing"
	"time"
)

func TestBucketOf(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := boundLabels[bucketOf(int64(d))]; got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	f(0, "0.0005")
	f(500*time.Microsecond, "0.0005") // le: less or equal
	f(500*time.Microsecond+1, "0.001")
	f(2*time.Millisecond, "0.0025")
	f(time.Second, "1")
	f(time.Minute, "60")
	f(time.Minute+1, "+Inf")
	f(100*time.Hour, "+Inf")
}

func TestBoundLabels(t *testing.T) {
	for i, ns := range bounds {
		if want := strconv.FormatFloat(time.Duration(ns).Seconds(), 'f', -1, 64); boundLabels[i] != want {
			t.Errorf("bound %d is %s seconds, labelled %s", i, want, boundLabels[i])
		}
		if i > 0 && ns <= bounds[i-1] {
			t.Errorf("bound %d is not above the one before", i)
		}
	}
}

func TestClassOf(t *testing.T) {
	f := func(status int, want string) {
		t.Helper()
		if got := routeClasses[classOf(status)]; got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
	f(101, "1xx")
	f(200, "2xx")
	f(299, "2xx")
	f(304, "3xx")
	f(499, "4xx")
	f(504, "5xx")

	f(0, "none")
	f(-1, "none")
	f(99, "none")
	f(600, "none")
}

func TestHistogram(t *testing.T) {
	var h histogram
	h.observe(2, int64(time.Millisecond))
	h.observe(2, int64(2*time.Second))
	h.observe(5, int64(2*time.Minute))
	h.observe(4, -5)
	var sum tally
	sum.add(&h)
	sum.add(&h)
	if got, want := sum.byClass(), [classCount]uint64{2: 4, 4: 2, 5: 2}; got != want {
		t.Errorf("by class: got %v, want %v", got, want)
	}
	if got, want := sum.byBucket(), [bucketCount]uint64{0: 2, 1: 2, 11: 2, 16: 2}; got != want {
		t.Errorf("by bucket: got %v, want %v", got, want)
	}
	if got := sum.count(); got != 8 {
		t.Errorf("count %d", got)
	}
	if got, want := sum.sum, uint64(2*(122*time.Second+time.Millisecond)); got != want {
		t.Errorf("sum: got %d, want %d", got, want)
	}
}
