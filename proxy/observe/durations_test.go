package observe

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	m := New()
	finish := func(route string, took time.Duration, n int) {
		r := m.Route(route)
		for range n {
			x := get()
			r.begin()
			r.finish(x, x.Started+int64(took), 200)
		}
	}
	m.Route("idle")
	finish("quick", time.Millisecond, 5)
	before := m.Durations()
	finish("quick", 4*time.Millisecond, 197)
	finish("slow", 2*time.Second, 3)
	finish("events", time.Hour, 50)

	f := func(d Durations, want uint64, p50, p99 time.Duration) {
		t.Helper()
		if d.Count() != want || d.Quantile(0.5) != p50 || d.Quantile(0.99) != p99 {
			t.Errorf("%d requests, half of them below %v, 99%% below %v; want %d, %v, %v", d.Count(), d.Quantile(0.5), d.Quantile(0.99), want, p50, p99)
		}
	}
	since := func(earlier Durations, except ...string) Durations {
		t.Helper()
		d, ok := m.Durations(except...).Since(earlier)
		if !ok {
			t.Fatal("the counts went down")
		}
		return d
	}
	ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
	f(before, 5, ms(0.5+0.5*3/5), time.Millisecond)
	f(since(Durations{}, "slow", "events", "quick"), 0, 0, 0)
	f(since(before, "slow", "events"), 197, (ms(2.5) + ms(2.5)*99/197).Truncate(1), (ms(2.5) + ms(2.5)*196/197).Truncate(1))
	f(since(before, "events"), 200, (ms(2.5) + ms(2.5)*100/197).Truncate(1), time.Second+ms(1500)/3)
	f(since(before), 250, (ms(2.5) + ms(2.5)*125/197).Truncate(1), time.Minute)

	now := m.Durations()
	m.ForgetRoutes("slow")
	if d, ok := m.Durations().Since(now); ok {
		t.Errorf("after a route was removed, %v is the difference", d)
	}
}

// TestQuantileAtBounds: what a threshold at a bound of the histogram is compared with is exact.
func TestQuantileAtBounds(t *testing.T) {
	const bucket, bound = 8, 250 * time.Millisecond
	f := func(below, above uint64, want bool) {
		t.Helper()
		d := Durations{bucket: below, bucket + 1: above}
		if got := d.Quantile(0.99) > bound; got != want {
			t.Errorf("%d below and %d above: the quantile is %v, above %v: want %v", below, above, d.Quantile(0.99), bound, want)
		}
	}
	if bounds[bucket] != int64(bound) {
		t.Fatalf("bucket %d ends at %v", bucket, time.Duration(bounds[bucket]))
	}
	f(99, 1, false)
	f(98, 2, true)
	f(9900, 100, false)
	f(9899, 101, true)
	f(1, 0, false)
	f(0, 1, true)
}
