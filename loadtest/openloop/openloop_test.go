package openloop

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// run runs a load in a bubble, where time passes only when everybody waits: what is measured is exact.
func run(t *testing.T, o Options, check func(*Report)) {
	t.Helper()
	o.Sleep = time.Sleep
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var failed int64
		for _, n := range r.Failures {
			failed += n
		}
		if want := int64(o.Rate * o.Duration.Seconds()); r.Due != want || r.Answered+failed != r.Due {
			t.Errorf("%d were due, %d answered, %d failed; want %d in all", r.Due, r.Answered, failed, want)
		}
		check(r)
	})
}

// about tells whether a time is what was wanted, within the resolution of a histogram.
func about(got, want time.Duration) bool {
	return got >= want*99/100 && got <= want*101/100+time.Microsecond
}

func TestSteady(t *testing.T) {
	o := Options{Rate: 1000, Duration: 5 * time.Second, Workers: 10, Timeout: time.Second}
	o.Do = func(int, time.Time) Outcome {
		time.Sleep(2 * time.Millisecond)
		return Outcome{}
	}
	run(t, o, func(r *Report) {
		for _, q := range []float64{0.5, 0.99, 1} {
			if got := Quantile(r.Latency, q); !about(got, 2*time.Millisecond) {
				t.Errorf("quantile %v: %s, want 2ms", q, got)
			}
		}
		if r.Waited != 0 || Quantile(r.Lag, 1) > 10*time.Microsecond || r.Busiest > 3 {
			t.Errorf("%d waited, lag %s, busiest %d", r.Waited, Quantile(r.Lag, 1), r.Busiest)
		}
	})
}

// TestStall is what this package is for: a server stands still for half a second. Of 10,000 requests 500 were due in
// that time, and waited for what was left of it. A closed loop of ten connections has ten slow requests to tell of,
// 0.1 % of all, and its p99 shows nothing.
func TestStall(t *testing.T) {
	f := func(workers int) {
		t.Helper()
		o := Options{Rate: 1000, Duration: 10 * time.Second, Workers: workers, Timeout: 5 * time.Second}
		var once sync.Once
		var began time.Time
		o.Do = func(int, time.Time) Outcome {
			once.Do(func() { began = time.Now() })
			if at := time.Since(began); at >= time.Second && at < 1500*time.Millisecond {
				time.Sleep(1500*time.Millisecond - at)
			}
			return Outcome{}
		}
		run(t, o, func(r *Report) {
			// 1 % of all is 100 requests: those that were due in the first 100 ms of the stall waited 400 ms and more.
			if got := Quantile(r.Latency, 0.99); !about(got, 400*time.Millisecond) {
				t.Errorf("%d workers: p99 is %s, want 400ms", workers, got)
			}
			if got := Quantile(r.Latency, 0.97); !about(got, 200*time.Millisecond) {
				t.Errorf("%d workers: p97 is %s, want 200ms", workers, got)
			}
			if got := Quantile(r.Latency, 0.94); got > time.Millisecond {
				t.Errorf("%d workers: p94 is %s, want next to nothing", workers, got)
			}
			if got := Quantile(r.Lag, 1); got > time.Millisecond {
				t.Errorf("%d workers: the generator takes the blame for %s", workers, got)
			}
			if r.Answered != r.Due {
				t.Errorf("%d workers: %d of %d answered", workers, r.Answered, r.Due)
			}
			if workers == 10 {
				if got := Quantile(r.Service, 0.99); got > time.Millisecond {
					t.Errorf("a closed loop would have told of %s", got)
				}
				if r.Waited < 450 {
					t.Errorf("only %d requests waited for a connection", r.Waited)
				}
			}
		})
	}
	f(10)
	f(1000) // with a connection for each it is the same
}

