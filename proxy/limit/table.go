package limit

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// table keeps a 64-bit state for each of a bounded number of keys, in memory that the garbage collector does not see. A key is
// known by a hash of 64 bits with a secret seed; its text is nowhere in it. It takes 16 bytes, in one of two lines of
// four, which is one cache line to look at or two. There are twice as many slots as keys, so that next to never a key has no place.
//
// Whoever uses a key that is there does so with one compare-and-swap of its state and waits for nobody. A key that is not there has to
// enter, through the gate of its first line: so that it cannot enter twice at the same time, and have two states.
//
// A slot is given to another key only while its state is idle, which says no more than a key that is not there. Nobody can
// mistake the state of the new key for that of the old one: in between the state is taken, and afterwards it is none that the slot
// ever had before, because states of rates only grow, and those of concurrency count how often a slot was given away.
type table struct {
	lines []line
	seed  seed
	// A state is idle if what the mask leaves of it is at most the bound that the caller names: for rates a time that has
	// passed, for concurrency a count of 0.
	mask   uint64
	used   []atomic.Uint64 // a bit for each line that ever had a key
	events [eventStripes]events
}

// slot is a key and its state. The lowest bit of the first key of a line is the line's gate: set while a key enters.
type slot struct{ key, state atomic.Uint64 }

type line [lineSlots]slot

const (
	lineSlots = 4
	slotBytes = 16
	gate      = uint64(1)
	// taken is the state of a slot while its key is replaced. It is never idle.
	taken = ^uint64(0)
	// slotsPerKey makes the lines half full at most.
	slotsPerKey = 2
)

// The masks of the two kinds of states.
const (
	timeMask  = ^uint64(0)
	countMask = uint64(1)<<32 - 1
)

// events counts what happens to keys, in several places so that cores do not meet.
type events struct {
	kept     atomic.Int64  // keys that took an empty slot
	evicted  atomic.Uint64 // keys whose slot another has taken
	overflow atomic.Uint64 // decisions on keys that found no place
	_        [128 - 24]byte
}

const eventStripes = 16

// newTable reserves memory for so many keys. The system gives it page by page when it is first written to.
func newTable(keys int, mask uint64) (*table, error) {
	lines := max(keys*slotsPerKey/lineSlots, 2)
	size := lines * lineSlots * slotBytes
	memory, err := reserve(size)
	if err != nil {
		return nil, fmt.Errorf("cannot reserve %d MiB for %d keys: %w", size>>20, keys, err)
	}
	t := &table{lines: unsafe.Slice((*line)(unsafe.Pointer(&memory[0])), lines), seed: seed{own: maphash.MakeSeed()}, mask: mask}
	t.used = make([]atomic.Uint64, (lines+63)/64)
	// Exchanges of old snapshots may use it longer than anybody else: its end is the garbage collector's to find.
	runtime.AddCleanup(t, unmapped.free, unmapped(memory))
	return t, nil
}

// reserve returns memory that the garbage collector does not see.
func reserve(size int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err == nil && size >= hugeFrom {
		// Keys lie all over it: with pages of 4 KiB nearly every decision would look for one first. An error changes nothing else.
		_ = unix.Madvise(memory, unix.MADV_HUGEPAGE)
	}
	return memory, err
}

// hugeFrom is the size from which a table asks for large pages: those of a smaller one fit what the processor remembers.
const hugeFrom = 4 << 20

type unmapped []byte

func (m unmapped) free() {
	if err := unix.Munmap(m); err != nil {
		panic("BUG: the memory of a table of limits cannot be given back: " + err.Error())
	}
}

// clean makes any 64 bits a key: not 0, which is an empty slot's, and without the bit of the gate.
func clean(h uint64) uint64 { return h&^gate | 2 }

// places returns the lines that a key may be in. The first one has the gate that it enters through.
func (t *table) places(key uint64) (*line, *line) {
	n := uint64(len(t.lines))
	i, _ := bits.Mul64(key, n)
	j, _ := bits.Mul64(bits.RotateLeft64(key, 32)*0x9E3779B97F4A7C15, n)
	if i == j {
		j++
		if j == n {
			j = 0
		}
	}
	return &t.lines[i], &t.lines[j]
}

// find returns the slot of a key, or nil. What it returns may have been given to another key by now: see load.
func (t *table) find(key uint64) *slot {
	a, b := t.places(key)
	for i := range a {
		if a[i].key.Load()&^gate == key {
			return &a[i]
		}
	}
	for i := range b {
		if b[i].key.Load()&^gate == key {
			return &b[i]
		}
	}
	return nil
}

// index is the number of a slot, and slot the slot with a number.
func (t *table) index(s *slot) int {
	return int(uintptr(unsafe.Pointer(s))-uintptr(unsafe.Pointer(&t.lines[0]))) / slotBytes
}

