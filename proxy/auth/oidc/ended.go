package oidc

import (
	"sync"
	"sync/atomic"
)

// ended knows the sessions that were ended on this host before their time: a cookie that somebody has kept must not open one again. It is
// bounded; when it is full, the one that would end first is forgotten.
type ended struct {
	max   int
	count atomic.Int64

	mu  sync.RWMutex
	ids map[[16]byte]int64 // when they would have ended, in Unix seconds
}

// endedMax are some megabytes.
const endedMax = 64 << 10

func (e *ended) has(id [16]byte) bool {
	if e.count.Load() == 0 {
		return false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, ok := e.ids[id]
	return ok
}

func (e *ended) add(id [16]byte, until, now int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids == nil {
		e.ids = make(map[[16]byte]int64)
	}
	if len(e.ids) >= e.max {
		e.makeRoom(now)
	}
	e.ids[id] = until
	e.count.Store(int64(len(e.ids)))
}

func (e *ended) makeRoom(now int64) {
	var first [16]byte
	firstEnds := int64(-1)
	for id, until := range e.ids {
		if until <= now {
			delete(e.ids, id)
		} else if firstEnds < 0 || until < firstEnds {
			first, firstEnds = id, until
		}
	}
	if len(e.ids) >= e.max {
		delete(e.ids, first)
	}
}
