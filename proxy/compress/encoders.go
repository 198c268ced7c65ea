package compress

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/molecule-man/go-brrr"
)

// Codings are what there is, in the order in which they are liked: for answers that are made anew each time, zstd costs least for what
// it saves.
var Codings = [...]string{"zstd", "br", "gzip"}

// Level is how much work is put into saving bytes.
type Level uint8

// The levels.
const (
	Default Level = iota
	Fast
	Best  // the most that makes sense for answers that are made anew each time
	light // of event streams, whatever is configured: they wait most of the time, for hours, and there may be many of them
	levelCount
)

// Encoders lends encoders, and bounds the memory that those take that are lent. They are pooled: what is not used for two rounds of the
// garbage collector goes. Safe for concurrent use.
type Encoders struct {
	bytesMax atomic.Int64
	bytes    atomic.Int64
	lenders  [len(Codings)][levelCount]lender
}

// NewEncoders returns encoders that may take so many bytes.
func NewEncoders(bytesMax int64) *Encoders {
	e := new(Encoders)
	e.SetMax(bytesMax)
	for c := range e.lenders {
		for l := range e.lenders[c] {
			k := &kinds[c][l]
			e.lenders[c][l] = lender{of: e, coding: c, bytes: k.bytes}
			e.lenders[c][l].pool.New = func() any { return k.make() }
		}
	}
	return e
}

// SetMax sets the bound. Encoders that are lent stay lent.
func (e *Encoders) SetMax(bytes int64) { e.bytesMax.Store(bytes) }

// Bytes is what the encoders that are lent take.
func (e *Encoders) Bytes() int64 { return e.bytes.Load() }

func (e *Encoders) lender(coding string, l Level) *lender {
	if c := slices.Index(Codings[:], coding); c >= 0 && l < levelCount {
		return &e.lenders[c][l]
	}
	return nil
}

// encoder is what the three libraries have in common.
type encoder interface {
	io.Writer
	Flush() error
	Close() error
	Reset(io.Writer)
}

// windowBits is how far back encoders look, 256 KiB. More costs memory for each stream and, of the sizes that web pages and answers of APIs
// have, saves next to nothing: 1 MiB instead saves 0.01 % of 240 of them, 64 KiB would cost 0.5 %. Decoders must take 8 MiB (RFC 9659).
const windowBits = 18

// lightBits is the same for event streams.
const lightBits = 16

// kind is one coding at one level: how an encoder is made, and what one takes while it is lent, with the buffers of its stream. A test
// measures.
type kind struct {
	make  func() encoder
	bytes int64
}

var kinds = [len(Codings)][levelCount]kind{
	// SpeedBestCompression would take 35 MiB, and five times as long for 4 % less.
	{
		light: zstdKind(zstd.SpeedFastest, lightBits, 1024<<10), Fast: zstdKind(zstd.SpeedFastest, windowBits, 1280<<10),
		Default: zstdKind(zstd.SpeedDefault, windowBits, 2816<<10), Best: zstdKind(zstd.SpeedBetterCompression, windowBits, 5632<<10),
	},
	{
		light: brotliKind(2, lightBits, 1280<<10), Fast: brotliKind(2, windowBits, 2560<<10),
		Default: brotliKind(3, windowBits, 2560<<10), Best: brotliKind(5, windowBits, 5632<<10),
	},
	// From 7 to 9 it would be a quarter of the speed for 3 % less.
	{light: gzipKind(1, 1024<<10), Fast: gzipKind(1, 1024<<10), Default: gzipKind(5, 1280<<10), Best: gzipKind(7, 1280<<10)},
}

// zstdKind: no checksum, as there is none for other bodies either; TCP and TLS have their own.
func zstdKind(level zstd.EncoderLevel, window, bytes int64) kind {
	return kind{bytes: bytes, make: func() encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(1<<window),
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		return made(e, err)
	}}
}

func brotliKind(level, window int, bytes int64) kind {
	return kind{bytes: bytes, make: func() encoder {
		e, err := brrr.NewWriterOptions(nil, level, brrr.WriterOptions{LGWin: window})
		return made(e, err)
	}}
}

func gzipKind(level int, bytes int64) kind {
	return kind{bytes: bytes, make: func() encoder {
		e, err := gzip.NewWriterLevel(nil, level)
		return made(e, err)
	}}
}

func made(e encoder, err error) encoder {
	if err != nil {
		panic("BUG: an encoder does not take its options: " + err.Error())
	}
	return e
}

// lender lends encoders of one kind.
type lender struct {
	of     *Encoders
	coding int
	bytes  int64
	pool   sync.Pool
}

// lend returns an encoder that writes to w, or nil if those that are lent take all the memory they may.
func (l *lender) lend(w io.Writer) encoder {
	if l.of.bytes.Add(l.bytes) > l.of.bytesMax.Load() {
		l.of.bytes.Add(-l.bytes)
		return nil
	}
	e := l.pool.Get().(encoder)
	e.Reset(w)
	return e
}

// takeBack takes an encoder back, wherever its stream stands.
func (l *lender) takeBack(e encoder) {
	l.pool.Put(e)
	l.of.bytes.Add(-l.bytes)
}
