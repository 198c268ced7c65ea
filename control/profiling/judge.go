package profiling

import (
	"fmt"
	"time"

	"sluice/proxy/observe"
)

// Capture says when to capture. The zero value never does.
type Capture struct {
	P99    time.Duration // 99 % of the requests that ended within Over took no longer; 0 is not looked at
	CPU    float64       // a share of what all cores together can do; 0 is not looked at
	Over   time.Duration
	Times  int // at most so many captures
	Per    time.Duration
	Except []string // routes whose requests do not count for P99
}

func (c Capture) on() bool { return c.P99 > 0 || c.CPU > 0 }

// look is what a judge sees at one moment.
type look struct {
	at       time.Time
	requests observe.Durations
	cpu      time.Duration // of the process, since its start
	cores    int
}

// looksPerWindow is how often the judge looks within Over. A window always ends now, and begins so many looks ago.
const looksPerWindow = 4

// requestsMin is how many requests a 99th percentile is made of at least. Of fewer, it would be the slowest one.
const requestsMin = 100

// judge decides when a capture is worth its cost. One look over a threshold makes it suspicious, and who asked it turns
// the flight recorder on; a second one in a row is a reason to capture what the recorder has seen in between.
type judge struct {
	Capture
	looks      []look // oldest first, at most looksPerWindow+1
	suspicious bool
	captured   []time.Time // within Per
}

// reason is why a capture is taken. Its zero value is none.
type reason struct {
	threshold string // p99 or cpu, for the metric
	text      string
}

// step takes a new look and returns the reason for a capture, if there is one now. After a capture everything begins
// anew: what a capture costs is no reason for the next one.
func (j *judge) step(now look) reason {
	j.looks = append(j.looks, now)
	if len(j.looks) <= looksPerWindow {
		return reason{}
	}
	if len(j.looks) > looksPerWindow+1 {
		j.looks = append(j.looks[:0], j.looks[1:]...)
	}
	why := j.passed(j.looks[0], now)
	if why == (reason{}) || !j.mayCapture(now.at) {
		j.suspicious = false
		return reason{}
	}
	if !j.suspicious {
		j.suspicious = true
		return reason{}
	}
	j.captured = append(j.captured, now.at)
	j.forget()
	return why
}

// forget drops the looks: they are from before something that makes them worthless, such as a reload.
func (j *judge) forget() { j.looks, j.suspicious = nil, false }

// passed compares a window with the thresholds.
func (j *judge) passed(first, last look) reason {
	took := last.at.Sub(first.at)
	if took <= 0 {
		return reason{}
	}
	if share := float64(last.cpu-first.cpu) / float64(took) / float64(last.cores); j.CPU > 0 && share >= j.CPU {
		return reason{"cpu", fmt.Sprintf("the process used %.0f%% of what GOMAXPROCS=%d allows over %v, and the threshold is %.0f%%",
			100*share, last.cores, took.Round(time.Second/10), 100*j.CPU)}
	}
	if j.P99 == 0 {
		return reason{}
	}
	requests, ok := last.requests.Since(first.requests)
	if !ok || requests.Count() < requestsMin {
		return reason{}
	}
	if p99 := requests.Quantile(0.99); p99 > j.P99 {
		return reason{"p99", fmt.Sprintf("1%% of %d requests over %v took about %v or longer, and the threshold is %v",
			requests.Count(), took.Round(time.Second/10), p99.Round(time.Millisecond/10), j.P99)}
	}
	return reason{}
}

// mayCapture says whether another capture is within the limit. If it is not, there is nothing to be suspicious for.
func (j *judge) mayCapture(now time.Time) bool {
	recent := j.captured[:0]
	for _, at := range j.captured {
		if now.Sub(at) < j.Per {
			recent = append(recent, at)
		}
	}
	j.captured = recent
	return len(j.captured) < j.Times
}
