package main

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	f := func(want float64, all ...float64) {
		t.Helper()
		if got := median(all); got != want {
			t.Errorf("median of %v: %v, want %v", all, got, want)
		}
	}
	f(0)
	f(3, 3)
	f(2, 1, 3)
	f(2, 3, 1, 2)
	f(2.5, 4, 1, 3, 2)
	f(2, 2, 1000, 1) // an outlier moves nothing
}

func TestMedianRatio(t *testing.T) {
	f := func(a, b []float64, want float64) {
		t.Helper()
		if got := medianRatio(a, b); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v to %v: %v, want %v", a, b, got, want)
		}
	}
	f(nil, nil, 0)
	f([]float64{2}, []float64{4}, 0.5)
	// A machine that is twice as slow in the second round changes both and not the ratio; the ratio of the medians
	// would be another.
	f([]float64{10, 20, 12}, []float64{20, 40, 24}, 0.5)
	f([]float64{1, 9, 1}, []float64{1, 3, 2}, 1)
	f([]float64{1, 1}, []float64{0, 2}, 0.5) // what was not measured is left out
}

func TestRelate(t *testing.T) {
	rounds := func(costs ...float64) []sample {
		var all []sample
		for _, c := range costs {
			all = append(all, sample{Cost: c, P99: c / 10})
		}
		return all
	}
	r := &result{Scenarios: []scenarioResult{{Name: "log", Subjects: []subjectResult{
		{Peer: "sluice", Rounds: rounds(10, 20, 10)},
		{Peer: "sluice", With: "log", Rounds: rounds(11, 22, 12)},
		{Peer: "nginx", Rounds: rounds(20, 40, 20)},
		{Peer: "nginx", With: "log", Rounds: rounds(22, 88, 24)},
	}}, {Name: "broken", Failed: "it broke"}}}
	r.relate()
	f := func(i int, ratio, added float64) {
		t.Helper()
		if got := r.Scenarios[0].Subjects[i]; got.Ratio != ratio || got.RatioP99 != ratio || math.Abs(got.Added-added) > 1e-9 {
			t.Errorf("%s: ratio %v, p99 %v, added %v; want %v and %v", got.label(), got.Ratio, got.RatioP99, got.Added, ratio, added)
		}
	}
	f(0, 0, 0)
	f(1, 0, 1.1)
	f(2, 0.5, 0)
	f(3, 0.5, 1.2)
	if got := r.failed(); len(got) != 1 || got[0] != "broken" {
		t.Errorf("failed: %v", got)
	}
	if got := r.Scenarios[0].Subjects[0].Median; got.Cost != 10 || got.P99 != 1 {
		t.Errorf("median: %+v", got)
	}
}
