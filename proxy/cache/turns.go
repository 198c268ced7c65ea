package cache

import (
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// leadersMax is how many may fail, one after the other, until all who wait for them are told what the last one was.
const leadersMax = 3

// turns bounds how many followers ask the origin by themselves after their leader has left them without a response: a few at first, and two
// more for each response that has come. So thousands of them do not ask at the same moment, and they wait briefly if the origin is fast.
type turns struct {
	once sync.Once
	free chan struct{}
}

// atFirst is how many go at once; turnsMax bounds how many may be free.
const (
	atFirst  = 8
	turnsMax = 1 << 10
)

func (t *turns) init() {
	t.once.Do(func() {
		t.free = make(chan struct{}, turnsMax)
		for range atFirst {
			t.free <- struct{}{}
		}
	})
}

// give lets so many more go.
func (t *turns) give(n int) {
	t.init()
	for range n {
		select {
		case t.free <- struct{}{}:
		default:
		}
	}
}

// What queue returns beside the states in which a flight can be.
const (
	ownTurn  = failed + 1 + iota // it is the caller's turn
	hopeless                     // leadersMax requests that had a turn have failed in a row, so that the others do not try: f.spent is the error
)

// more frees a few more slots, at most once in each while, however many call it: the requests that have a slot may hang, too.
func (f *flight) more(now int64, while time.Duration) {
	f.mu.Lock()
	due := now >= f.moreAt
	if due {
		f.moreAt = now + int64(while)
	}
	f.mu.Unlock()
	if due {
		f.turns.give(atFirst)
	}
}

// queue blocks until f leaves the state in, another request has stored an answer (refreshed), too many have failed (hopeless), or a slot is
// free (ownTurn). After each wait without any of these: if in is waiting, a few more slots become free and it goes on, until the time of x is
// over, when it returns waiting; in any other state it returns ownTurn. It returns an error if x is canceled.
func (f *flight) queue(x *proxy.Exchange, in state, wait time.Duration) (state, error) {
	t := &f.turns
	t.init()
	if in == waiting {
		f.mu.Lock()
		if f.moreAt == 0 {
			f.moreAt = wire.Now() + int64(wait) // the first have theirs now
		}
		f.mu.Unlock()
	}
	timer := time.NewTimer(within(x, wait))
	defer timer.Stop()
	for {
		f.mu.Lock()
		s, answered, spent := f.state, f.answered, f.spent
		changed := f.wake()
		f.mu.Unlock()
		switch {
		case s != in:
			return s, nil
		case answered:
			return refreshed, nil
		case spent != nil:
			return hopeless, nil
		}
		select {
		case <-t.free:
			return ownTurn, nil
		case <-timer.C:
			switch {
			case in != waiting:
				return ownTurn, nil
			case expired(x):
				return waiting, nil
			}
			f.more(wire.Now(), wait)
			timer.Reset(within(x, wait))
		case <-changed:
		case <-x.Done():
			return in, x.Canceled()
		}
	}
}

// went says what has come of one who had a turn of f's: an answer that others may have, too; a failure; or neither.
func (f *flight) went(answered bool, failure *proxy.Error) {
	more, wake := 2, answered
	f.mu.Lock()
	if failure == nil {
		f.failures = 0
		f.answered = f.answered || answered
	} else {
		more = 1
		if f.failures++; f.failures == leadersMax && f.spent == nil {
			f.spent, wake = failure, true
		}
	}
	f.mu.Unlock()
	if wake {
		f.change(func() {})
	}
	f.turns.give(more)
}
