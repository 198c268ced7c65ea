package server

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/quicvarint"
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
