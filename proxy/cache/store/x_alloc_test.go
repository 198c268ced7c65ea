//go:build !race

package store

import (
	"testing"

	"sluice/proxy/wire"
)

func TestGetAllocatesNothing(t *testing.T) {
	f := func(bytesOfStore int64, size int) {
		t.Helper()
		s := newStore(t, bytesOfStore)
		must(t, s.Put(itemOf(s, "example.com/a", "red"), bodyOf("a", size)))
		key := itemOf(s, "example.com/a").Key
		buf := make([]byte, wire.Bulk)
		var e Entry
		read := 0
		if n := testing.AllocsPerRun(1000, func() {
			if s.Get(key, &e) != Usable {
				t.Fatal("not found")
			}
			read = len(e.First)
			for off := int64(read); off < e.Size; {
				n, err := e.ReadAt(buf[:e.chunkEnd(off)-off], off)
				if err != nil {
					t.Fatal(err)
				}
				off += int64(n)
				read += n
			}
			e.Free()
		}); n != 0 {
			t.Errorf("store of %d, body of %d: %v allocations", bytesOfStore, size, n)
		}
		if read != size {
			t.Errorf("read %d of %d bytes", read, size)
		}
	}
	f(MinBytes, 100)
	f(64<<20, 1<<10)
	f(64<<20, 100<<10) // in pieces
	f(256<<20, 100<<10)
}

// chunkEnd is where the piece ends that off lies in.
func (e *Entry) chunkEnd(off int64) int64 {
	first, chunk := int64(e.first), int64(e.head.chunk)
	switch {
	case off < first:
		return first
	case chunk == 0:
		return e.Size
	}
	return min(first+((off-first)/chunk+1)*chunk, e.Size)
}
