package observe

import (
	"sync"
	"testing"
	"unsafe"
)

func TestCounter(t *testing.T) {
	c := NewCounter()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				c.Add(2)
			}
		})
	}
	wg.Wait()
	if got := c.Value(); got != 32000 {
		t.Errorf("got %d", got)
	}
}

// TestStripe: goroutines spread over all stripes.
func TestStripe(t *testing.T) {
	if stripeCount&(stripeCount-1) != 0 || stripeCount < 2 || stripeCount > stripeCountMax {
		t.Fatalf("%d stripes", stripeCount)
	}
	var mu sync.Mutex
	met := map[int]int{}
	var all sync.WaitGroup
	hold := make(chan struct{})
	const goroutines = 64 * stripeCountMax
	all.Add(goroutines)
	var done sync.WaitGroup
	for range goroutines {
		done.Go(func() { // alive at one time, so that no stack is used twice
			i := stripe()
			mu.Lock()
			met[i]++
			mu.Unlock()
			all.Done()
			<-hold
		})
	}
	all.Wait()
	close(hold)
	done.Wait()
	for i := range stripeCount {
		if met[i] < goroutines/stripeCount/4 {
			t.Errorf("stripe %d was chosen %d times of %d", i, met[i], goroutines)
		}
	}
	if len(met) != stripeCount {
		t.Errorf("%d stripes were chosen of %d", len(met), stripeCount)
	}
}

// TestStripesApart: what two cores write at one time lies two cache lines apart at least.
func TestStripesApart(t *testing.T) {
	f := func(name string, size, lastHot uintptr) {
		t.Helper()
		if size-lastHot < stripePad-8 {
			t.Errorf("%s: %d bytes from the last number to the next stripe", name, size-lastHot)
		}
	}
	f("counter", unsafe.Sizeof(counterCell{}), unsafe.Sizeof(counterCell{}.n))
	f("route", unsafe.Sizeof(routeStripe{}), unsafe.Offsetof(routeStripe{}.durations)+unsafe.Sizeof(histogram{}))
	f("service", unsafe.Sizeof(serviceStripe{}), unsafe.Offsetof(serviceStripe{}.durations)+unsafe.Sizeof(histogram{}))
}