// TestOverload: a server that does 500 requests per second is asked for 1000. What was not answered in time is a failure
// and counts as slow.
func TestOverload(t *testing.T) {
	o := Options{Rate: 1000, Duration: 10 * time.Second, Workers: 4, Timeout: 2 * time.Second}
	o.Do = func(int, time.Time) Outcome {
		time.Sleep(8 * time.Millisecond)
		return Outcome{}
	}
	run(t, o, func(r *Report) {
		if r.Failures[NotSent] < 3500 || r.Answered < 5000 || r.Answered > 6500 {
			t.Errorf("%d answered, failures %v", r.Answered, r.Failures)
		}
		if got := Quantile(r.Latency, 0.99); got < 2*time.Second {
			t.Errorf("p99 is %s, want 2s: what was given up has waited as long", got)
		}
		if r.Elapsed < 10*time.Second || r.Elapsed > 13*time.Second {
			t.Errorf("it took %s", r.Elapsed)
		}
	})
}

func TestWarmupDoesNotCount(t *testing.T) {
	o := Options{Rate: 100, Duration: 2 * time.Second, Warmup: time.Second, Workers: 10, Timeout: time.Second}
	var began time.Time
	var once sync.Once
	o.Do = func(int, time.Time) Outcome {
		once.Do(func() { began = time.Now() })
		if time.Since(began) < 500*time.Millisecond {
			return Outcome{Failure: "cold"}
		}
		return Outcome{}
	}
	run(t, o, func(r *Report) {
		if r.Answered != 200 || len(r.Failures) != 0 || !about(r.Elapsed, 2*time.Second) {
			t.Errorf("%d answered, failures %v, in %s", r.Answered, r.Failures, r.Elapsed)
		}
	})
}

func TestFailures(t *testing.T) {
	o := Options{Rate: 100, Duration: time.Second, Workers: 1, Timeout: time.Second}
	n := 0
	o.Do = func(int, time.Time) Outcome {
		n++
		switch {
		case n%10 == 0:
			return Outcome{Failure: "refused", Err: errors.New("first")}
		case n%10 == 5:
			time.Sleep(time.Millisecond)
			return Outcome{Failure: "timeout", Unanswered: true}
		case n == 1:
			return Outcome{Failure: "no port", Own: true}
		}
		return Outcome{}
	}
	run(t, o, func(r *Report) {
		if r.Failures["refused"] != 10 || r.Failures["timeout"] != 10 || r.Own != 1 || r.Answered != 79 {
			t.Errorf("%+v", r)
		}
		// What fails at once is not quick.
		if r.Latency.TotalCount() != 89 || r.Service.TotalCount() != 79 {
			t.Errorf("%d latencies, %d service times", r.Latency.TotalCount(), r.Service.TotalCount())
		}
		if r.Examples["refused"] == nil || r.Examples["timeout"] != nil {
			t.Errorf("examples: %v", r.Examples)
		}
	})
}

// TestGeneratorLate: a generator that oversleeps says so, and does not blame the server.
func TestGeneratorLate(t *testing.T) {
	f := func(oversleep time.Duration, late time.Duration, own bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r, err := Run(t.Context(), Options{
				Rate: 1000, Duration: 2 * time.Second, Workers: 10, Timeout: 500 * time.Millisecond,
				Do:    func(int, time.Time) Outcome { return Outcome{} },
				Sleep: func(d time.Duration) { time.Sleep(d + oversleep) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := Quantile(r.Lag, 0.99); got < late*9/10 || got > late+time.Millisecond {
				t.Errorf("oversleeps by %s: late by %s at p99, want about %s", oversleep, got, late)
			}
			if (r.Own > 0) != own || r.Own != r.Failures[TooLate] || r.Failures[NotSent] != 0 {
				t.Errorf("oversleeps by %s: %d failures of its own, all are %v", oversleep, r.Own, r.Failures)
			}
			if r.Due != 2000 {
				t.Errorf("%d were due", r.Due)
			}
		})
	}
	f(0, 0, false)
	f(100*time.Millisecond, 100*time.Millisecond, false)
	f(900*time.Millisecond, 900*time.Millisecond, true) // longer than anybody waits for an answer
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		r, err := Run(ctx, Options{Rate: 100, Duration: time.Hour, Workers: 1, Timeout: time.Second, Sleep: time.Sleep, Do: func(int, time.Time) Outcome { return Outcome{} }})
		if err == nil || r.Due < 149 || r.Due > 151 {
			t.Errorf("error %v after %d requests", err, r.Due)
		}
	})
}
