package proxytest

import (
	"sync"
	"testing"
	"time"
)

// pace is how a test keeps up that has to do something again and again before a time is over.
type pace struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration // between two steps
}

// step says that the next one is done now.
func (p *pace) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest, p.last = max(p.longest, time.Since(p.last)), time.Now()
}

// kept reports whether no step has been late until now.
func (p *pace) kept(limit time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.longest, time.Since(p.last)) < limit
}

// inPace runs f, which fails rightly if its own steps are limit apart, and again when that was the reason: on a busy machine a test may stand still
// for as long. What fails while the pace was kept is the gateway's fault.
func inPace(t testing.TB, limit time.Duration, f func(p *pace) error) {
	t.Helper()
	for range 10 {
		p := &pace{last: time.Now()}
		err := f(p)
		if err == nil {
			return
		}
		if p.kept(limit) {
			t.Error(err)
			return
		}
		t.Logf("too late for %v: %v", limit, err)
	}
	t.Error("the test does not keep its own pace")
}
