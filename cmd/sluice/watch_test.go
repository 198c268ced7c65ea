package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// follows returns a watcher of a configuration that relies on what the kernel reports alone.
func follows(t *testing.T, file string) (w *watcher, s source) {
	t.Helper()
	w, s = newWatcher(time.Hour), source{name: file}
	t.Cleanup(w.close)
	_, _, seen := s.load()
	w.follow(seen)
	return w, s
}

// expect waits for a change, or makes sure that there is none.
func expect(t *testing.T, w *watcher, s source, what string, change bool) {
	t.Helper()
	wait := patience
	if !change {
		wait = 4 * debounce
	}
	select {
	case <-w.changed:
		if !change {
			t.Errorf("%s: a change was reported", what)
		}
		if !w.stale() {
			t.Errorf("%s: a change was reported, but it is none", what)
		}
	case <-time.After(wait):
		if change {
			t.Errorf("%s: no change was reported", what)
		}
	}
	_, _, seen := s.load()
	w.follow(seen)
	// An event of the same change may still be on its way; it must not look like the next one.
	time.Sleep(2 * debounce)
	select {
	case <-w.changed:
		if w.stale() {
			t.Errorf("%s: what was loaded is still stale", what)
		}
	default:
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel() // it waits most of the time
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), "version: 1\ninclude: [conf.d/*.yaml, more/extra.yaml]\n")
	w, s := follows(t, file)
	f := func(what string, change bool, do func()) {
		t.Helper()
		do()
		expect(t, w, s, what, change)
	}
	text := readText(t, file)
	f("a file beside it", false, func() { writeFile(t, filepath.Join(dir, "other.txt"), "x") })
	// Without a moment in which the file is empty, which would be a change.
	f("the same content", false, func() {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, errors.Join(err, f.Close()))
	})
	f("permissions", false, func() { must(t, os.Chmod(file, 0o600)) })
	f("written in place", true, func() { writeFile(t, file, text+"# one\n") })
	f("replaced by a rename", true, func() {
		must(t, os.Rename(writeFile(t, filepath.Join(dir, ".sluice.swp"), text+"# two\n"), file))
	})
	f("an editor's backup", true, func() {
		must(t, os.Rename(file, file+"~"))
		writeFile(t, file, text+"# three\n")
	})
	f("removed", true, func() { must(t, os.Remove(file)) })
	f("made again", true, func() { writeFile(t, file, text) })
	f("a folder for a pattern, and a file in it", true, func() { writeFile(t, filepath.Join(dir, "conf.d", "a.yaml"), "# a\n") })
	f("a file that matches the pattern", true, func() { writeFile(t, filepath.Join(dir, "conf.d", "b.yaml"), "# b\n") })
	f("a file that does not", false, func() { writeFile(t, filepath.Join(dir, "conf.d", "b.txt"), "# b\n") })
	f("an included file", true, func() { writeFile(t, filepath.Join(dir, "conf.d", "a.yaml"), "# a2\n") })
	f("an include that was missing", true, func() { writeFile(t, filepath.Join(dir, "more", "extra.yaml"), "# extra\n") })
	f("an include that was there", true, func() { writeFile(t, filepath.Join(dir, "more", "extra.yaml"), "# extra2\n") })
	f("no longer included", true, func() { writeFile(t, file, "version: 1\n") })
	f("what is no longer included", false, func() { writeFile(t, filepath.Join(dir, "more", "extra.yaml"), "# extra3\n") })
}

// TestWatchKubernetes swaps links the way a mounted ConfigMap is updated.
func TestWatchKubernetes(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		writeFile(t, filepath.Join(dir, name, "sluice.yaml"), text)
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", "version: 1\n")
	file := filepath.Join(dir, "sluice.yaml")
	must(t, os.Symlink(filepath.Join("..data", "sluice.yaml"), file))
	w, s := follows(t, file)
	for i, name := range []string{"..2", "..3", "..4"} {
		version(name, "version: 1 # "+name+"\n")
		if i > 0 {
			must(t, os.RemoveAll(filepath.Join(dir, []string{"..1", "..2", "..3"}[i])))
		}
		expect(t, w, s, name, true)
	}
}

// TestWatchLooksAnyway: without a word from the kernel, changes are found all the same.
func TestWatchLooksAnyway(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), "version: 1\n")
	w, s := newWatcher(20*time.Millisecond), source{name: file}
	defer w.close()
	_, _, seen := s.load()
	w.follow(seen)
	for _, folder := range w.events.WatchList() {
		must(t, w.events.Remove(folder))
	}
	writeFile(t, file, "version: 1 # changed\n")
	expect(t, w, s, "a change that was not reported", true)
}

// TestSums: a file is read again when its stamp is another one, also where somebody sets its time back, and as long as its last
// change is so young that another one would not show; and what is no more looked at is forgotten.
func TestSums(t *testing.T) {
	name := filepath.Join(t.TempDir(), "list")
	now := sums{}
	write := func(text string) {
		t.Helper()
		must(t, os.WriteFile(name, []byte(text), 0o600))
		long := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(name, long, long))
	}
	f := func(s *sums, text string, reads int) {
		t.Helper()
		before := s.read
		if got, want := s.of(name), (content{data: []byte(text)}).sum(); got != want {
			t.Errorf("with %q: got another sum", text)
		}
		if got := s.read - before; got != reads {
			t.Errorf("with %q: read %d times, want %d", text, got, reads)
		}
	}
	write("one")
	f(&now, "one", 1)
	f(&now, "one", 0)
	time.Sleep(20 * time.Millisecond) // more than a tick of the clock of this file system
	write("two")
	f(&now, "two", 1)
	f(&now, "two", 0)
	now.forget(print{files: map[string][32]byte{name: {}}})
	f(&now, "two", 0)
	now.forget(print{})
	f(&now, "two", 1)
	must(t, os.Remove(name))
	if now.of(name) != (content{err: os.ErrNotExist}).sum() || len(now.files) != 0 {
		t.Error("a file that is not there has a sum")
	}

	later := sums{settled: time.Hour}
	write("one")
	f(&later, "one", 1)
	f(&later, "one", 1)
	known := later.files[name]
	known.since = known.since.Add(-2 * time.Hour)
	later.files[name] = known
	f(&later, "one", 1)
	f(&later, "one", 0)
}
