package jose

import (
	"strconv"
	"time"
)

// Moment reads a NumericDate, seconds that may have a fraction (RFC 7519 section 2), up to the year 9999: milliseconds are none, and neither is
// nil.
func (v *Value) Moment() (time.Time, bool) {
	const lastSecond = 253402300799
	if v == nil || v.Kind != Number {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(string(v.Text), 64)
	if err != nil || seconds < 0 || seconds > lastSecond {
		return time.Time{}, false
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true
}
