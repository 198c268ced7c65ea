package ledger

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Skip(err) // the system has no time zones
	}
	return z
}

func TestCalendar(t *testing.T) {
	f := func(u Unit, zoneName, at, start, end string) {
		t.Helper()
		c := Calendar{u, zone(t, zoneName)}
		parse := func(s string) time.Time {
			p, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		got := c.at(parse(at).UnixNano())
		if s, e := time.Unix(0, got.start), time.Unix(0, got.end); !s.Equal(parse(start)) || !e.Equal(parse(end)) {
			t.Errorf("%v in %s at %s: from %s to %s", u, zoneName, at, s.In(c.Zone).Format(time.RFC3339), e.In(c.Zone).Format(time.RFC3339))
		}
	}
	f(Day, "UTC", "2026-01-31T23:59:59.999999999Z", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z")
	f(Day, "UTC", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z")
	f(Month, "UTC", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
	f(Month, "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z")
	f(Month, "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
	f(Week, "UTC", "2026-11-26T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z")
	f(Week, "UTC", "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z")
	f(Week, "UTC", "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z")

	// Midnight is where the zone has it, also on days that are shorter or longer.
	f(Day, "Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")
	f(Day, "Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")
	f(Month, "Europe/Berlin", "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
	f(Month, "America/New_York", "2026-11-30T23:00:00-05:00", "2026-11-01T00:00:00-04:00", "2026-12-01T00:00:00-05:00")
	// Some clocks are set at midnight: a day without that hour, and one whose last hour comes twice.
	f(Day, "America/Asuncion", "2023-10-01T12:00:00-03:00", "2023-10-01T01:00:00-03:00", "2023-10-02T00:00:00-03:00")
	f(Day, "America/Asuncion", "2023-09-30T12:00:00-04:00", "2023-09-30T00:00:00-04:00", "2023-10-01T01:00:00-03:00")
	f(Day, "America/Asuncion", "2023-03-25T12:00:00-03:00", "2023-03-25T00:00:00-03:00", "2023-03-26T00:00:00-04:00")
}

// TestTurns: the numbers of periods grow with time, and every moment is in the period that it says.
func TestTurns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Asuncion", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"} {
		for u := Day; u <= Month; u++ {
			c := Calendar{u, zone(t, name)}
			for range 300 {
				at := int64(1.2e18) + random.Int64N(int64(1e18))
				p := c.at(at)
				if at < p.start || at >= p.end {
					// A clock that is set back over midnight has an hour of the day before once more.
					if q := c.at(p.start); q.period != p.period+1 && at < p.start {
						t.Fatalf("%s %v: %v is not in %+v", name, u, time.Unix(0, at).In(c.Zone), p)
					}
				}
				if next := c.at(p.end); next.period != p.period+1 && name != "Pacific/Apia" || next.start != p.end {
					t.Fatalf("%s %v: %+v is followed by %+v", name, u, p, next)
				}
			}
		}
	}
}

// TestClock compares with a model, with a clock that goes on, jumps and is set back, and with stops and crashes: nobody gets more than
// the limit of any period, nor a period twice. Without crashes everybody gets all of it.
func TestClock(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 7))
		folder := t.TempDir()
		var clock atomic.Int64
		clock.Store(time.Date(2026, 2, 27, 22, 0, 0, 0, time.UTC).UnixNano())
		now := func() time.Time { return time.Unix(0, clock.Load()) }
		limit := &Limit{Text: "60/day", Most: 60, Batch: 5}
		const keys = 4
		given := map[[2]uint64]int64{} // by key and period
		crashes := int64(0)
		for range 6 {
			l, m := started(t, folder, now, perDay)
			for range 60 {
				switch random.IntN(6) {
				case 0:
					clock.Add(random.Int64N(int64(9 * time.Hour)))
				case 1:
					clock.Add(-random.Int64N(int64(5 * time.Hour)))
				}
				k := random.IntN(keys)
				a := enter(t, m, k)
				n := 1 + random.Int64N(5)
				for {
					before, _ := unpack(a.state.Load())
					v := a.Take(n, limit, clock.Load())
					if v.Closed {
						time.Sleep(time.Millisecond)
						continue
					}
					if v.OK {
						given[[2]uint64{uint64(k), v.Period}] += n
					}
					if v.Period < before {
						t.Fatalf("key %d went back from period %d to %d", k, before, v.Period)
					}
					if left := 60 - given[[2]uint64{uint64(k), v.Period}]; left < 0 || !v.OK && left >= n+crashes*5 {
						t.Fatalf("key %d, period %d: %d are left and %d were asked for: %+v", k, v.Period, left, n, v)
					}
					break
				}
			}
			if random.IntN(2) == 0 {
				l.crash()
				crashes++
			} else {
				l.Stop()
			}
		}
	}
}

// TestChargeGone: what ends a day after it began is charged to its key, though the account was given up meanwhile, and stands in the file. What is
// given back then is nobody's.
func TestChargeGone(t *testing.T) {
	folder := t.TempDir()
	var clock atomic.Int64
	clock.Store(time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC).UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()) }
	limit := &Limit{Text: "60/day", Most: 60, Batch: 5}
	l, m := started(t, folder, now, perDay)
	m.SetRoom(1)
	a := enter(t, m, 1)
	if given := use(t, a, limit, 5, now); given != 5 {
		t.Fatalf("%d were given", given)
	}
	period, _ := unpack(a.state.Load())
	eventually(t, "what was used to be written", func() bool { return !a.queued.Load() })
	clock.Add(int64(24 * time.Hour))
	if enter(t, m, 2); a.state.Load() != gone {
		t.Fatal("the account was not given up")
	}
	m.SetRoom(1000)
	f := func(n, want int64) {
		t.Helper()
		a.Charge(n, period, clock.Load())
		if u, _ := m.Usage(key(1), clock.Load()); u.Used != want || want > 0 && u.Limit != limit {
			t.Errorf("%d charged: got %+v, want %d to be used", n, u, want)
		}
	}
	f(-3, 0)
	f(40, 40)
	f(10, 50)
	f(-10, 50)
	if given := use(t, enter(t, m, 1), limit, 60, now); given != 10 {
		t.Errorf("%d were given of what was left", given)
	}
	f(900, 960)
	l.Stop()
	f(1, 0) // nothing is counted any more
	_, m = started(t, folder, now, perDay)
	if u, _ := m.Usage(key(1), clock.Load()); u.Used != 960 {
		t.Errorf("the next run knows of %+v", u)
	}
}

