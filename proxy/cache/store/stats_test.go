package store

import (
	"fmt"
	"runtime"
	"testing"
)

// TestStats compares what is said of a store with what it must be.
func TestStats(t *testing.T) {
	s := newStore(t, 4<<20)
	f := func(what string, got, want int64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	empty := s.Stats()
	f("bytes", empty.Bytes, 4<<20)
	f("used", empty.BytesUsed, 0)
	f("entries", empty.Entries, 0)

	it := itemOf(s, "example.com/a", "red")
	must(t, s.Put(it, make([]byte, 1000)))
	st := s.Stats()
	f("used", st.BytesUsed, int64(entryHead+8+headLen+len(it.Key)+tagLen+len(it.Meta)+1000))
	f("entries", st.Entries, 1)
	f("taken", st.BytesTaken, empty.BytesTaken)

	// In its place.
	must(t, s.Put(it, make([]byte, 900)))
	f("used", s.Stats().BytesUsed, st.BytesUsed)
	f("evictions", s.Stats().Evictions, 0)
	s.Delete(it.Key)
	f("entries", s.Stats().Entries, 0)
	f("evictions", s.Stats().Evictions, 0)

	// Full: it evicts, and takes no more than it says.
	puts := int64(20_000)
	for i := range puts {
		must(t, s.Put(itemOf(s, fmt.Sprint("example.com/", i)), make([]byte, 500)))
	}
	full := s.Stats()
	f("all of them", full.Entries+full.Evictions, puts)
	if full.Entries < 4000 || full.BytesUsed < 4<<20*9/10 || full.BytesUsed > 4<<20 || full.BytesTaken <= empty.BytesTaken {
		t.Errorf("a full store: %+v", full)
	}
}

// TestTaken compares what a store says that it takes with what the runtime has given it.
func TestTaken(t *testing.T) {
	if !isProcess(t) {
		inProcess(t, t.Name(), "GOGC=off")
		return
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	s := newStore(t, 16<<20)
	for i := range 50_000 {
		must(t, s.Put(itemOf(s, fmt.Sprint("example.com/", i)), make([]byte, 100)))
	}
	got, want := s.Stats().BytesTaken, heap()-before
	if difference := max(got-want, want-got); difference > 1<<20 {
		t.Errorf("the store says %d KiB, the runtime %d KiB", got>>10, want>>10)
	}
	runtime.KeepAlive(s)
}
