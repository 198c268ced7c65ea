//go:build !race

// The race detector takes several times the memory.

package store

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/proxy/wire"
)

func TestShareOf(t *testing.T) {
	f := func(base int, live, taken int64, want int) {
		t.Helper()
		if got := shareOf(base, live<<20, taken<<20); got != want {
			t.Errorf("GOGC=%d, %d MiB of which stores take %d: %d %%, want %d", base, live, taken, got, want)
		}
	}
	f(100, 100, 0, 100) // no store
	f(-1, 1000, 900, -1)
	f(100, 1000, 500, 50)
	f(200, 1000, 500, 100)
	f(50, 1000, 500, 25)
	f(100, 4096+100, 4096, 2)
	f(100, 4096, 4096, 1)
	f(100, 5, 4096, 1) // not marked yet
	f(100, 100_000, 100_000, 1)
	f(100, 64, 60, 50)  // 32 MiB
	f(100, 20, 16, 100) // never more than without a store
}

// rss is the memory of this process that is resident, in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	return statusBytes(t, "VmRSS:")
}

func statusBytes(t *testing.T, key string) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			must(t, err)
			return kib << 10
		}
	}
	t.Fatalf("the kernel does not tell %s", key)
	return 0
}

var litter []byte

// fillUp stores objects until the whole store has been written.
func fillUp(t *testing.T, s *Store, size int) (objects int) {
	t.Helper()
	body := bodyOf("body", size)
	for written := int64(0); written < s.bytes+s.bytes/4; written += int64(size) + 200 {
		must(t, s.Put(itemOf(s, fmt.Sprint("example.com/", objects), "all"), body))
		objects++
	}
	return objects
}

// TestPace fills a store, makes much garbage and looks at the memory of the process: with the pace of a heap of twice
// what is alive it would be twice the store. Beside the store there are its index, what may be garbage, and the process itself;
// the collector may come late on a busy machine, which has to fit in as well: all of it is 60 to 80 MiB, and 144 are allowed.
func TestPace(t *testing.T) { testPace(t, 192<<20, 1.75) }

func TestSoakPace(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("takes 600 MiB: SLUICE_SOAK=1")
	}
	testPace(t, 512<<20, 1.25)
}

func testPace(t *testing.T, size int64, timesMax float64) {
	if !isProcess(t) {
		t.Log(inProcess(t, t.Name()))
		return
	}
	s := New(size, wire.Now)
	fillUp(t, s, 10<<10)
	for made := int64(0); made < 4*size; made += 64 << 10 {
		litter = make([]byte, 64<<10)
	}
	runtime.KeepAlive(s)
	if peak := statusBytes(t, "VmHWM:"); float64(peak) > timesMax*float64(size) {
		t.Errorf("a store of %d MiB made the process take %d MiB", size>>20, peak>>20)
	} else {
		t.Logf("a store of %d MiB, a process of at most %d MiB", size>>20, peak>>20)
	}
}

// TestPaceHonours a GOGC that was set, before the store or meanwhile, and leaves it as it was.
func TestPaceHonours(t *testing.T) {
	if !isProcess(t) {
		inProcess(t, t.Name(), "GOGC=200")
		return
	}
	current := func() int {
		sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(sample)
		return gogc(sample[0].Value.Uint64())
	}
	await := func(what string, ok func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(current()); time.Sleep(time.Millisecond) {
			runtime.GC()
			if time.Now().After(deadline) {
				t.Fatalf("%s: GOGC is %d", what, current())
			}
		}
	}
	ballast := make([]byte, 64<<20)
	s := New(128<<20, wire.Now)
	await("a store of twice the rest", func(percent int) bool { return percent > 40 && percent < 100 }) // 200 % of a third
	debug.SetGCPercent(100)
	await("half of that", func(percent int) bool { return percent > 20 && percent < 50 })
	debug.SetGCPercent(-1)
	await("off", func(percent int) bool { return percent == -1 })
	debug.SetGCPercent(300)
	await("on again", func(percent int) bool { return percent > 60 && percent < 150 })
	runtime.KeepAlive(s)
	await("no store any more", func(percent int) bool { return percent == 300 })
	runtime.KeepAlive(ballast)
}

// TestSoakBigStore says what a store of 4 GiB costs: pauses of the collector, and memory.
func TestSoakBigStore(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("takes 5 GiB: SLUICE_SOAK=1")
	}
	const size = 4 << 30
	if free := availableMemory(t); free < size*3/2 {
		t.Skipf("needs 6 GiB of memory, and %d MiB are available", free>>20)
	}
	if !isProcess(t) {
		t.Log(inProcess(t, t.Name()))
		return
	}
	s := New(size, wire.Now)
	f := func(objectSize int) {
		t.Helper()
		objects := fillUp(t, s, objectSize)
		var before, after debug.GCStats
		debug.ReadGCStats(&before)
		for range 20 {
			runtime.GC()
		}
		debug.ReadGCStats(&after)
		longest := time.Duration(0)
		for _, pause := range after.Pause[:min(len(after.Pause), 20)] {
			longest = max(longest, pause)
		}
		cycles := time.Duration(after.NumGC - before.NumGC)
		st := s.Stats()
		t.Logf("%d objects of %d bytes stored: RSS %d MiB for a store of %d MiB (%d MiB taken, %d entries); pauses of the collector %v on average, %v at most",
			objects, objectSize, rss(t)>>20, st.Bytes>>20, st.BytesTaken>>20, st.Entries, (after.PauseTotal-before.PauseTotal)/max(cycles, 1), longest)
		if got := rss(t); got > st.BytesTaken*5/4 {
			t.Errorf("the process takes %d MiB for a store that takes %d", got>>20, st.BytesTaken>>20)
		}
	}
	f(1 << 20)
	f(100 << 10)
	f(1 << 10)
	runtime.KeepAlive(s)
}

func availableMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			must(t, err)
			return kib << 10
		}
	}
	return 0
}
