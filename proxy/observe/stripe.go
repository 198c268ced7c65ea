package observe

import (
	"math/bits"
	"runtime"
	"unsafe"
)

// stripeCountMax bounds the memory of one route at about 16 KiB, all of it after its first request. Beyond 16
// stripes the cores of a larger machine share them, which costs nanoseconds, not correctness.
const stripeCountMax = 16

// stripeCount is a power of two: twice as many stripes as cores, so that goroutines that run at one time seldom
// meet in one.
var stripeCount = min(stripeCountMax, 1<<bits.Len(uint(2*runtime.GOMAXPROCS(0)-1)))

// stripePad is two cache lines: the prefetcher of today's processors fetches lines in pairs. A struct that ends
// with it never shares a line with its neighbour in a slice, wherever the slice begins.
const stripePad = 128

// stripe chooses the calling goroutine's stripe, below stripeCount, by the address of its stack. That is free, and
// a goroutine that stays on its core, as one per connection mostly does, finds its counters in that core's
// cache; a random number would send it elsewhere each time. The stack may move in between: the stripes are
// summed, so it does not matter where an exchange began and where it ended.
func stripe() int {
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // the smallest stack is 2 KiB
	return int(stack*0x9E3779B97F4A7C15>>40) & (stripeCount - 1)
}
