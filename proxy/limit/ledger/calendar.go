package ledger

import "time"

// Unit is how long a period of a calendar is.
type Unit uint8

// The periods that there are. A week begins on Monday.
const (
	Day Unit = iota
	Week
	Month
)

// String is the word for a unit, as the configuration has it.
func (u Unit) String() string { return [...]string{"day", "week", "month"}[u] }

// Calendar divides time into periods, which begin at midnight in a time zone. They have numbers that grow.
type Calendar struct {
	Unit Unit
	Zone *time.Location
}

// turn is one period: from start to end, in Unix time in nanoseconds.
type turn struct {
	period     uint64
	start, end int64
}

// at returns the period of a moment.
func (c Calendar) at(now int64) turn {
	return c.period(c.number(time.Unix(0, now)))
}

func (c Calendar) period(n uint64) turn {
	return turn{n, c.begin(n).UnixNano(), c.begin(n + 1).UnixNano()}
}

const secondsPerDay = 24 * 60 * 60

// number counts days from 1970, weeks from the one with that day in it, and months from the year 0.
func (c Calendar) number(t time.Time) uint64 {
	year, month, day := t.In(c.Zone).Date()
	if c.Unit == Month {
		return uint64(year)*12 + uint64(month) - 1
	}
	days := uint64(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
	if c.Unit == Week {
		return (days + daysBefore) / 7
	}
	return days
}

// daysBefore is how many days of its week were over when 1970 began, on a Thursday.
const daysBefore = 3

// begin is the first moment of a period. Where a clock is set forward at midnight that is not 0 o'clock, and where it is set back there
// are two such: time.Date may choose the wrong one.
func (c Calendar) begin(n uint64) time.Time {
	var t time.Time
	switch c.Unit {
	case Month:
		t = time.Date(int(n/12), time.Month(n%12+1), 1, 0, 0, 0, 0, c.Zone)
	case Week:
		t = time.Date(1970, 1, 1+int(n)*7-daysBefore, 0, 0, 0, 0, c.Zone)
	default:
		t = time.Date(1970, 1, 1+int(n), 0, 0, 0, 0, c.Zone)
	}
	for c.number(t) < n {
		t = t.Add(zoneStep)
	}
	for c.number(t.Add(-1)) >= n {
		t = t.Add(-zoneStep)
	}
	return t
}

// zoneStep divides whatever clocks are set forward or back by.
const zoneStep = 15 * time.Minute
