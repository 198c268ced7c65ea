package proxy

import (
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"sluice/proxy/wire"
)

// Panics counts the bugs that a recover caught.
var Panics atomic.Uint64

// Go runs f in a goroutine of the exchange, which finishes only after f returned. A panic in f is caught and
// counted.
func (x *Exchange) Go(f func()) {
	x.background.Add(1)
	go func() {
		defer x.background.Done()
		defer func() {
			if p := recover(); p != nil {
				Caught(p)
			}
		}()
		f()
	}()
}

// Wait waits for the goroutines started with Go.
func (x *Exchange) Wait() { x.background.Wait() }

func init() { wire.OnPanic = Caught }

// Caught counts and logs a recovered panic.
func Caught(p any) {
	Panics.Add(1)
	slog.Error("BUG: panic while serving a request", "panic", p, "stack", string(debug.Stack()))
}
