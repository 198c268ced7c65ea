//go:build race

package jwt

import "runtime"

// As in package cache: in Go 1.26 the race detector breaks when two threads run the timers of one bubble at once, as happens when a crowd has
// waited for the same moment.
func init() {
	oneThread = func() (restore func()) {
		before := runtime.GOMAXPROCS(1)
		return func() { runtime.GOMAXPROCS(before) }
	}
}