// TestClockAhead: a clock that was far ahead for some days closes nothing when it is right again, nor in the next run. Who has used something
// there goes on in the day that it was in.
func TestClockAhead(t *testing.T) {
	folder := t.TempDir()
	var clock atomic.Int64
	today := time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC)
	clock.Store(today.UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()) }
	limit := &Limit{Text: "60/day", Most: 60, Batch: 5}
	f := func(m *Meter, at time.Time, key, want int) {
		t.Helper()
		clock.Store(at.UnixNano())
		if given := use(t, enter(t, m, key), limit, want, now); given != want {
			t.Errorf("at %v key %d was given %d, want %d", at, key, given, want)
		}
		if _, ok := m.crashes(m.turn(clock.Load()).period); !ok {
			t.Errorf("%v is not opened: its requests have the file written for ever", at)
		}
	}
	l, m := started(t, folder, now, perDay)
	f(m, today, 1, 20)
	for day := range 6 {
		f(m, today.AddDate(1, 0, day), 10+day, 50)
	}
	f(m, today, 2, 30)
	f(m, today, 1, 20)
	f(m, today, 15, 10) // in a year
	for day := range 4 {
		f(m, today.AddDate(0, 0, day), 20+day, 60)
	}
	l.Stop()
	_, m = started(t, folder, now, perDay)
	f(m, today.AddDate(0, 0, 3), 30, 60)
	f(m, today.AddDate(0, 0, 4), 31, 60)
	if given := use(t, enter(t, m, 15), limit, 60, now); given != 0 {
		t.Errorf("a key got %d more of a day that it had used up", given)
	}
}
