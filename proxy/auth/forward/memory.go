package forward

import (
	"sync"
	"sync/atomic"

	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// Memory is what the guards of one definition remember, on whichever routes and in however many configurations it stands: decisions,
// those who wait for one, and how asking goes. Stop ends it. Safe for concurrent use.
type Memory struct {
	admitted, refused *recall.Answers[*decision]
	flights           [16]struct {
		sync.Mutex
		m map[recall.Sum]*flight
	}

	asked  [3]atomic.Uint64 // by what came of it
	health health
}

// NewMemory returns a memory for n decisions that admit, or up to twice as many, and a quarter of that for those that do not. The log speaks of the
// service as it is called here.
func NewMemory(n int, policy, service string) *Memory {
	m := &Memory{
		admitted: recall.NewAnswers[*decision](n, decisionBytesUsual),
		refused:  recall.NewAnswers[*decision](max(n/4, 4), decisionBytesUsual),
	}
	m.health.policy, m.health.service = policy, service
	m.health.init()
	return m
}

const (
	// decisionBytesUsual is what a decision takes on average at most: memory is bounded by that, too.
	decisionBytesUsual = 2 << 10
	// decisionBytesMax bounds one that is remembered.
	decisionBytesMax = 16 << 10
)

// find returns what was decided under a key and still holds, or nil.
func (m *Memory) find(key recall.Sum, now int64) *decision {
	if d, ok := m.admitted.Find(key, now); ok {
		return d
	}
	d, _ := m.refused.Find(key, now)
	return d
}

// add remembers a decision until a time of wire.Now. A flood of what is refused does not push out what is admitted.
func (m *Memory) add(d *decision, until int64) {
	into := m.refused
	if d.admits {
		into = m.admitted
	}
	into.Add(d.key, d, wire.Now(), until, d.size())
}

// What came of asking.
const (
	askedAdmitted = iota
	askedRefused
	askedFailed
)

func (m *Memory) decided(d *decision) {
	m.health.answered()
	if d.admits {
		m.asked[askedAdmitted].Add(1)
		return
	}
	m.asked[askedRefused].Add(1)
}

// Status is what was asked, and what is remembered.
type Status struct {
	Admitted, Refused, Failed uint64 // answers
	Remembered                int    // decisions, now
}

// Status returns it.
func (m *Memory) Status() Status {
	return Status{
		Admitted: m.asked[askedAdmitted].Load(), Refused: m.asked[askedRefused].Load(), Failed: m.asked[askedFailed].Load(),
		Remembered: m.admitted.Len() + m.refused.Len(),
	}
}
