package server_test

import (
	"bytes"
	"runtime/pprof"
	"testing"
	"time"
)

// TestH3_announcedHeads: who says that large heads will come, and sends none, is lent no memory for them.
func TestH3_announcedHeads(t *testing.T) {
	const streams, each = 100, 48 << 10 // the client's part included, and what the first streams of a process need
	s := newStage(t, all3+"limits: { header_bytes: 64KiB }\n")
	c := s.h3()
	c.request("GET", "/", true).want("200", "hello")
	s.expect(s.began, "/")
	before := heapInUse()
	for range streams {
		c.open(append([]byte{0x1}, number(128<<10)...), []byte{0})
	}
	waiting := func() int {
		var all bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
			t.Fatal(err)
		}
		return bytes.Count(all.Bytes(), []byte("(*h3stream).readSection("))
	}
	for end := time.Now().Add(patience); waiting() < streams; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d heads are waited for", waiting())
		}
	}
	if grown := heapInUse() - before; grown > streams*each {
		t.Errorf("the heap has grown by %d bytes for each head", grown/streams)
	}
}
