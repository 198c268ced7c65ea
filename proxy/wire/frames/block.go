package frames

import (
	"bytes"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Block bounds a block of fields while it arrives, in one HEADERS frame and as many CONTINUATION frames as the sender likes
// (CVE-2024-27316 and its kin). The zero value is one of which nothing has arrived.
type Block struct {
	bytes   int // compressed
	decoded int // as far as Count has heard of it
	frames  int
}

// decodedFactor is how many times as large as it may be a head is decoded before its sender is told to calm down. Whoever has one
// cookie too many gets an answer. But a field that was said before takes one byte to say again, and each of them takes time: of a
// block that is just within the other bounds, half a millisecond.
const decodedFactor = 4

// Decode decodes a part of the block; last says that it is complete. headBytes is how large the head may be when it is decoded.
func (b *Block) Decode(d *hpack.Decoder, p []byte, last bool, headBytes int) error {
	b.bytes += len(p)
	b.frames++
	// Bytes that say nothing new can be packed ever so tightly, but not loosely: so many are not within the limit.
	if b.bytes > 2*headBytes || b.frames > BlockFramesMax {
		return ErrCalm
	}
	if cap(p) > 4<<10 {
		p = bytes.Clone(p) // the decoder goes on pointing to it, which must not keep a large frame's buffer in memory
	}
	if _, err := d.Write(p); err != nil {
		return ErrCompression
	}
	if b.decoded > decodedFactor*headBytes {
		return ErrCalm
	}
	if last && d.Close() != nil {
		return ErrCompression
	}
	return nil
}

// Count counts a field that the decoder has emitted, wanted or not.
func (b *Block) Count(f hpack.HeaderField) { b.decoded += len(f.Name) + len(f.Value) + len(": \r\n") }

// Frames is of how many frames the block consists, so far.
func (b *Block) Frames() int { return b.frames }

// Encoder makes blocks of fields. They share a table of what was said before, so that each block has to be sent, in order.
type Encoder struct {
	hpack *hpack.Encoder // nil until it is needed
	block bytes.Buffer
	limit uint32 // of the table, that the other side has set
	empty bool   // the other side has to be told that the table is empty
}

// NewEncoder returns an encoder for a new connection.
func NewEncoder() *Encoder { return &Encoder{limit: TableSize} }

// Limit takes what the other side says about the size of its table.
func (e *Encoder) Limit(size uint32) {
	e.limit = min(size, TableSize)
	if e.hpack != nil {
		e.hpack.SetMaxDynamicTableSize(e.limit)
	}
}

// Forget gives the memory of the table back, between blocks. The next block tells the other side (RFC 7541 section 4.2).
func (e *Encoder) Forget() {
	e.empty = e.empty || e.hpack != nil
	e.hpack, e.block = nil, bytes.Buffer{}
}

// Begin begins a block.
func (e *Encoder) Begin() {
	e.block.Reset()
	if e.hpack != nil {
		return
	}
	e.hpack = hpack.NewEncoder(&e.block)
	e.hpack.SetMaxDynamicTableSizeLimit(TableSize)
	if e.empty {
		e.hpack.SetMaxDynamicTableSize(0)
	}
	if e.empty || e.limit != TableSize {
		e.hpack.SetMaxDynamicTableSize(e.limit)
	}
	e.empty = false
}

// Add adds a field, in lower case. One that is once will not come again, or must not be guessed by trying (RFC 7541 section 7.1):
// it is kept out of the table.
func (e *Encoder) Add(name, value string, once bool) {
	_ = e.hpack.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: once}) // writing into memory cannot fail
}

// Write writes the block in as many frames as it takes, into memory, and returns how many bytes that were.
func (e *Encoder) Write(fr *http2.Framer, id uint32, end bool) (bytes int64) {
	block := e.block.Bytes()
	for first := true; first || len(block) > 0; first = false {
		part := block[:min(len(block), Max)]
		block = block[len(part):]
		if first {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0})
		} else {
			_ = fr.WriteContinuation(id, len(block) == 0, part)
		}
		bytes += Head + int64(len(part))
	}
	return bytes
}
