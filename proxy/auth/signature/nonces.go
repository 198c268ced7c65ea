package signature

import "sync"

// nonceShards is how many parts the memory has, each with a lock.
const nonceShards = 32

// sharesMax is how many parts a generation has: one for each consumer, or so many if there are more of them.
const sharesMax = 8

// Nonces remembers what was shown once, for as long as it could be shown again. Safe for concurrent use.
//
// There are two generations: what is new goes into one, and after the time for which it counts that becomes the old one. Something is
// remembered for once to twice that time. A generation that is full refuses what comes: what cannot be remembered could come twice. No
// consumer can fill it alone, unless it is the only one: whoever has used up a share is refused before that, and others are not.
type Nonces struct {
	window int64 // seconds
	max    int   // of a generation
	shards [nonceShards]nonceShard

	mu     sync.Mutex     // taken last
	at     int64          // the generation that is counted
	total  int            // in it
	counts map[string]int // of consumers in it
}

type nonceShard struct {
	mu         sync.Mutex
	fresh, old map[nonce]struct{}
	at         int64 // the generation of fresh
}

// nonce is the beginning of a SHA-256 of the key's id and what it was shown with.
type nonce [16]byte

// NewNonces returns a memory for max of them, of which half are for one window of so many seconds.
func NewNonces(max int, window int64) *Nonces {
	n := &Nonces{window: window, max: max / 2, counts: make(map[string]int)}
	for i := range n.shards {
		n.shards[i].fresh, n.shards[i].old = make(map[nonce]struct{}), make(map[nonce]struct{})
	}
	return n
}

// add remembers one of a consumer, who is one of so many, and returns nil, or says that it is known, or that there is no room.
func (n *Nonces) add(id nonce, who string, consumers int, now int64) error {
	s := &n.shards[id[0]%nonceShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.turn(now / n.window)
	_, fresh := s.fresh[id]
	_, old := s.old[id]
	if fresh || old {
		return ErrReplayed
	}
	if err := n.count(who, consumers, at); err != nil {
		return err
	}
	s.fresh[id] = struct{}{}
	return nil
}

// turn goes on to a generation, and returns the one that counts. When the clock is set back, that is the later one.
func (s *nonceShard) turn(at int64) int64 {
	switch {
	case at <= s.at:
		return s.at
	case at == s.at+1:
		s.fresh, s.old = s.old, s.fresh
	default:
		clear(s.old)
	}
	clear(s.fresh)
	s.at = at
	return at
}

// count takes room for one more of a consumer.
func (n *Nonces) count(who string, consumers int, at int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at > n.at {
		n.at, n.total = at, 0
		clear(n.counts)
	}
	switch {
	case n.total >= n.max:
		return ErrNonces
	case n.counts[who] >= n.max/max(1, min(consumers, sharesMax)):
		return ErrNonceShare
	}
	n.total++
	n.counts[who]++
	return nil
}
