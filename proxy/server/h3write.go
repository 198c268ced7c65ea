package server

import (
	"strconv"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"

	"sluice/proxy/wire"
)

// appendHead3 appends a frame with a head and its status, or with status 0 trailers. length is announced if it is not below 0.
func appendHead3(b []byte, status int, h *wire.Head, length int64) []byte {
	var block fieldBlock
	e := qpack.NewEncoder(&block)
	add := func(name, value string) { _ = e.WriteField(qpack.HeaderField{Name: name, Value: value}) } // writing into memory cannot fail
	if status != 0 {
		add(":status", strconv.Itoa(status))
	}
	for name, value := range h.All() {
		if name := lowerName(name); !hopByHopName[name] {
			add(name, string(value))
		}
	}
	if length >= 0 {
		add("content-length", strconv.FormatInt(length, 10))
	}
	b = appendFrameHead(b, frameHeaders, len(block))
	return append(b, block...)
}

// fieldBlock is what the encoder writes into.
type fieldBlock []byte

func (b *fieldBlock) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

func appendFrameHead(b []byte, kind uint64, size int) []byte {
	return quicvarint.Append(quicvarint.Append(b, kind), uint64(size))
}
