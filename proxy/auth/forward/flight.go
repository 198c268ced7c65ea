package forward

import (
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// flight is one question, and all who wait for its answer. It belongs to none of their exchanges: each may leave, and the last one ends it.
type flight struct {
	key  recall.Sum
	done chan struct{} // closed when d and err are there
	d    *decision
	err  error

	mu      sync.Mutex
	waiting int
	left    bool            // by everybody: nobody joins it any more
	fork    *proxy.Exchange // that asks, as long as it may be canceled
}

// join returns the flight for a key, and whether the caller has to fly it.
func (m *Memory) join(key recall.Sum) (f *flight, leads bool) {
	s := &m.flights[key[len(key)-1]%uint8(len(m.flights))]
	s.Lock()
	defer s.Unlock()
	if f = s.m[key]; f != nil && f.board() {
		return f, false
	}
	f = &flight{key: key, done: make(chan struct{}), waiting: 1}
	if s.m == nil {
		s.m = make(map[recall.Sum]*flight)
	}
	s.m[key] = f
	return f, true
}

// land tells everybody what came of a flight. Whoever comes now looks into the memory, or begins another.
func (m *Memory) land(f *flight, d *decision, err error) {
	s := &m.flights[f.key[len(f.key)-1]%uint8(len(m.flights))]
	s.Lock()
	if s.m[f.key] == f {
		delete(s.m, f.key)
	}
	s.Unlock()
	f.mu.Lock()
	f.fork = nil
	f.mu.Unlock()
	f.d, f.err = d, err
	close(f.done)
}

func (f *flight) board() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left {
		return false
	}
	f.waiting++
	return true
}

// carry notes which exchange asks, and reports whether anybody still wants to know.
func (f *flight) carry(c *proxy.Exchange) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fork = c
	return !f.left
}

// await waits for the answer, for as long as x may.
func (f *flight) await(x *proxy.Exchange) (*decision, error) {
	var out <-chan time.Time
	if x.Deadline != 0 {
		t := time.NewTimer(time.Duration(max(x.Deadline-wire.Now(), 0)))
		defer t.Stop()
		out = t.C
	}
	select {
	case <-f.done:
		return f.d, f.err
	case <-x.Done():
		f.leave()
		return nil, x.Canceled()
	case <-out:
		f.leave()
		return nil, proxy.ErrTimeout
	}
}

// leave takes one out. Who is the last to leave ends the flight.
func (f *flight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.left = true
	if f.fork != nil {
		f.fork.Cancel(proxy.ErrClientGone)
	}
}
