package frames

import "time"

// Allowance bounds what a peer may ask for beside the messages that it sends and waits for: a burst that is always allowed and that
// time earns back, and what messages have earned. The zero value has all of its burst.
type Allowance struct {
	until  int64 // when all of the burst will be earned back
	earned int
}

// EarnedMax bounds what messages earn in advance. A peer that is far away answers many of them at once, long after they were sent:
// with a PING and two WINDOW_UPDATE each, in gRPC, which is paid for by then.
const EarnedMax = 20_000

// Spend takes one of what was earned, or of most, each of which comes back after every. It returns ErrCalm if there is none left.
func (a *Allowance) Spend(now, most int64, every time.Duration) error {
	if a.earned > 0 {
		a.earned--
		return nil
	}
	a.until = max(a.until, now) + int64(every)
	if a.until-now > most*int64(every) {
		return ErrCalm
	}
	return nil
}

// Earn adds n.
func (a *Allowance) Earn(n int) { a.earned = min(a.earned+n, EarnedMax) }

// Whole reports whether all of the burst is there.
func (a Allowance) Whole(now int64) bool { return a.until <= now }

// Worse returns the one of two that has less of its burst.
func Worse(a, b Allowance) Allowance {
	if a.until > b.until {
		return a
	}
	return b
}
