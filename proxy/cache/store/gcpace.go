package store

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"weak"
)

// The memory of a store lies on the Go heap. The garbage collector lets the heap grow by a share of all that is alive before it runs
// again, 100 % unless GOGC says otherwise: beside a store of 4 GiB that would be 4 GiB of garbage, although the rest of the process
// needs some tens of MiB. So after each cycle the share is set to what GOGC allows of the rest alone. That is the pace
// of a process without a store; what a cycle costs does not depend on the store, which has no pointers to follow.

// growthMin is what the heap may grow by at least: with a rest near zero, cycles would follow each other closely.
const growthMin = 32 << 20

// pacer is the one of the process, as GOGC is.
var pacer struct {
	sync.Mutex
	stores  []weak.Pointer[Store] // whatever is alive counts, in use or not
	base    int                   // GOGC, in percent
	current int                   // what was set last; 0: nothing, GOGC is as it was
	armed   bool
}

// sentinel is found dead by every cycle.
type sentinel struct{ _ [16]byte }

// pace counts s among what the heap may not grow with, as long as s is alive.
func pace(s *Store) {
	pacer.Lock()
	defer pacer.Unlock()
	pacer.stores = append(pacer.stores, weak.Make(s))
	repace()
	if !pacer.armed {
		pacer.armed = true
		arm()
	}
}

func arm() { runtime.SetFinalizer(new(sentinel), cycled) }

// cycled runs after each cycle, until no store is left.
func cycled(*sentinel) {
	pacer.Lock()
	defer pacer.Unlock()
	repace()
	if pacer.armed = len(pacer.stores) > 0; pacer.armed {
		arm()
	}
}

// repace sets the share anew. Whoever else sets it in between is taken to mean GOGC.
func repace() {
	var taken int64
	alive := pacer.stores[:0]
	for _, p := range pacer.stores {
		if s := p.Value(); s != nil {
			alive = append(alive, p)
			_, index := s.innards.read(s.cache)
			taken += s.bytes + index
		}
	}
	clear(pacer.stores[len(alive):])
	pacer.stores = alive

	samples := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	now, live := gogc(samples[0].Value.Uint64()), int64(samples[1].Value.Uint64())
	if pacer.current == 0 || now != pacer.current {
		pacer.base = now
	}
	for want := shareOf(pacer.base, live, taken); want != now; want = shareOf(pacer.base, live, taken) {
		if was := debug.SetGCPercent(want); was != now {
			pacer.base = was // set since it was read above
		}
		now = want
	}
	if pacer.current = now; len(pacer.stores) == 0 {
		pacer.current = 0
	}
}

// gogc is what runtime/metrics says as debug.SetGCPercent takes it: off is a negative number that was made unsigned.
func gogc(metric uint64) int {
	if metric > math.MaxInt32 {
		return -1
	}
	return int(metric)
}

// shareOf is how many percent of a heap with that many live bytes it may grow, of which the stores have taken some. A store that
// has just been made is not among the live bytes yet.
func shareOf(base int, live, taken int64) int {
	if taken == 0 || base < 0 {
		return base
	}
	live = max(live, taken)
	growth := max(float64(live-taken)*float64(base)/100, growthMin)
	return min(max(int(100*growth/float64(live)), 1), base)
}
