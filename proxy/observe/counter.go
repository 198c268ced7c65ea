package observe

import "sync/atomic"

// Counter is a striped number that only grows. All methods are safe for concurrent use.
type Counter struct {
	cells []counterCell
}

type counterCell struct {
	n atomic.Uint64
	_ [stripePad - 8]byte
}

// NewCounter returns a counter that stands at 0.
func NewCounter() *Counter { return &Counter{cells: make([]counterCell, stripeCount)} }

// Add adds n.
func (c *Counter) Add(n uint64) { c.cells[stripe()].n.Add(n) }

// Value is the sum of what was added.
func (c *Counter) Value() uint64 {
	var sum uint64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}
