package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// judged runs both looks of the gate over series that draw returns, and tells what it thinks in the end.
func judged(draw func(n int) (base, here *series)) verdict {
	e := &entry{}
	base, here := draw(12)
	e.look(base, here)
	if e.Verdict == suspected {
		base, here = draw(24)
		decide([]again{{e, base, here}})
	}
	return e.Verdict
}

func times(seconds []float64) *series {
	return &series{seconds: seconds, bytes: make([]float64, len(seconds)), allocs: make([]float64, len(seconds))}
}

// TestVerdictSlow finds slow-downs through noise, and lets pass what is too small to matter.
func TestVerdictSlow(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	// Of a hundred a few may be missed: the noise is heavy.
	f := func(seconds, ratio, spread float64, want ...verdict) {
		t.Helper()
		got := make(map[verdict]int)
		for range 100 {
			got[judged(func(n int) (base, here *series) {
				return times(noisy(random, n, seconds, spread)), times(noisy(random, n, seconds*ratio, spread))
			})]++
		}
		right := 0
		for _, w := range want {
			right += got[w]
		}
		if right < 96 || got[slower] > 0 && !slices.Contains(want, slower) {
			t.Errorf("%v s, %v times as much: got %v, want %q", seconds, ratio, got, want)
		}
	}
	f(2e-6, 1.10, 0.02, slower)
	f(2e-6, 1.25, 0.05, slower)
	f(2e-6, 3.00, 0.20, slower)
	f(2e-6, 1.04, 0.005, below)
	f(2e-6, 1.02, 0.01, same, cleared)
	f(2e-6, 1.00, 0.05, same, cleared, faster)
	f(2e-6, 0.65, 0.02, faster)
	f(4e-9, 1.20, 0.01, same)   // less than a nanosecond
	f(4e-9, 1.50, 0.01, slower) // more
}

// TestVerdictSame has many gates judge many benchmarks that have not changed: some quiet, some noisy, some that take one of
// two times, as the layout wants. A false alarm has a chance of one in a hundred per gate, by the test alone.
func TestVerdictSame(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const gates, benchmarks = 100, 80
	alarms, suspects := 0, 0
	for range gates {
		var list []again
		for i := range benchmarks {
			draw := func(n int) (base, here *series) {
				one := func() *series {
					values := noisy(random, n, 1e-6, []float64{0.01, 0.03, 0.08}[i%3])
					if i%10 == 0 {
						for k := range values {
							values[k] *= []float64{1, 1.7}[random.IntN(2)]
						}
					}
					return times(values)
				}
				return one(), one()
			}
			e := &entry{}
			if e.look(draw(12)); e.Verdict == suspected {
				base, here := draw(24)
				list = append(list, again{e, base, here})
			}
		}
		suspects += len(list)
		decide(list)
		if slices.ContainsFunc(list, func(a again) bool { return a.Verdict != cleared }) {
			alarms++
		}
	}
	if suspects == 0 {
		t.Error("nothing ever looked worse: this is not what noise does")
	}
	if alarms > gates/50 {
		t.Errorf("%d of %d gates have raised a false alarm", alarms, gates)
	}
}

func TestVerdictAllocations(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	f := func(want verdict, base, here func(s *series, i int)) {
		t.Helper()
		got := judged(func(n int) (*series, *series) {
			b, h := times(noisy(random, n, 1e-6, 0.01)), times(noisy(random, n, 1e-6, 0.01))
			for i := range n {
				base(b, i)
				here(h, i)
			}
			return b, h
		})
		if want == same && got == cleared {
			got = same
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	allocs := func(counts ...float64) func(s *series, i int) {
		return func(s *series, i int) { s.allocs[i] = counts[i%len(counts)] }
	}
	bytes := func(counts ...float64) func(s *series, i int) {
		return func(s *series, i int) { s.bytes[i] = counts[i%len(counts)] }
	}
	f(same, allocs(0), allocs(0))
	f(allocates, allocs(0), allocs(1))
	f(allocates, allocs(7), allocs(8))
	f(same, allocs(1), allocs(0))
	// Chance, on either side.
	f(same, allocs(0), allocs(0, 0, 0, 1))
	f(allocates, allocs(0, 0, 0, 1), allocs(1))
	f(allocates, allocs(0), allocs(1, 1, 1, 2))
	f(same, allocs(100, 103, 101), allocs(101, 100, 103))
	// Not every time, but again and again.
	f(allocates, bytes(0), bytes(16))
	f(allocates, bytes(100), bytes(132))
	f(same, bytes(0), bytes(8))
	f(same, bytes(0), bytes(0, 0, 0, 64))
	f(same, bytes(64), bytes(0))
}

// TestVerdictTogether judges several at once: the more there are the less probable each has to be, but for those that come
// after what is certain.
func TestVerdictTogether(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	list := func(ratios ...float64) (l []again) {
		for _, r := range ratios {
			l = append(l, again{&entry{}, times(noisy(random, 24, 1e-6, 0.01)), times(noisy(random, 24, r*1e-6, 0.01))})
		}
		return l
	}
	f := func(want []verdict, l []again) {
		t.Helper()
		entries := make([]*entry, len(l))
		for i, a := range l {
			entries[i] = a.entry
		}
		decide(l)
		for i, e := range entries {
			if e.Verdict != want[i] || e.FirstLook == nil {
				t.Errorf("%d: got %q %+v, want %q", i, e.Verdict, e.Change, want[i])
			}
		}
	}
	f(nil, nil)
	f([]verdict{cleared, slower, below, slower, cleared}, list(1, 1.10, 1.04, 1.20, 0.9))

	// Six of each are different with p = 0.0022 at best: that is enough alone, or behind others, not as one of many.
	short := func() again {
		slow := &series{seconds: []float64{2, 2.1, 2.2, 2.3, 2.4, 2.5}, bytes: make([]float64, 6), allocs: make([]float64, 6)}
		fast := &series{seconds: []float64{1, 1.1, 1.2, 1.3, 1.4, 1.5}, bytes: make([]float64, 6), allocs: make([]float64, 6)}
		return again{&entry{}, fast, slow}
	}
	f([]verdict{slower}, []again{short()})
	f([]verdict{slower, slower, slower, slower, slower, slower}, append(list(1.1, 1.1, 1.1, 1.1, 1.1), short()))
	f([]verdict{cleared, cleared, cleared, cleared, cleared, cleared}, append(list(1, 1, 1, 1, 1), short()))
}
