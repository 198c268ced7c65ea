package frames

import (
	"bytes"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Block bounds a block of fields while it arrives, in one HEADERS frame and as many CONTINUATION frames as the sender likes
// (CVE-2024-27316 and its kin). The zero value is one of which nothing has arrived.
type Block struct {
	bytes  int // compressed
	frames int
}

// Decode decodes a part of the block; last says that it is complete. headBytes is how large the head may be when it is decoded.
func (b *Block) Decode(d *hpack.Decoder, p []byte, last bool, headBytes int) error {
	b.bytes += len(p)
	b.frames++
	// Bytes that say nothing new can be packed ever so tightly, but not loosely: so many are not within the limit.
	if b.bytes > 2*headBytes || b.frames > BlockFramesMax {
		return ErrCalm
	}
	if _, err := d.Write(p); err != nil {
		return ErrCompression
	}
	if last && d.Close() != nil {
		return ErrCompression
	}
	return nil
}

// Frames is of how many frames the block consists, so far.
func (b *Block) Frames() int { return b.frames }

// Encoder makes blocks of fields. They share a table of what was said before, so that each block has to be sent, in order.
type Encoder struct {
	hpack *hpack.Encoder
	block bytes.Buffer
}

// NewEncoder returns an encoder for a new connection.
func NewEncoder() *Encoder {
	e := new(Encoder)
	e.hpack = hpack.NewEncoder(&e.block)
	e.hpack.SetMaxDynamicTableSizeLimit(TableSize)
	return e
}

// Limit takes what the other side says about the size of its table.
func (e *Encoder) Limit(size uint32) { e.hpack.SetMaxDynamicTableSize(min(size, TableSize)) }

// Begin begins a block.
func (e *Encoder) Begin() { e.block.Reset() }

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
