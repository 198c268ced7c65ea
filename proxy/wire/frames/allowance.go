package frames

import "time"

// Allowance bounds what a peer may ask for beside the messages that it sends and waits for: a burst that is always allowed, of which
// time earns back, and messages earn more. It is the moment when all of the burst will be earned back.
type Allowance int64

// Spend takes one of most, each of which is earned back after every, and returns ErrCalm if there is none left.
func (a *Allowance) Spend(now, most int64, every time.Duration) error {
	*a = max(*a, Allowance(now)) + Allowance(every)
	if int64(*a)-now > most*int64(every) {
		return ErrCalm
	}
	return nil
}

// Earn gives n back before their time. More than the burst is not saved up.
func (a *Allowance) Earn(n int, every time.Duration) { *a -= Allowance(n) * Allowance(every) }
