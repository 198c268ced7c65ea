package forward

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"sluice/proxy/wire"
)

// Memory is what the guards of one definition remember, on whichever routes and in however many configurations it stands: decisions,
// those who wait for one, and how asking goes. Stop ends it. Safe for concurrent use.
type Memory struct {
	admitted, refused places
	flights           [16]struct {
		sync.Mutex
		m map[[sha256.Size]byte]*flight
	}

	asked  [3]atomic.Uint64 // by what came of it
	health health
}

// NewMemory returns a memory for n decisions that admit, or up to twice as many, and a quarter of that for those that do not. The log speaks of the
// service as it is called here.
func NewMemory(n int, policy, service string) *Memory {
	m := new(Memory)
	m.health.policy, m.health.service = policy, service
	m.admitted.init(n)
	m.refused.init(max(n/4, ways))
	m.health.init()
	return m
}

// places hold decisions. One belongs into a bucket of a few places, which are read without a lock; the key is a keyed hash, so that nobody
// can choose which.
type places struct {
	all      []atomic.Pointer[decision]
	mask     uint64 // of the number of a bucket
	hand     atomic.Uint64
	count    atomic.Int64
	bytes    atomic.Int64
	bytesMax int64
}

const (
	ways = 4 // places of a bucket
	// decisionBytesUsual is what a decision takes on average at most: memory is bounded by that, too.
	decisionBytesUsual = 2 << 10
	// decisionBytesMax bounds one that is remembered.
	decisionBytesMax = 16 << 10
	// sweepMax is how many places one that is added looks at to make room.
	sweepMax = 64
)

func (p *places) init(n int) {
	buckets := 1
	for buckets*ways < n {
		buckets *= 2
	}
	p.all, p.mask, p.bytesMax = make([]atomic.Pointer[decision], buckets*ways), uint64(buckets-1), int64(buckets*ways)*decisionBytesUsual
}

func (p *places) bucket(key *[sha256.Size]byte) []atomic.Pointer[decision] {
	at := (binary.LittleEndian.Uint64(key[:]) & p.mask) * ways
	return p.all[at : at+ways]
}

func (p *places) find(key *[sha256.Size]byte, now int64) *decision {
	bucket := p.bucket(key)
	for i := range bucket {
		if d := bucket[i].Load(); d != nil && d.key == *key && d.until > now {
			return d
		}
	}
	return nil
}

// add remembers a decision: in the place of one that is of no use any more, or else of any other of its bucket.
func (p *places) add(d *decision) {
	now := wire.Now()
	bucket := p.bucket(&d.key)
	at := p.hand.Add(1) % ways
	for i := range bucket {
		if o := bucket[i].Load(); o == nil || o.until <= now || o.key == d.key {
			at = uint64(i)
			break
		}
	}
	p.put(&bucket[at], d)
	for n := 0; n < sweepMax && p.bytes.Load() > p.bytesMax; n++ {
		p.put(&p.all[p.hand.Add(1)%uint64(len(p.all))], nil)
	}
}

func (p *places) put(place *atomic.Pointer[decision], d *decision) {
	if d != nil {
		p.account(d, 1)
	}
	if old := place.Swap(d); old != nil {
		p.account(old, -1)
	}
}

func (p *places) account(d *decision, sign int64) {
	p.count.Add(sign)
	p.bytes.Add(sign * int64(d.size()))
}

// find returns what was decided under a key and still holds, or nil.
func (m *Memory) find(key *[sha256.Size]byte, now int64) *decision {
	if d := m.admitted.find(key, now); d != nil {
		return d
	}
	return m.refused.find(key, now)
}

func (m *Memory) add(d *decision) {
	if d.admits {
		m.admitted.add(d)
		return
	}
	m.refused.add(d)
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
		Remembered: int(m.admitted.count.Load() + m.refused.count.Load()),
	}
}
