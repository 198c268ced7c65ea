package ledger

import "sync/atomic"

// Limit is how much a key may use in a period.
type Limit struct {
	Text  string // as it is configured, for people
	Most  int64
	Batch int64 // what is reserved at a time: a crash costs as much at most
}

// AmountMax is the most that can be counted.
const AmountMax = 1<<amountBits - 1

// Account is what one key has used in the period in which it was last asked about. All methods are safe for concurrent use, and but for
// Charge of what was given up they allocate nothing and never wait.
type Account struct {
	meter *Meter
	key   Key
	text  string // the key, for people
	hot   uint64 // what Find is asked for; 0: nobody has asked yet

	// state is what was used, and kept what may be used because the file says so, each with the period that it is about.
	state, kept atomic.Uint64
	limit       atomic.Pointer[Limit] // that it was last asked with
	need        atomic.Int64          // what there was no room for
	queued      atomic.Bool           // the file is to say more, or something else
	batch       int64                 // of the record that was read, if one was
}

// A period and an amount fit in one word.
const (
	amountBits = 42
	// gone is the state of an account that was given up: whoever holds it looks for another.
	gone = ^uint64(0)
)

func pack(period uint64, amount int64) uint64 {
	return period<<amountBits | uint64(max(0, min(amount, AmountMax)))
}

func unpack(s uint64) (period uint64, amount int64) { return s >> amountBits, int64(s & AmountMax) }

// Verdict is what became of a request.
type Verdict struct {
	OK bool
	// Closed says that it cannot be known whether there is enough: the file was not written in time.
	Closed bool
	// Gone says that the account was given up, and has to be looked for again.
	Gone   bool
	Period uint64
	Used   int64 // after it
	// Until is the time in nanoseconds until the period ends, and Length how long all of it is.
	Until, Length int64
}

// Look says what Take would say, and takes nothing. now is Unix time in nanoseconds.
func (a *Account) Look(n int64, l *Limit, now int64) Verdict {
	v, _ := a.judge(a.state.Load(), n, l, now)
	return v
}

// Take uses n if there is as much left, or else nothing.
func (a *Account) Take(n int64, l *Limit, now int64) Verdict {
	for {
		s := a.state.Load()
		v, room := a.judge(s, n, l, now)
		if v.Gone {
			return v
		}
		if a.limit.Load() != l {
			a.limit.Store(l)
		}
		if !v.OK {
			if v.Closed {
				a.need.Store(n)
				a.meter.ledger.queue(a)
			}
			return v
		}
		if !a.state.CompareAndSwap(s, pack(v.Period, v.Used)) {
			continue
		}
		if room < l.Batch/2+1 {
			a.meter.ledger.queue(a)
		}
		return v
	}
}

// judge is the decision. room is how much more may be used before the file has to say more.
func (a *Account) judge(s uint64, n int64, l *Limit, now int64) (v Verdict, room int64) {
	if s == gone {
		return Verdict{Gone: true}, 0
	}
	period, used := unpack(s)
	t := a.meter.turn(now)
	if period > t.period {
		t = a.meter.calendar.period(period) // the clock was set back: nobody gets the same period twice
	}
	v = Verdict{Period: t.period, Until: t.end - now, Length: t.end - t.start}
	kept, most := unpack(a.kept.Load())
	if kept != t.period || period != t.period {
		crashes, opened := a.meter.crashes(t.period)
		lost := times(crashes, l.Batch)
		if kept != t.period {
			most = lost + l.Batch // there is no record: what may be used is what the file says by saying that the gateway runs
		}
		if period != t.period {
			used = lost
		}
		v.Closed = !opened
	}
	v.Used = used
	switch {
	case used+n > l.Most:
		v.Closed = false
	case v.Closed:
	case used+n > most:
		v.Closed = true
	default:
		v.OK, v.Used = true, used+n
	}
	return v, most - v.Used
}

// Charge uses n in the period of a verdict or, when that is over, in the one that there is, whether or not there is as much left. A
// negative n gives back, if the period is not over. Of an account that was given up since, because the key had used nothing in the new period,
// the one that has come into its place is charged: a tunnel may last over midnight. That alone may wait, for those who enter.
func (a *Account) Charge(n int64, period uint64, now int64) {
	for {
		s := a.state.Load()
		at, used := unpack(s)
		if n < 0 && at != period {
			return
		}
		if s == gone {
			before := a
			if a = before.meter.Enter(before.hot, before.key, before.text, now); a == nil {
				return // the file is closed: nothing can be used any more
			}
			a.limit.CompareAndSwap(nil, before.limit.Load())
			continue
		}
		if current := a.meter.turn(now).period; at < current {
			if n < 0 {
				return
			}
			l := a.limit.Load()
			crashes, _ := a.meter.crashes(current)
			at, used = current, times(crashes, l.Batch)
		}
		if a.state.CompareAndSwap(s, pack(at, used+n)) {
			if kept, amount := unpack(a.kept.Load()); n > 0 && (kept != at || amount < used+n) {
				a.meter.ledger.queue(a)
			}
			return
		}
	}
}

// reset gives the key all of its period back.
func (a *Account) reset(now int64) bool {
	for {
		s := a.state.Load()
		period, used := unpack(s)
		if s == gone || period < a.meter.turn(now).period || used == 0 {
			return false
		}
		if a.state.CompareAndSwap(s, pack(period, 0)) {
			a.meter.ledger.queue(a)
			return true
		}
	}
}

// times multiplies without going over what can be counted.
func times(n uint64, amount int64) int64 {
	if amount > 0 && n > uint64(AmountMax/amount) {
		return AmountMax
	}
	return int64(n) * amount
}
