//go:build race

package cache

import "runtime"

// All timers of a bubble share one context of the race detector, in Go 1.26. It breaks when two threads run them at once, as happens when
// a crowd has waited for the same moment, and the process ends with "CHECK failed: tsan_rtl.cpp" or a segmentation violation.
func init() {
	oneThread = func() (restore func()) {
		before := runtime.GOMAXPROCS(1)
		return func() { runtime.GOMAXPROCS(before) }
	}
}
