package profiling

import (
	"strings"
	"testing"
	"time"

	"sluice/proxy/observe"
)

// judged is a judge with the time and the counts that it sees.
type judged struct {
	t *testing.T
	judge
	now look
}

func newJudged(t *testing.T, c Capture) *judged {
	return &judged{t: t, judge: judge{Capture: c}, now: look{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), cores: 2}}
}

// step lets a quarter of Over pass, in which so many requests were quick and slow, and the process used busy of its two
// cores. It returns what the judge makes of it: nothing, suspicious, or the threshold.
func (j *judged) step(quick, slow uint64, busy float64) string {
	const below, above = 3, 9 // 2.5 to 5 ms, 250 to 500 ms
	pause := j.Over / looksPerWindow
	j.now.at = j.now.at.Add(pause)
	j.now.requests[below] += quick
	j.now.requests[above] += slow
	j.now.cpu += time.Duration(busy * 2 * float64(pause))
	why := j.judge.step(j.now)
	switch {
	case why != (reason{}):
		return why.threshold
	case j.suspicious:
		return "suspicious"
	}
	return ""
}

// steps plays several and compares all of them.
func (j *judged) steps(want string, n int, quick, slow uint64, busy float64) {
	j.t.Helper()
	var got []string
	for range n {
		got = append(got, j.step(quick, slow, busy))
	}
	if strings.Join(got, ",") != want {
		j.t.Errorf("got %q, want %q", strings.Join(got, ","), want)
	}
}

func TestJudge(t *testing.T) {
	limits := Capture{P99: 250 * time.Millisecond, CPU: 0.9, Over: 10 * time.Second, Times: 1, Per: 10 * time.Minute}

	// The window has to fill first: a start is no reason.
	j := newJudged(t, limits)
	j.steps(",,,,", 5, 100, 0, 0.5)
	j.steps(",", 2, 1000, 5, 0.5) // below 1 %
	j.steps("suspicious,p99", 2, 100, 50, 0.5)
	// Only one in ten minutes, and what is slow meanwhile does not start the recorder.
	j.steps(strings.Repeat(",", 199), 200, 100, 100, 1)
	j.steps("", 1, 100, 100, 1)

	// After ten minutes again.
	j = newJudged(t, limits)
	j.steps(",,,,suspicious,p99", 6, 0, 50, 0)
	j.steps(strings.Repeat(",", 239)+"suspicious", 240, 0, 50, 0)
	j.steps("p99", 1, 0, 50, 0)

	// One look over a threshold alone is none.
	j = newJudged(t, limits)
	j.steps(",,,,", 5, 100, 0, 0)
	j.steps("suspicious", 1, 100, 5, 0)
	j.steps("", 1, 1000, 0, 0)
	j.steps(",,,", 4, 100, 0, 0)

	// Busy cores.
	j = newJudged(t, limits)
	j.steps(",,,,", 5, 0, 0, 0.89)
	j.steps("", 1, 0, 0, 0.92) // 0.8975 over the window
	j.steps("suspicious,cpu", 2, 0, 0, 0.93)

	// Few requests say nothing about 99 % of them.
	j = newJudged(t, limits)
	j.steps(strings.Repeat(",", 19), 20, 14, 10, 0)

	// A reload makes what was seen before worthless; so does a removed route.
	j = newJudged(t, limits)
	j.steps(",,,,suspicious", 5, 0, 50, 0)
	j.forget()
	j.steps(",,,,suspicious", 5, 0, 50, 0)
	j.now.requests = observe.Durations{}
	j.steps(",,,", 4, 0, 50, 0)
	j.steps("suspicious,p99", 2, 0, 50, 0)

	// Thresholds that are not given are not looked at.
	j = newJudged(t, Capture{CPU: 0.9, Over: time.Second, Times: 1, Per: time.Minute})
	j.steps(strings.Repeat(",", 9), 10, 0, 1000, 0.5)
	j = newJudged(t, Capture{P99: time.Millisecond, Over: time.Second, Times: 1, Per: time.Minute})
	j.steps(strings.Repeat(",", 9), 10, 0, 0, 1)

	// Captures of an earlier process count.
	j = newJudged(t, limits)
	j.captured = []time.Time{j.now.at.Add(-9 * time.Minute), j.now.at.Add(-11 * time.Minute)}
	j.steps(strings.Repeat(",", 23)+"suspicious,p99", 25, 0, 50, 0)
}

func TestReason(t *testing.T) {
	f := func(c Capture, quick, slow uint64, busy float64, want string) {
		t.Helper()
		c.Over = 10 * time.Second
		j := newJudged(t, c)
		first := j.now
		j.step(quick, slow, busy)
		if got := j.passed(first, j.now).text; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f(Capture{P99: 250 * time.Millisecond}, 900, 100, 0, "1% of 1000 requests over 2.5s took about 475ms or longer, and the threshold is 250ms")
	f(Capture{CPU: 0.9}, 0, 0, 0.955, "the process used 96% of what GOMAXPROCS=2 allows over 2.5s, and the threshold is 90%")
	f(Capture{P99: time.Second, CPU: 0.9}, 900, 100, 0.5, "")
}