func (t *table) slot(i int) *slot { return &t.lines[i/lineSlots][i%lineSlots] }

// load returns the state of the key in a slot that find returned; false if it is not, or not yet, the key's. A state that was loaded
// so may be compared and swapped: whoever gives the slot away changes it first.
func (s *slot) load(key uint64) (uint64, bool) {
	state := s.state.Load()
	return state, state != taken && s.key.Load()&^gate == key
}

// enter makes a place for a key. It returns the slot that the key has, with true if it has entered now: with the state first, or with
// a count of 1. It returns nil if no slot of the key's lines is idle.
func (t *table) enter(key, idle, first uint64) (*slot, bool) {
	a, b := t.places(key)
	gated := closeGate(a)
	defer gated.key.And(^gate)
	if s := t.find(key); s != nil {
		return s, false
	}
	for {
		s, old := t.victim(a, b, idle)
		if s == nil {
			t.event(key).overflow.Add(1)
			return nil, false
		}
		if !s.state.CompareAndSwap(old, taken) {
			continue // its key was used meanwhile, or another one is entering there
		}
		before := s.rename(key)
		if t.mask == countMask {
			first = old + countMask + 1 + 1 // given away once more, used once
		}
		s.state.Store(first)
		if before == 0 {
			t.event(key).kept.Add(1)
			i := uint64(t.index(s) / lineSlots)
			t.used[i/64].Or(1 << (i % 64))
		} else {
			t.event(key).evicted.Add(1)
		}
		return s, true
	}
}

// closeGate closes the gate of a line behind the caller, and returns the slot that has it. The caller opens it with And(^gate). It is closed
// for some nanoseconds, unless the system stops who holds it: others then let the scheduler run.
func closeGate(l *line) *slot {
	s := &l[0]
	for i := 1; s.key.Or(gate)&gate != 0; i++ {
		pause(i)
	}
	return s
}

// pause is for the i-th time that something held for nanoseconds was found held.
func pause(i int) {
	if i%spins == 0 {
		runtime.Gosched()
	}
}

const spins = 32

// rename gives the slot to another key and returns the one before. The gate stays as it is: it is another slot's owner's, perhaps.
func (s *slot) rename(key uint64) uint64 {
	for {
		old := s.key.Load()
		if s.key.CompareAndSwap(old, key|old&gate) {
			return old &^ gate
		}
	}
}

// victim returns an idle slot and its state, or nil: an empty one if there is one in its line, or else the one that has been idle for
// longest. The first line is taken while it has several, so that most keys are found at the first look, and then the emptier one.
func (t *table) victim(a, b *line, idle uint64) (*slot, uint64) {
	sa, stateA, busyA := t.idlest(a, idle)
	sb, stateB, busyB := t.idlest(b, idle)
	if busyA > lineSlots/2-1 && busyB < busyA {
		return sb, stateB
	}
	return sa, stateA
}

// hasRoom reports whether a key that is not there could enter.
func (t *table) hasRoom(key, idle uint64) bool {
	a, b := t.places(key)
	s, _ := t.victim(a, b, idle)
	return s != nil
}

func (t *table) idlest(l *line, idle uint64) (best *slot, state uint64, busy int) {
	for i := range l {
		s := &l[i]
		st := s.state.Load()
		switch {
		case st&t.mask > idle:
			busy++
		case best == nil || st < state:
			best, state = s, st
		}
	}
	return best, state, busy
}

// event returns the counters that the events of a key are counted in.
func (t *table) event(key uint64) *events { return &t.events[key>>8%eventStripes] }

// counts sums up what has happened.
func (t *table) counts() (kept int, evicted, overflow uint64) {
	for i := range t.events {
		e := &t.events[i]
		kept += int(e.kept.Load())
		evicted += e.evicted.Load()
		overflow += e.overflow.Load()
	}
	return kept, evicted, overflow
}

// live returns how many keys are not idle. Where many keys have been it looks at a part of the lines, evenly spread, and concludes.
func (t *table) live(idle uint64) int {
	kept, _, _ := t.counts()
	step := 1
	if kept > liveExactMax {
		step = max(len(t.lines)/liveLinesMax, 1)
	}
	busy, seen := 0, 0
	for i := 0; i < len(t.lines); i += step {
		seen++
		switch used := t.used[i/64].Load(); {
		case used == 0 && step == 1:
			i |= 63 // none of these has ever had a key
		case used&(1<<(i%64)) != 0:
			_, _, n := t.idlest(&t.lines[i], idle)
			busy += n
		}
	}
	if step > 1 {
		busy = int(float64(busy) / float64(seen) * float64(len(t.lines)))
	}
	runtime.KeepAlive(t)
	return busy
}

const (
	liveExactMax = 16 << 10 // keys; more are estimated
	liveLinesMax = 8 << 10  // about how many lines are looked at for that: 512 KiB of them
)
