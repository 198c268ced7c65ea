package observe

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFileAhead: room is reserved where much is written, the file holds what was written and nothing else, and others may append.
func TestFileAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := func(n int, want int64) {
		t.Helper()
		out, err := Output(path)()
		if err != nil {
			t.Fatal(err)
		}
		other, err := Output(path)()
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, second := bytes.Repeat([]byte("a"), n), bytes.Repeat([]byte("b"), n)
		for i, w := range []struct {
			to   interface{ Write([]byte) (int, error) }
			text []byte
		}{{out, first}, {other, second}, {out, first}} {
			if m, err := w.to.Write(w.text); m != n || err != nil {
				t.Errorf("write %d: %d of %d bytes, %v", i, m, n, err)
			}
		}
		if got := out.(*file).ahead; got != want {
			t.Errorf("%d bytes: %d are reserved, want %d", n, got, want)
		}
		if out.Close() != nil || other.Close() != nil {
			t.Error("cannot close")
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, bytes.Join([][]byte{before, first, second, first}, nil)) {
			t.Errorf("%d bytes: error %v, the file is not what was written", n, err)
		}
	}
	f(100, 0)
	f(aheadFrom, aheadSize-2*aheadFrom)
	f(aheadSize, 0)
	f(aheadSize+1, 0)
}

func TestFileAheadOfPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	out, err := Output(path)()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := bytes.Repeat([]byte("x"), aheadFrom)
	if n, err := out.Write(p); n != len(p) || err != nil {
		t.Errorf("%d of %d bytes, %v", n, len(p), err)
	}
	got := make([]byte, len(p))
	if n, err := reader.Read(got); err != nil || !bytes.Equal(got[:n], p[:n]) || n == 0 {
		t.Errorf("%d bytes came through, %v", n, err)
	}
}
