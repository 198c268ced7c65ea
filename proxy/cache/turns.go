package cache

import (
	"sync"
	"time"

	"sluice/proxy"
)

// turns lets those go who followed a leader in vain: a few at first, and two more for each whose answer has come, so that an
// origin is not asked by thousands in the same moment, and nobody waits for long where it answers fast.
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

// take waits for a turn, but not for long: then it is taken anyway.
func (t *turns) take(x *proxy.Exchange, patience time.Duration) error {
	t.init()
	select {
	case <-t.free:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.free:
	case <-timer.C:
	case <-x.Done():
		return x.Canceled()
	}
	return nil
}

// give lets two more go.
func (t *turns) give() {
	for range 2 {
		select {
		case t.free <- struct{}{}:
		default:
		}
	}
}
