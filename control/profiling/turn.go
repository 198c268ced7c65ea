package profiling

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Running is the error of whoever wants a profile while another one is being taken.
type Running struct {
	Left time.Duration // until the other one is over, as far as is known
}

func (r *Running) Error() string {
	if r.Left <= 0 {
		return "another profile is being taken"
	}
	return fmt.Sprintf("another profile is being taken, for %v more", r.Left.Round(time.Second/10))
}

// The runtime has one CPU profiler for the whole process, and what it samples is the whole process too: two profiles at
// one time would show each other. So the turn is the process's, not a gateway's.
var (
	turn = make(chan struct{}, 1) // holds a value while a profile is taken

	turnMu    sync.Mutex
	turnUntil time.Time // when the holder has said that it will be done
)

// Begin takes the turn for a profile of this length. It does not wait: the error is a *Running. end gives the turn back.
func Begin(d time.Duration) (end func(), err error) {
	select {
	case turn <- struct{}{}:
		return held(d), nil
	default:
		return nil, running()
	}
}

// patience is how long the continuous profiler waits for somebody else's profile to end. Nobody waits for this one.
const patience = 15 * time.Second

// await is Begin for who has time.
func await(ctx context.Context, d time.Duration) (end func(), err error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case turn <- struct{}{}:
		return held(d), nil
	case <-limit.C:
		return nil, running()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func held(d time.Duration) (end func()) {
	turnMu.Lock()
	turnUntil = time.Now().Add(d)
	turnMu.Unlock()
	return func() { <-turn }
}

func running() *Running {
	turnMu.Lock()
	defer turnMu.Unlock()
	return &Running{Left: max(0, time.Until(turnUntil))}
}
