package main

import (
	"math/bits"
	"runtime"

	"golang.org/x/sys/unix"
)

// pinned starts processes from one thread that is bound to one core and comes before others there, as far as it may: its
// children inherit both. A benchmark that the scheduler moves, or makes wait, takes longer than it has to.
type pinned struct {
	tasks chan func()
	core  int // -1: not bound
	nice  int
}

func newPinned() *pinned {
	p := &pinned{tasks: make(chan func()), core: -1}
	ready := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		p.bind()
		close(ready)
		for f := range p.tasks {
			f()
		}
	}()
	<-ready
	return p
}

func (p *pinned) bind() {
	var may, one unix.CPUSet
	if unix.SchedGetaffinity(0, &may) == nil {
		if core := last(&may); core >= 0 {
			one.Set(core)
			if unix.SchedSetaffinity(0, &one) == nil {
				p.core = core
			}
		}
	}
	const first = -20 // only root may
	if unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), first) == nil {
		p.nice = first
	}
}

// last returns the last core of the set: the first one serves most interrupts.
func last(set *unix.CPUSet) int {
	for i := len(set) - 1; i >= 0; i-- {
		if set[i] != 0 {
			return i*64 + 63 - bits.LeadingZeros64(uint64(set[i]))
		}
	}
	return -1
}

// do runs f on the thread.
func (p *pinned) do(f func() error) error {
	done := make(chan error, 1)
	p.tasks <- func() { done <- f() }
	return <-done
}

func (p *pinned) close() { close(p.tasks) }
