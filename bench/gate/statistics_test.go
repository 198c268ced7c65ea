package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The samples of Hollander and Wolfe, Nonparametric Statistical Methods (1973), page 69, also an example of R's wilcox.test.
var (
	permeability  = []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	permeability2 = []float64{1.15, 0.88, 0.90, 0.74, 1.21}
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-4 }

func TestUTest(t *testing.T) {
	f := func(base, new []float64, want float64) {
		t.Helper()
		if got := uTest(base, new); !near(got, want) {
			t.Errorf("got p=%v, want %v", got, want)
		}
	}
	f(permeability2, permeability, 0.254412)
	f(permeability, permeability2, 0.254412)
	// Samples that do not overlap: 2 of all ways to choose 6 of 12.
	f([]float64{1, 2, 3, 4, 5, 6}, []float64{7, 8, 9, 10, 11, 12}, 2.0/924)
	f([]float64{0, 0, 0, 0, 0, 0}, []float64{1, 1, 1, 1, 1, 1}, 2.0/924)
	f([]float64{3, 3, 3}, []float64{3, 3, 3}, 1)
}

func TestRatio(t *testing.T) {
	// Differences become ratios when both are exponents: the estimate and the interval of the book.
	exp := func(values []float64) (e []float64) {
		for _, v := range values {
			e = append(e, math.Exp(v))
		}
		return e
	}
	c := compareTimes(exp(permeability2), exp(permeability), 0.05)
	got := []float64{math.Log(c.Ratio), math.Log(c.RatioLo), math.Log(c.RatioHi)}
	for i, want := range []float64{0.305, -0.15, 0.76} {
		if !near(got[i], want) {
			t.Errorf("got %v, want %v", got[i], want)
		}
	}
	if c.Significantly || c.N != 5 || !near(c.P, 0.254412) {
		t.Errorf("got %+v", c)
	}
}

func TestLeave(t *testing.T) {
	// Counted with a program of another kind, by the recurrence of Mann and Whitney.
	f := func(n, m int, alpha float64, want int) {
		t.Helper()
		if got := leave(n, m, alpha); got != want {
			t.Errorf("%d and %d at %v: got %d, want %d", n, m, alpha, got, want)
		}
	}
	f(4, 4, 0.01, -1) // too few to say anything
	f(5, 5, 0.01, 0)
	f(6, 6, 0.01, 2)
	f(12, 12, 0.01, 27)
	f(8, 8, 0.05, 13)
	f(10, 5, 0.05, 8)
}

// TestInterval draws samples that differ by a known ratio: the interval holds it as often as it says, and not always.
func TestInterval(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const trials, alpha = 3000, 0.05
	missed := 0
	for range trials {
		c := compareTimes(noisy(random, 9, 100, 0.05), noisy(random, 9, 130, 0.05), alpha)
		if c.RatioLo > 1.3 || c.RatioHi < 1.3 {
			missed++
		}
		if c.RatioLo > c.Ratio || c.RatioHi < c.Ratio {
			t.Fatalf("the ratio is outside of its interval: %+v", c)
		}
	}
	// Samples are few and the test is discrete: a bit less than alpha is right.
	if share := float64(missed) / trials; share > alpha*1.2 || share < alpha/3 {
		t.Errorf("the interval misses the ratio in %v of the trials, want about %v", share, alpha)
	}
}

// noisy returns n times around a median, some of them far too slow, as on a machine that does other things too.
func noisy(random *rand.Rand, n int, median, spread float64) []float64 {
	var values []float64
	for range n {
		v := median * math.Exp(spread*random.NormFloat64())
		if random.IntN(10) == 0 {
			v *= 1 + random.Float64()
		}
		values = append(values, v)
	}
	return values
}

func TestSummary(t *testing.T) {
	f := func(values []float64, want summary) {
		t.Helper()
		if got := summarize(values); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f([]float64{3, 1, 2}, summary{2, 1, 3}) // too few for an interval: the range
	f([]float64{5, 1, 2, 4, 3, 6}, summary{3.5, 1, 6})
	f([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, summary{5.5, 2, 9})
}

func TestGeomean(t *testing.T) {
	f := func(want float64, values ...float64) {
		t.Helper()
		if got := geomean(values); !near(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	f(1)
	f(1.5, 1.5)
	f(1, 2, 0.5)
	f(2, 1, 2, 4)
}
