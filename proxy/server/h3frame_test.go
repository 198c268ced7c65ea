package server

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/quic-go/quic-go/quicvarint"

	"sluice/proxy/wire"
)

// haltingReader gives out one byte at a time, and lets a deadline pass before each.
type haltingReader struct {
	text string
	late bool
}

func (r *haltingReader) Read(p []byte) (int, error) {
	if r.late = !r.late; r.late {
		return 0, os.ErrDeadlineExceeded
	}
	if r.text == "" {
		return 0, io.EOF
	}
	p[0] = r.text[0]
	r.text = r.text[1:]
	return 1, nil
}

// TestH3input_deadline: whoever reads on after a deadline that has passed in the middle of anything misses nothing.
func TestH3input_deadline(t *testing.T) {
	var b []byte
	for i, kind := range []uint64{0x21, frameData, 0xf0701, frameHeaders} {
		body := strings.Repeat("x", 100*i)
		b = quicvarint.Append(quicvarint.Append(b, kind), uint64(len(body)))
		b = append(b, body...)
	}
	in := &h3input{from: &haltingReader{text: string(b)}}
	var kinds []uint64
	var sizes []int64
	late := 0
	for {
		kind, size, err := in.frame()
		if isTimeout(err) {
			late++
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds, sizes = append(kinds, kind), append(sizes, size)
		in.pass(size)
	}
	if len(kinds) != 4 || kinds[0] != 0x21 || kinds[2] != 0xf0701 || sizes[1] != 100 || sizes[3] != 300 || late < len(b) {
		t.Errorf("got %x of %d bytes, after %d deadlines", kinds, sizes, late)
	}
	// A frame that its stream does not hold all of is a breach, wherever it ends.
	for _, cut := range []int{1, 3, len(b) - 1} {
		in = &h3input{from: strings.NewReader(string(b[:cut]))}
		err := error(nil)
		for err == nil {
			var size int64
			_, size, err = in.frame()
			in.pass(size)
		}
		if err != h3Error(codeFrame) {
			t.Errorf("cut at %d: got %v", cut, err)
		}
	}
}

// TestH3input_gather: memory comes with the bytes, and no bytes are lost as it grows.
func TestH3input_gather(t *testing.T) {
	f := func(size, come, least, most int) {
		t.Helper()
		text := strings.Repeat("0123456789abcdefg", size/17+1)[:size]
		in := &h3input{from: iotest.OneByteReader(strings.NewReader(text[:come]))}
		buf, err := in.gather(size)
		defer buf.Free()
		if come == size && (err != nil || string(buf.B[:size]) != text) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if come < size && err != h3Error(codeFrame) {
			t.Errorf("%d of %d bytes: got %v", come, size, err)
		}
		if len(buf.B) < least || len(buf.B) > most {
			t.Errorf("%d of %d bytes take %d bytes of memory", come, size, len(buf.B))
		}
	}
	f(1, 1, 1, wire.Small)
	f(wire.Small, wire.Small, wire.Small, wire.Small)
	f(wire.Small+1, wire.Small+1, wire.Small+1, wire.Medium)
	f(wire.Large, wire.Large, wire.Large, wire.Large)
	f(wire.Bulk+1, wire.Bulk+1, wire.Bulk+1, 2*wire.Bulk)
	f(wire.Large, 0, 0, wire.Small)
	f(wire.Large, wire.Small-1, 0, wire.Small)
	f(wire.Bulk, wire.Small+1, 0, wire.Medium)
}
