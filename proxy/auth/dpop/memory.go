package dpop

import (
	"crypto/sha256"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Memory remembers the proofs that were accepted, for as long as they could be accepted again. It holds no more than it was made for: when
// it is full, new proofs are refused, because one that is forgotten early could be sent a second time by whoever has seen it. Safe for concurrent use.
//
// It holds hashes of 64 bits under a random seed. That one proof is taken for another happens to one of some 10^12, and cannot be aimed
// at; a proof that was seen is always recognised.
type Memory struct {
	seed   maphash.Seed
	life   int64
	shards [64]shard
	max    int // of one shard
	full   atomic.Uint64
}

// shard is a part of the proofs, those of two generations: what came in the last life, and in the one before, which is forgotten as a whole.
type shard struct {
	mu         sync.Mutex
	young, old map[uint64]struct{}
	began      int64 // wire.Now when the young generation did
	_          [64]byte
}

// NewMemory returns a memory for n proofs, each of which it remembers for life at least.
func NewMemory(n int, life time.Duration) *Memory {
	m := &Memory{seed: maphash.MakeSeed(), life: int64(life)}
	m.max = max(1, n/len(m.shards))
	for i := range m.shards {
		m.shards[i].young = map[uint64]struct{}{}
	}
	return m
}

// use remembers that the key's proof of this number was used, and refuses one that was. A request that meets several policies of one memory
// uses its proof once.
func (m *Memory) use(x *proxy.Exchange, key *[sha256.Size]byte, id string) error {
	var h maphash.Hash
	h.SetSeed(m.seed)
	_, _ = h.Write(key[:]) // they never fail
	_, _ = h.WriteString(id)
	hash := max(h.Sum64(), 1)
	if x.Proof == hash {
		return nil
	}
	if err := m.add(hash, wire.Now()); err != nil {
		return err
	}
	x.Proof = hash
	return nil
}

func (m *Memory) add(hash uint64, now int64) error {
	s := &m.shards[hash%uint64(len(m.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch age := now - s.began; {
	case age >= 2*m.life:
		s.young, s.old, s.began = map[uint64]struct{}{}, nil, now
	case age >= m.life:
		s.young, s.old, s.began = map[uint64]struct{}{}, s.young, now
	}
	if has(s.young, hash) || has(s.old, hash) {
		return errReplayed
	}
	if len(s.young)+len(s.old) >= m.max {
		m.full.Add(1)
		return ErrFull
	}
	s.young[hash] = struct{}{}
	return nil
}

func has(set map[uint64]struct{}, hash uint64) bool {
	_, ok := set[hash]
	return ok
}

// MemoryStatus is what a memory holds.
type MemoryStatus struct {
	Proofs  int    // those that were forgotten in time, but not dropped yet, included
	Refused uint64 // for want of room
}

// Status returns what the memory holds.
func (m *Memory) Status() MemoryStatus {
	status := MemoryStatus{Refused: m.full.Load()}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		status.Proofs += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return status
}

// Start and Stop are for whoever keeps it over a reload: nothing happens in the background.
func (m *Memory) Start() {}

// Stop does nothing, see Start.
func (m *Memory) Stop() {}
