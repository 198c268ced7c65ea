package main

import (
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

// change is the difference between two samples of a time, of which nothing is assumed to be normal.
type change struct {
	Base, New     summary
	Ratio         float64 // new to base
	RatioLo       float64 // of the interval that holds it
	RatioHi       float64
	P             float64 // of the U test
	N             int     // processes per side
	Significantly bool    `json:"-"` // the interval does not hold 1
}

// summary is a median and its interval at 95 %, as benchstat prints it. Where there are too few samples for one it is their
// range.
type summary struct{ Median, Lo, Hi float64 }

func summarize(values []float64) summary {
	s := benchmath.AssumeNothing.Summary(sample(values), 0.95)
	lo, hi := s.Lo, s.Hi
	if math.IsInf(lo, 0) {
		lo = slices.Min(values)
	}
	if math.IsInf(hi, 0) {
		hi = slices.Max(values)
	}
	return summary{s.Center, lo, hi}
}

// sample copies the values: NewSample sorts what it is given.
func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

// uTest is the Mann-Whitney test of benchstat: how probable it is that two samples of the same differ at least so much.
func uTest(base, new []float64) float64 {
	return benchmath.AssumeNothing.Compare(sample(base), sample(new)).P
}

// compareTimes compares two samples. The interval of the ratio holds it with a probability of 1-alpha.
//
// The ratio is the median of those of all pairs of a new and an old value (Hodges and Lehmann), and the interval is the one
// that belongs to the U test: it holds 1 exactly if the test finds no difference at alpha. Unlike the ratio of the medians it
// comes with an interval, and unlike the intervals of the two medians a single outlier does not spoil that.
func compareTimes(base, new []float64, alpha float64) change {
	c := change{Base: summarize(base), New: summarize(new), P: uTest(base, new), N: min(len(base), len(new))}
	ratios := make([]float64, 0, len(base)*len(new))
	for _, n := range new {
		for _, b := range base {
			ratios = append(ratios, n/b)
		}
	}
	slices.Sort(ratios)
	c.Ratio = median(ratios)
	k := leave(len(base), len(new), alpha)
	if k < 0 {
		c.RatioLo, c.RatioHi = 0, math.Inf(1)
		return c
	}
	c.RatioLo, c.RatioHi = ratios[k], ratios[len(ratios)-1-k]
	c.Significantly = c.RatioLo > 1 || c.RatioHi < 1
	return c
}

// leave returns how many of the sorted ratios lie outside the interval at each end; -1 if the samples are too small for one.
func leave(n, m int, alpha float64) int {
	d := stats.UDist{N1: n, N2: m}
	return sort.Search(n*m, func(u int) bool { return d.CDF(float64(u)) > alpha/2 }) - 1
}

// median of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func medianOf(values []float64) float64 { return median(slices.Sorted(slices.Values(values))) }

// geomean of positive values; 1 of none.
func geomean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += math.Log(v)
	}
	return math.Exp(sum / math.Max(float64(len(values)), 1))
}
