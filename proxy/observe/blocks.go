package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	blockSize  = 256 << 10              // bytes that one write carries
	blockCount = 4                      // 1 MiB in all: what a reader may be behind before lines are dropped
	flushEvery = 200 * time.Millisecond // how long a line waits for its block to fill
)

// blocks collects lines and writes them from a goroutine of its own, in order, many at a time.
type blocks struct {
	dropped atomic.Uint64 // lines

	mu      sync.Mutex
	current []byte // being filled; nil: none is free
	made    int    // blocks that exist
	closed  bool
	next    io.WriteCloser // replaces out

	// Each channel has room for every block there is, so that sending never blocks.
	full chan []byte
	free chan []byte

	replaced chan struct{} // next was set
	stop     chan struct{}
	done     chan struct{}

	// What follows belongs to the writing goroutine, and after done to anyone.
	out     io.WriteCloser
	torn    bool // the last write ended within a line
	failing bool // the last write failed, which was logged
	err     error
}

func newBlocks(out io.WriteCloser) *blocks {
	b := &blocks{
		full: make(chan []byte, blockCount), free: make(chan []byte, blockCount),
		replaced: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		out: out,
	}
	go b.run()
	return b
}

// put appends a line, or counts it as dropped. It never waits for a write.
func (b *blocks) put(line []byte) {
	b.mu.Lock()
	ok := !b.closed && b.makeRoom(len(line))
	if ok {
		b.current = append(b.current, line...)
	}
	b.mu.Unlock()
	if !ok {
		b.dropped.Add(1)
	}
}

// makeRoom makes current a block with room for n bytes. b.mu is held.
func (b *blocks) makeRoom(n int) bool {
	if n > blockSize {
		panic("BUG: a line of the access log is longer than a block")
	}
	if len(b.current)+n > blockSize {
		b.full <- b.current
		b.current = nil
	}
	if b.current != nil {
		return true
	}
	select {
	case b.current = <-b.free:
		return true
	default:
	}
	if b.made < blockCount {
		b.made++
		b.current = make([]byte, 0, blockSize)
		return true
	}
	return false
}

// replace makes out the destination of what is put from now on.
func (b *blocks) replace(out io.WriteCloser) error {
	b.mu.Lock()
	unused, closed := b.next, b.closed
	if closed {
		unused = out
	} else {
		b.next = out
	}
	b.mu.Unlock()
	select {
	case b.replaced <- struct{}{}:
	default: // the writer is yet to see an earlier one
	}
	var err error
	if unused != nil {
		err = unused.Close()
	}
	if closed {
		err = errors.Join(errors.New("the access log is closed"), err)
	}
	return err
}

func (b *blocks) close(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.stop)
	}
	b.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("cannot write the rest of the access log in time: %w", ctx.Err())
	}
}

func (b *blocks) run() {
	defer close(b.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case block := <-b.full:
			b.write(block)
		case <-tick.C:
			b.flush()
		case <-b.replaced:
			b.flush()
		case <-b.stop:
			b.finish()
			return
		}
	}
}

// flush writes all that was put before, then moves on to the next output, if there is one.
func (b *blocks) flush() {
	b.mu.Lock()
	if len(b.current) > 0 {
		b.full <- b.current
		b.current = nil
	}
	before := len(b.full)
	next := b.next
	b.next = nil
	b.mu.Unlock()
	for range before {
		b.write(<-b.full)
	}
	if next != nil {
		b.swap(next)
	}
}

func (b *blocks) swap(next io.WriteCloser) {
	if err := b.out.Close(); err != nil {
		slog.Error("cannot close the former access log", "error", err)
	}
	b.out, b.torn = next, false
}

func (b *blocks) finish() {
	b.flush()
	var err error
	if b.failing {
		err = errors.New("the rest of the access log was lost")
	}
	b.err = errors.Join(err, b.out.Close())
}

// write writes one block and frees it. What cannot be written is dropped: keeping it would only lose later lines.
func (b *blocks) write(block []byte) {
	rest, err := b.writeLines(block)
	if err != nil {
		lost := bytes.Count(rest, newline)
		b.dropped.Add(uint64(lost))
		if !b.failing {
			slog.Error("cannot write the access log; lines are dropped and counted until it works again", "error", err, "dropped", lost)
		}
	} else if b.failing {
		slog.Info("the access log is written again", "dropped", b.dropped.Load())
	}
	b.failing = err != nil
	b.free <- block[:0]
}

// writeLines returns what it could not write. Lines stay whole: after a write that broke off within one, the next
// begins on a line of its own.
func (b *blocks) writeLines(block []byte) (rest []byte, err error) {
	if b.torn {
		if _, err := b.out.Write(newline); err != nil {
			return block, err
		}
		b.torn = false
	}
	n, err := b.out.Write(block)
	if err == nil && n < len(block) {
		err = io.ErrShortWrite
	}
	b.torn = err != nil && n > 0 && block[n-1] != '\n'
	return block[n:], err
}

var newline = []byte("\n")
