package store

import (
	"encoding/binary"

	"sluice/proxy/wire"
)

// An entry of freecache is a head, the key, the hashes of the tags, the meta bytes and the body or the beginning of it. The rest
// of a body lies in chunks of one size, whose keys are the object's number and theirs.
const (
	headLen  = 48
	tagLen   = 8
	chunkKey = 12 // an object's number, and the chunk's

	entryMark = 0x5C // the first byte
	flagStale = 1

	sizeMax = 1 << 40 // of a body, in any store
)

// head is the fixed part of an entry.
type head struct {
	stale          bool
	tags           int
	keyLen         int
	urlFrom, urlTo int
	metaLen        int
	chunk          int    // size of chunks; 0: there are none
	stamp          uint64 // the purges up to this mark do not concern it
	expires        int64
	size           int64 // of the body
	id             uint64
}

func (h *head) encode(value []byte) {
	_ = value[headLen-1]
	le := binary.LittleEndian
	value[0], value[1] = entryMark, 0
	le.PutUint16(value[2:], uint16(h.keyLen))
	le.PutUint16(value[4:], uint16(h.urlFrom))
	le.PutUint16(value[6:], uint16(h.urlTo))
	le.PutUint32(value[8:], uint32(h.metaLen)<<12|uint32(h.tags))
	le.PutUint32(value[12:], uint32(h.chunk))
	le.PutUint64(value[24:], uint64(h.expires))
	le.PutUint64(value[32:], uint64(h.size))
	le.PutUint64(value[40:], h.id)
	h.note(value)
}

// note writes what changes when an entry is judged.
func (h *head) note(value []byte) {
	value[1] = 0
	if h.stale {
		value[1] = flagStale
	}
	binary.LittleEndian.PutUint64(value[16:], h.stamp)
}

// decode reports whether value is an entry.
func (h *head) decode(value []byte) bool {
	if len(value) < headLen || value[0] != entryMark || value[1]&^flagStale != 0 {
		return false
	}
	le := binary.LittleEndian
	sizes := le.Uint32(value[8:])
	*h = head{
		stale:  value[1] == flagStale,
		keyLen: int(le.Uint16(value[2:])), urlFrom: int(le.Uint16(value[4:])), urlTo: int(le.Uint16(value[6:])),
		tags: int(sizes & 0xFFF), metaLen: int(sizes >> 12), chunk: int(le.Uint32(value[12:])),
		stamp: le.Uint64(value[16:]), expires: int64(le.Uint64(value[24:])), size: int64(le.Uint64(value[32:])), id: le.Uint64(value[40:]),
	}
	if h.urlFrom > h.urlTo || h.urlTo > h.keyLen || h.size < 0 || h.size > sizeMax || h.chunk > wire.Bulk {
		return false
	}
	switch first := int64(len(value) - h.overhead()); {
	case first < 0:
		return false
	case h.chunk == 0:
		return first == h.size
	default:
		return first < h.size
	}
}

// overhead is how many bytes stand before the body.
func (h *head) overhead() int { return headLen + h.keyLen + h.tags*tagLen + h.metaLen }

func (h *head) key(value []byte) []byte { return value[headLen : headLen+h.keyLen] }

func (h *head) url(value []byte) []byte { return value[headLen+h.urlFrom : headLen+h.urlTo] }

func (h *head) tagsOf(value []byte) []byte {
	at := headLen + h.keyLen
	return value[at : at+h.tags*tagLen]
}

func (h *head) meta(value []byte) []byte {
	end := h.overhead()
	return value[end-h.metaLen : end : end]
}

func (h *head) body(value []byte) []byte { return value[h.overhead():len(value):len(value)] }

func putTag(to []byte, tag uint64) { binary.LittleEndian.PutUint64(to, tag) }

func getTag(from []byte) uint64 { return binary.LittleEndian.Uint64(from) }
