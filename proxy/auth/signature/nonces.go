package signature

import "sync"

// nonceShards is how many parts the memory has, each with a lock.
const nonceShards = 32

// Nonces remembers what was shown once, for as long as it could be shown again. Safe for concurrent use.
//
// There are two generations: what is new goes into one, and after the time for which it counts that becomes the old one. Something is
// remembered for once to twice that time. A generation that is full refuses what comes: what cannot be remembered could come twice.
type Nonces struct {
	window int64 // seconds
	max    int   // of a generation of a shard
	shards [nonceShards]nonceShard
}

type nonceShard struct {
	mu         sync.Mutex
	fresh, old map[nonce]struct{}
	turned     int64 // Unix time at which fresh began
}

// nonce is the beginning of a SHA-256 of the key's id and what it was shown with.
type nonce [16]byte

// NewNonces returns a memory for max of them, of which half are for one window of so many seconds.
func NewNonces(max int, window int64) *Nonces {
	n := &Nonces{window: window, max: (max + 2*nonceShards - 1) / (2 * nonceShards)}
	for i := range n.shards {
		n.shards[i].fresh, n.shards[i].old = make(map[nonce]struct{}), make(map[nonce]struct{})
	}
	return n
}

// add remembers one, and returns nil, or says that it is known, or that there is no room.
func (n *Nonces) add(id nonce, now int64) error {
	s := &n.shards[id[0]%nonceShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now, n.window)
	_, fresh := s.fresh[id]
	_, old := s.old[id]
	switch {
	case fresh || old:
		return ErrReplayed
	case len(s.fresh) >= n.max:
		return ErrNonces
	}
	s.fresh[id] = struct{}{}
	return nil
}

func (s *nonceShard) turn(now, window int64) {
	switch age := now - s.turned; {
	case age < window:
	case age < 2*window:
		s.fresh, s.old = s.old, s.fresh
		clear(s.fresh)
		s.turned = now
	default:
		clear(s.fresh)
		clear(s.old)
		s.turned = now
	}
}
