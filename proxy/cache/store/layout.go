package store

import (
	"encoding/binary"

	"sluice/proxy/wire"
)

// layout is how objects are cut.
type layout struct {
	bytes     int64
	entryMax  int // of an entry: what fits in one is not cut
	chunkMax  int // of the pieces of a body that is
	objectMax int64
}

// segments is how many parts freecache divides its memory into. An entry may take a quarter of one.
const segments = 256

// entryHead is what freecache spends on an entry besides key and value.
const entryHead = 24

func layoutOf(bytes int64) layout {
	segment := int(bytes) / segments
	return layout{
		bytes:    bytes,
		entryMax: min(segment/4-entryHead-chunkKey, wire.Bulk),
		// A quarter of what freecache takes: the larger the pieces, the less evenly they lie in the segments, and the earlier one is full.
		chunkMax:  min(segment/16-entryHead-chunkKey, wire.Bulk),
		objectMax: bytes / 16,
	}
}

// firstOf is how much of the body goes into the first entry of an object that is cut. It leaves room for a longer head, which a
// later Refresh may bring: the chunks stay where they are, so that this length stays what it is.
func (l *layout) firstOf(overhead int) int {
	room := l.entryMax - overhead
	return min(room-min(room/2, overhead/2+256), l.chunkMax)
}

// chunksOf is how many chunks hold what the first entry does not.
func chunksOf(rest int64, chunk int) int {
	if chunk == 0 {
		return 0
	}
	return int((rest + int64(chunk) - 1) / int64(chunk))
}

// chunkKeyOf is what freecache knows a chunk by. No object has a key of that length there.
func chunkKeyOf(id uint64, n int) (k [chunkKey]byte) {
	binary.LittleEndian.PutUint64(k[:], id)
	binary.LittleEndian.PutUint32(k[8:], uint32(n))
	return k
}
