package profiling

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

const mib = 1 << 20

// filler writes n bytes.
func filler(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("x", n))
		return err
	}
}

// put writes a moment of one file and returns its name.
func put(t *testing.T, r *Ring, capture bool, n int) string {
	t.Helper()
	m := r.begin(capture)
	if err := m.write("cpu", filler(n)); err != nil {
		t.Fatal(err)
	}
	if err := m.end(); err != nil {
		t.Fatal(err)
	}
	return m.files[0]
}

// names are the files of a ring, the newest first.
func names(t *testing.T, r *Ring) []string {
	t.Helper()
	files, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range files {
		list = append(list, f.Name)
	}
	return list
}

func TestRingKeepsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "a", "profiles")
		r := NewRing(folder, 3, mib)
		if got := names(t, r); len(got) != 0 {
			t.Errorf("a folder that does not exist holds %v", got)
		}
		var all []string
		for range 5 {
			time.Sleep(time.Minute)
			all = append(all, put(t, r, false, 10))
		}
		capture := put(t, r, true, 10)
		f := func(want ...string) {
			t.Helper()
			if got := names(t, r); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		}
		f(capture, all[4], all[3], all[2])
		if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder has mode %v (%v)", info.Mode(), err)
		}
		if info, err := os.Stat(filepath.Join(folder, capture)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file has mode %v (%v)", info.Mode(), err)
		}

		// A new process goes on with what it finds, and brings it within its own limits.
		r = NewRing(folder, 2, mib)
		f(capture, all[4], all[3], all[2])
		if err := r.tidy(); err != nil {
			t.Fatal(err)
		}
		f(capture, all[4], all[3])
		if got := r.bytes.Load(); got != 30 {
			t.Errorf("%d bytes, want 30", got)
		}
	})
}

// TestRingBytes: what is too large altogether loses the oldest moments of the kind that takes more room.
func TestRingBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRing(t.TempDir(), 100, 1000)
		next := func(capture bool, n int) string {
			time.Sleep(time.Second)
			return put(t, r, capture, n)
		}
		f := func(want ...string) {
			t.Helper()
			if got := names(t, r); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		}
		first := next(false, 100)
		c1, c2 := next(true, 400), next(true, 400)
		second := next(false, 100)
		f(second, c2, c1, first)
		c3 := next(true, 300) // 1300: the older captures go, the small profiles stay
		f(c3, second, c2, first)
		third := next(false, 600) // 1500
		f(third, c3)              // 400+300+100+100 went one by one, each the oldest of the larger kind
		last := next(false, 1000) // alone it is as much as may be
		f(last)
	})
}

// TestRingLeavesOthersAlone: only what bears a profile's name is listed, opened or removed.
func TestRingLeavesOthersAlone(t *testing.T) {
	folder := t.TempDir()
	const target, link, dir = "secret", "20200101T000000.000Z.cpu.pprof", "20200101T000000.000Z.heap.pprof"
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(target)
	write("20200101T000000.000Z.cpu.pprof.gz")
	write(".20200101T000000.000Z.cpu.pprof.partial")
	write(".nobody.partial")
	old := time.Now().Add(-2 * leftoverAge)
	if err := os.Chtimes(filepath.Join(folder, ".20200101T000000.000Z.cpu.pprof.partial"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(folder, ".nobody.partial"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(folder, link)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, dir), 0o700); err != nil {
		t.Fatal(err)
	}
	r := NewRing(folder, 1, mib)
	name := put(t, r, false, 1)
	name2 := put(t, r, false, 1)
	if got := names(t, r); len(got) != 1 || got[0] != name2 {
		t.Errorf("the ring holds %v, want %s", got, name2)
	}

	bad := func(name string) {
		t.Helper()
		if f, _, err := r.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q was opened: %v, %v", name, f, err)
		}
	}
	bad(target)
	bad(link)
	bad(dir)
	bad(name) // it was removed
	bad("../" + filepath.Base(folder) + "/" + name2)
	bad(filepath.Join(folder, name2))
	bad("")
	f, file, err := r.Open(name2)
	if err != nil || file.Bytes != 1 || file.Kind != "cpu" {
		t.Fatalf("%s: %+v, %v", name2, file, err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "x" {
		t.Errorf("it holds %q (%v)", text, err)
	}

	var left []string
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{".nobody.partial", link, "20200101T000000.000Z.cpu.pprof.gz", dir, name2, target}
	if strings.Join(left, " ") != strings.Join(want, " ") {
		t.Errorf("what is left is\n%v, want\n%v", left, want)
	}
}

// TestRingWhole: a file is there as a whole or not at all, whatever fails.
func TestRingWhole(t *testing.T) {
	folder := t.TempDir()
	r := NewRing(folder, 10, 1000)
	f := func(fill func(io.Writer) error, want error) {
		t.Helper()
		m := r.begin(false)
		if err := m.write("cpu", fill); !errors.Is(err, want) {
			t.Errorf("the error is %v, want %v", err, want)
		}
		if err := m.end(); err != nil {
			t.Error(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) > 0 || len(m.files) > 0 {
			t.Errorf("the folder holds %v, the moment %v (%v)", entries, m.files, err)
		}
	}
	broken := errors.New("broken")
	f(func(io.Writer) error { return broken }, broken)
	f(func(w io.Writer) error { _, _ = w.Write(make([]byte, 10)); return broken }, broken)
	f(filler(1001), errTooLarge)
	// A writer that does not look at errors, as the runtime's.
	f(func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 600))
		_, _ = w.Write(make([]byte, 600))
		return nil
	}, errTooLarge)
}

// TestRingFullDisk writes to a file system that is really full.
func TestRingFullDisk(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	r := NewRing(folder, 10, mib)
	small := put(t, r, false, 1000)
	m := r.begin(false)
	if err := m.write("cpu", filler(100_000)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	if err := m.end(); err != nil {
		t.Error(err)
	}
	if got := names(t, r); len(got) != 1 || got[0] != small {
		t.Errorf("the ring holds %v", got)
	}
	put(t, r, false, 1000) // the half file is gone, so that there is room
}

// TestRingClock: a clock that is set back, or stands still, gives no name twice.
func TestRingClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRing(t.TempDir(), 10, mib)
		a, b := r.begin(false), r.begin(true)
		if !b.taken.After(a.taken) {
			t.Errorf("%v is not after %v", b.taken, a.taken)
		}
		later := r.last.Add(time.Hour)
		r.last = later // as if the clock had been set back since
		if c := r.begin(false); !c.taken.After(later) {
			t.Errorf("%v is not after the last one, %v", c.taken, later)
		}
	})
}

// TestRingKeepsWhatIsWritten: a moment that takes its time is not removed by one that ends before it.
func TestRingKeepsWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRing(t.TempDir(), 1, mib)
		slow := r.begin(false)
		if err := slow.write("heap", filler(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		quick := put(t, r, false, 1)
		if got := names(t, r); len(got) != 2 {
			t.Errorf("the ring holds %v", got)
		}
		if err := slow.end(); err != nil {
			t.Fatal(err)
		}
		// The newest of those that have ended stays, and the one that has just ended.
		time.Sleep(time.Second)
		last := put(t, r, false, 1)
		if got := names(t, r); len(got) != 1 || got[0] != last {
			t.Errorf("the ring holds %v, want %s and not %s", got, last, quick)
		}
	})
}
