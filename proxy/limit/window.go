package limit

import (
	"fmt"
	"time"
)

// Window says how much of something one key may have: Count in each Per on average, and Burst at once.
type Window struct {
	Text  string // as it is configured, for people
	Count int
	Per   time.Duration
	Burst int // how many tokens a bucket holds
	By    Key

	interval int64 // between two tokens, in nanoseconds; see measure
}

// WindowsMax bounds the windows of one policy, and the limits of one policy of concurrency.
const WindowsMax = 8

// The bounds of what can be kept.
const (
	// intervalMin is the shortest time between two tokens: 1,000,000 in a second. Faster ones would be off by the rounding.
	intervalMin = int64(time.Microsecond)
	// burstMax is the longest time that an empty bucket takes to fill, so that no time overflows.
	burstMax = int64(10 * 365 * 24 * time.Hour)
)

// measure finds the time between two tokens. It is rounded up, so that the rate is never more than what is configured.
func (w *Window) measure() error {
	if w.Count < 1 || w.Burst < 1 || w.Per <= 0 {
		return fmt.Errorf("%q has a number that is not above 0", w.Text)
	}
	w.interval = (int64(w.Per) + int64(w.Count) - 1) / int64(w.Count)
	if w.interval < intervalMin || int64(w.Burst) > burstMax/w.interval {
		return fmt.Errorf("%q is faster than 1,000,000 in a second, or takes longer than 10 years to come back", w.Text)
	}
	return nil
}

// seconds rounds up.
func seconds(ns int64) uint64 {
	return uint64((ns + int64(time.Second) - 1) / int64(time.Second))
}

// tokens is how many tokens a bucket holds that will be full in so many nanoseconds.
func (w *Window) tokens(full int64) int {
	return int(max(int64(w.Burst)-(full+w.interval-1)/w.interval, 0))
}
