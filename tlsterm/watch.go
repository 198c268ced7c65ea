package tlsterm

import (
	"os"
	"slices"
)

// watched is a value that is read from files, and read again when they change. The last one that was good stays.
type watched[T any] struct {
	files   []string
	stamps  []os.FileInfo // of the files when they were read last; nil for one that is not there
	trouble string        // why the last reading failed
	value   T
}

// look reads the files again if they are others than last time. It returns whether the value is a new one. An error is
// returned once per change, although what failed is tried again at every look: a file may become readable, by chmod say,
// without being changed.
func (w *watched[T]) look(read func() (T, error)) (changed bool, err error) {
	if w.trouble == "" && w.stamps != nil && same(w.stamps, stampsOf(w.files)) {
		return false, nil
	}
	value, stamps, err := settled(w.files, read)
	if err != nil {
		known := w.trouble == err.Error() && same(w.stamps, stamps)
		w.stamps, w.trouble = stamps, err.Error()
		if known {
			return false, nil
		}
		return false, err
	}
	w.stamps, w.trouble, w.value = stamps, "", value
	return true, nil
}

// readingsMax is how often files are read that change meanwhile. After that, the next look goes on.
const readingsMax = 3

// settled reads files until they are the same before and after: two that belong together are not replaced at once, and one
// of each state is not what anybody wrote. The stamps are those from before, so that what happens later is noticed.
func settled[T any](files []string, read func() (T, error)) (value T, before []os.FileInfo, err error) {
	for range readingsMax {
		before = stampsOf(files)
		value, err = read()
		if same(before, stampsOf(files)) {
			break
		}
	}
	return value, before, err
}

// stampsOf follows links, so that both the exchange of a link, anywhere on the way, and a rename over the file show.
func stampsOf(files []string) []os.FileInfo {
	stamps := make([]os.FileInfo, len(files))
	for i, name := range files {
		if info, err := os.Stat(name); err == nil { // otherwise it says why when it is read
			stamps[i] = info
		}
	}
	return stamps
}

// same compares modification time, size, and device and inode.
func same(a, b []os.FileInfo) bool {
	return slices.EqualFunc(a, b, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
	})
}
