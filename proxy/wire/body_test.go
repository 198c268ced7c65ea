package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// decode runs a body through a connection that yields pieces of the given size. There is no goroutine in it: a fuzzer
// that sees other paths each time it runs the same input spends its time on making inputs smaller.
func decode(t testing.TB, in string, f Framing, length int64, piece int) (body, trailer string, rest string, err error) {
	t.Helper()
	conn := &scriptedConn{text: []byte(in), pieces: func(int) int { return piece }}
	var r Reader
	r.Init(NewConn(conn, nil), Small)
	defer r.Close()
	var b Body
	var h Head
	b.Init(&r, f, length, &h, &Limits{HeadBytes: 200, Fields: 4})
	var out bytes.Buffer
	buf := make([]byte, 64)
	for reads := 0; ; reads++ {
		if reads > 2*len(in)+2 {
			t.Fatalf("%q in pieces of %d: Read goes round in circles", in, piece)
		}
		n, e := b.Read(buf)
		out.Write(buf[:n])
		if e != nil {
			if e != io.EOF {
				err = e
			}
			break
		}
	}
	return out.String(), string(h.AppendTo(nil)), string(r.Bytes()), err
}

func TestBodyChunked(t *testing.T) {
	f := func(in, want, trailer string, wantErr error) {
		t.Helper()
		for piece := 1; piece <= len(in); piece++ {
			body, tr, _, err := decode(t, in, Chunked, 0, piece)
			if !errors.Is(err, wantErr) || err == nil && (body != want || tr != trailer) || !strings.HasPrefix(want, body) {
				t.Fatalf("%q in pieces of %d: got %q, trailer %q, %v; want %q, %q, %v", in, piece, body, tr, err, want, trailer, wantErr)
			}
		}
	}
	f("0\r\n\r\n", "", "", nil)
	f("3\r\nabc\r\n0\r\n\r\n", "abc", "", nil)
	f("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", "", nil)
	f("3;ext=1\r\nabc\r\n0\r\n\r\n", "abc", "", nil)
	f("003\r\nabc\r\n000\r\nX: 1\r\nY: 2\r\n\r\n", "abc", "X: 1\r\nY: 2\r\n", nil)

	f("", "", "", io.ErrUnexpectedEOF)
	f("3\r\nab", "abc", "", io.ErrUnexpectedEOF)
	f("3\r\nabc\r\n0\r\n", "abc", "", io.ErrUnexpectedEOF)
	f("3\r\nabc\r\n0\r\nX: 1\r\n", "abc", "", io.ErrUnexpectedEOF)
	f("\r\n", "", "", ErrBadChunk)
	f("x\r\n", "", "", ErrBadChunk)
	f(" 3\r\nabc\r\n", "", "", ErrBadChunk)
	f("3 \r\nabc\r\n", "", "", ErrBadChunk)
	f("3\nabc\r\n", "", "", ErrBadChunk)
	f("0x3\r\nabc\r\n", "", "", ErrBadChunk)
	f("+3\r\nabc\r\n", "", "", ErrBadChunk)
	f("-3\r\nabc\r\n", "", "", ErrBadChunk)
	f("1_0\r\n", "", "", ErrBadChunk)
	f("3\r\nabcd\r\n", "abc", "", ErrBadChunk)
	f("3\r\nabc\n0\r\n\r\n", "abc", "", ErrBadChunk)
	f("3\r\nabcX\r\n0\r\n\r\n", "abc", "", ErrBadChunk)
	f("10000000000000000\r\n", "", "", ErrBadChunk)
	f("3;"+strings.Repeat("e", 300)+"\r\nabc\r\n", "", "", ErrBadChunk)
	f("3;a\x00\r\nabc\r\n", "", "", ErrBadChunk)
	f("0\r\nContent-Length: 3\r\n\r\n", "", "", ErrBadTrailer)
	f("0\r\nHost: x\r\n\r\n", "", "", ErrBadTrailer)
	f("0\r\nX : 1\r\n\r\n", "", "", ErrBadTrailer)
	f("0\r\n X: 1\r\n\r\n", "", "", ErrBadTrailer)
	f("0\r\n"+strings.Repeat("X: 1\r\n", 5)+"\r\n", "", "", ErrBadTrailer)
}

func TestBodyLength(t *testing.T) {
	f := func(in string, n int64, want, rest string, wantErr error) {
		t.Helper()
		body, _, left, err := decode(t, in, Length, n, len(in)+1)
		if body != want || left != rest || !errors.Is(err, wantErr) {
			t.Fatalf("%q: got %q, left %q, %v", in, body, left, err)
		}
	}
	f("abc", 3, "abc", "", nil)
	f("ab", 3, "ab", "", io.ErrUnexpectedEOF)
	f("", 0, "", "", nil)
}

// TestChunkHeads reads back what was written for a chunk's size.
func TestChunkHeads(t *testing.T) {
	for _, n := range []int{1, 9, 10, 15, 16, 255, 256, 4096, 65535, 1<<28 - 1} {
		b := make([]byte, ChunkHeadMax)
		line := string(b[PutChunkHead(b, len(b), n):])
		got, ok := parseChunkSize([]byte(strings.TrimSuffix(line, "\r\n")))
		if want := fmt.Sprintf("%x\r\n", n); !ok || got != int64(n) || line != want {
			t.Fatalf("%d: %q", n, line)
		}
	}
}

func FuzzChunked(f *testing.F) {
	f.Add("3\r\nabc\r\n0\r\nX: 1\r\n\r\n", 3)
	f.Fuzz(func(t *testing.T, in string, piece int) {
		if len(in) > 2000 {
			return
		}
		whole, t1, _, err1 := decode(t, in, Chunked, 0, len(in)+1)
		parts, t2, _, err2 := decode(t, in, Chunked, 0, max(1, piece%64))
		if whole != parts || t1 != t2 || (err1 == nil) != (err2 == nil) {
			t.Fatalf("at once %q %q %v, in pieces %q %q %v", whole, t1, err1, parts, t2, err2)
		}
	})
}
