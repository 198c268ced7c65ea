package store

import (
	"encoding/binary"
	"reflect"

	"github.com/cespare/xxhash/v2"
	"github.com/coocood/freecache"
)

// innards reads what freecache does not tell: how much of its memory holds entries, and how large the index beside it has become. An
// updater that changes nothing runs under the lock of the segment of its key, so that what it looks at stands still.
type innards struct {
	segments []segmentFields
	probes   [segments][8]byte // a key that would lie in each segment
}

type segmentFields struct{ vacuum, ring, slots reflect.Value }

// look finds the fields. That they are there is tested: the version of freecache changes with a line in go.mod.
func look(cache *freecache.Cache) innards {
	var in innards
	all := reflect.ValueOf(cache).Elem().FieldByName("segments")
	for i := range segments {
		segment := all.Index(i)
		in.segments = append(in.segments, segmentFields{
			vacuum: segment.FieldByName("vacuumLen"), ring: segment.FieldByName("rb").FieldByName("data"), slots: segment.FieldByName("slotsData"),
		})
	}
	for n, left := uint64(1), segments; left > 0; n++ {
		var k [8]byte
		binary.BigEndian.PutUint64(k[:], n)
		if probe := &in.probes[xxhash.Sum64(k[:])%segments]; *probe == [8]byte{} {
			*probe = k
			left--
		}
	}
	return in
}

// slotLen is the size of one of freecache's pointers to entries.
const slotLen = freecache.HASH_ENTRY_SIZE

func (in *innards) read(cache *freecache.Cache) (used, index int64) {
	index = int64(reflect.TypeOf(cache).Elem().Size())
	for i := range in.segments {
		f := &in.segments[i]
		// No error: nothing is set.
		_, _, _ = cache.Update(in.probes[i][:], func([]byte, bool) ([]byte, bool, int) {
			used += int64(f.ring.Len()) - f.vacuum.Int()
			index += int64(f.slots.Cap()) * slotLen
			return nil, false, 0
		})
	}
	return used, index
}
