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

// Memory remembers the proofs that were accepted, for as long as they could be accepted again. It holds no more than it has room for: when
// it is full, new proofs are refused, because one that is forgotten early could be sent a second time by whoever has seen it. No key may have more
// than a share of it, so that a single client does not shut out the others. Safe for concurrent use.
//
// It holds hashes of 64 bits under a random seed. That one proof is taken for another happens to one of some 10^12, and cannot be aimed
// at; a proof that was seen is always recognised.
type Memory struct {
	seed   maphash.Seed
	life   atomic.Int64
	shards [64]shard     // of proofs, by their hash
	keys   [64]tally     // of keys, by theirs
	max    atomic.Int64  // of one shard
	share  atomic.Uint32 // of one key, in all shards
	full   atomic.Uint64
}

// shares is how many keys it takes to fill a memory.
const shares = 8

// shard is a part of the proofs.
type shard struct {
	mu     sync.Mutex
	proofs generations[struct{}]
	// When the latest proof of each generation was made, and of all that were forgotten: by the clocks of clients, in Unix nanoseconds.
	young, old, gone int64
	_                [64]byte
}

// tally counts the proofs of a part of the keys. It lags behind the shards by a generation at most, so that it knows no more keys than proofs were
// accepted in two lives.
type tally struct {
	mu    sync.Mutex
	count generations[uint32]
	_     [64]byte
}

// NewMemory returns a memory for n proofs, each of which it remembers for life at least.
func NewMemory(n int, life time.Duration) *Memory {
	m := &Memory{seed: maphash.MakeSeed()}
	m.Resize(n, life)
	return m
}

// Resize gives the memory room for n proofs from now on, each for life at least, and forgets none of those that it has: where they are more than n,
// new ones wait for room; where life was shorter, what was forgotten is not good again, see add.
func (m *Memory) Resize(n int, life time.Duration) {
	each := max(1, n/len(m.shards))
	m.max.Store(int64(each))
	m.share.Store(uint32(max(1, each*len(m.shards)/shares)))
	m.life.Store(int64(life))
}

// use remembers that the key's proof of this number, which was made at a time, was used, and refuses one that was. A request that meets several
// policies of one memory uses its proof once.
func (m *Memory) use(x *proxy.Exchange, key *[sha256.Size]byte, id string, made time.Time) error {
	of := maphash.Bytes(m.seed, key[:])
	var h maphash.Hash
	h.SetSeed(m.seed)
	_, _ = h.Write(key[:]) // they never fail
	_, _ = h.WriteString(id)
	hash := max(h.Sum64(), 1)
	if x.Proof == hash {
		return nil
	}
	if err := m.add(of, hash, made.UnixNano(), wire.Now()); err != nil {
		return err
	}
	x.Proof = hash
	return nil
}

// add counts nothing for a key whose proof is not accepted: somebody who has seen one could use up the key's share by sending it again.
//
// What is forgotten, and when, goes by wire.Now; whether a proof is too old, by the wall clock, which may be set back. Then proofs would be good
// again that were forgotten; so none is accepted that is not later than all of these. With a clock that is not set back they are too old
// anyway: to be forgotten takes as long as to be good, but when that was made longer since. A client cannot bring this about by a time that is to come, as no proof is accepted
// whose time is further ahead than the leeway.
func (m *Memory) add(key, hash uint64, made, now int64) error {
	s, life := &m.shards[hash%uint64(len(m.shards))], m.life.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.proofs.turn(now, life) {
	case 1:
		s.young, s.old, s.gone = 0, s.young, max(s.gone, s.old)
	case 2:
		s.young, s.old, s.gone = 0, 0, max(s.gone, s.old, s.young)
	}
	switch {
	case s.proofs.has(hash):
		return errReplayed
	case made <= s.gone:
		return errOld
	case s.proofs.len() >= int(m.max.Load()):
		m.full.Add(1)
		return ErrFull
	case !m.keys[key%uint64(len(m.keys))].take(key, m.share.Load(), now, life):
		return ErrShare
	}
	s.proofs.young[hash] = struct{}{}
	s.young = max(s.young, made)
	return nil
}

// take counts a proof of a key, unless the key has had its share.
func (t *tally) take(key uint64, share uint32, now, life int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.turn(now, life)
	young := t.count.young[key]
	if young+t.count.old[key] >= share {
		return false
	}
	t.count.young[key] = young + 1
	return true
}

// generations are what came in the last life, and in the one before, which is forgotten as a whole.
type generations[V any] struct {
	young, old map[uint64]V
	began      int64 // wire.Now when the young generation did
	lasts      int64 // how long something may have been added to it: the longest life since then
}

// turn forgets what is old enough, and says how many generations have ended. It has to come before anything is added.
func (g *generations[V]) turn(now, life int64) int {
	g.lasts = max(g.lasts, life)
	switch age := now - g.began; {
	case g.young == nil || age >= g.lasts+life:
		g.young, g.old, g.began, g.lasts = map[uint64]V{}, nil, now, life
		return 2
	case age >= g.lasts:
		g.young, g.old, g.began, g.lasts = map[uint64]V{}, g.young, now, life
		return 1
	}
	return 0
}

func (g *generations[V]) has(hash uint64) bool {
	_, young := g.young[hash]
	_, old := g.old[hash]
	return young || old
}

func (g *generations[V]) len() int { return len(g.young) + len(g.old) }

// MemoryStatus is what a memory holds.
type MemoryStatus struct {
	Proofs  int    // those that were forgotten in time, but not dropped yet, included
	Refused uint64 // for want of room, which no share of a key is
}

// Status returns what the memory holds.
func (m *Memory) Status() MemoryStatus {
	status := MemoryStatus{Refused: m.full.Load()}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		status.Proofs += s.proofs.len()
		s.mu.Unlock()
	}
	return status
}

// Start and Stop are for whoever keeps it over a reload: nothing happens in the background.
func (m *Memory) Start() {}

// Stop does nothing, see Start.
func (m *Memory) Stop() {}
