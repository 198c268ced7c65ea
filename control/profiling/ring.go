package profiling

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Ring is a folder that holds the last profiles: the last keep moments at which the continuous ones were taken, the last
// keep captures, and no more bytes than bytesMax altogether. It knows its files by their names, also those of an
// earlier process, and leaves others alone. All methods are safe for concurrent use.
type Ring struct {
	folder   string
	keep     int
	bytesMax int64

	bytes atomic.Int64 // on the disk, as of the last look

	mu      sync.Mutex
	last    time.Time       // the latest moment
	current map[string]bool // moments that are being written, as they begin their names
}

const (
	folderMode = 0o700
	fileMode   = 0o600 // a profile names what runs, and a trace what was said
	// fileBytesMax is more than any profile takes; a trace is the largest, and bounded by recordedBytesMax.
	fileBytesMax = 64 << 20
)

// NewRing does not touch the disk: the folder is made when something is written.
func NewRing(folder string, keep int, bytesMax int64) *Ring {
	return &Ring{folder: folder, keep: keep, bytesMax: bytesMax, current: map[string]bool{}}
}

// Folder is where the files are.
func (r *Ring) Folder() string { return r.folder }

// List returns what is on the disk, the newest first. A folder that is not there yet is empty.
func (r *Ring) List() ([]File, error) {
	entries, err := os.ReadDir(r.folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the profiles: %w", err)
	}
	var files []File
	for _, e := range entries {
		f, ok := ParseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // removed in between
		}
		f.Bytes = info.Size()
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Or(b.Taken.Compare(a.Taken), strings.Compare(a.Name, b.Name)) })
	return files, nil
}

// Open opens a profile by its name. It is fs.ErrNotExist if there is none of that name, whatever else there may be: a
// path, a link and a device are none.
func (r *Ring) Open(name string) (*os.File, File, error) {
	f, ok := ParseName(name)
	if !ok {
		return nil, f, fs.ErrNotExist
	}
	root, err := os.OpenRoot(r.folder)
	if err != nil {
		return nil, f, err
	}
	defer root.Close()
	info, err := root.Lstat(name)
	if err != nil {
		return nil, f, err
	}
	if !info.Mode().IsRegular() {
		return nil, f, fs.ErrNotExist
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, f, err
	}
	f.Bytes = info.Size() // a profile is whole when it gets its name, and never changes
	return file, f, nil
}

// moment is a set of files that were taken together.
type moment struct {
	ring    *Ring
	taken   time.Time
	capture bool
	files   []string // that are there
}

// begin opens a moment, which must be ended. No two begin at the same time, also when a clock is set back.
func (r *Ring) begin(capture bool) *moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := time.Now().UTC().Truncate(time.Millisecond)
	if !taken.After(r.last) {
		taken = r.last.Add(time.Millisecond)
	}
	r.last = taken
	m := &moment{ring: r, taken: taken, capture: capture}
	r.current[m.prefix()] = true
	return m
}

func (m *moment) prefix() string { return m.taken.Format(momentLayout) }

// write makes a file of what fill writes. It is there as a whole or not at all.
func (m *moment) write(kind string, fill func(w io.Writer) error) error {
	name := nameOf(File{Kind: kind, Capture: m.capture, Taken: m.taken})
	if err := m.ring.store(name, fill); err != nil {
		return err
	}
	m.files = append(m.files, name)
	return nil
}

// end closes the moment and removes what is one too many.
func (m *moment) end() error {
	m.ring.mu.Lock()
	defer m.ring.mu.Unlock()
	delete(m.ring.current, m.prefix())
	return m.ring.prune(m.prefix())
}

func (r *Ring) store(name string, fill func(w io.Writer) error) (err error) {
	if err := os.MkdirAll(r.folder, folderMode); err != nil {
		return fmt.Errorf("cannot make the folder of the profiles: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write the profile %s: %w", filepath.Join(r.folder, name), err)
		}
	}()
	root, err := os.OpenRoot(r.folder)
	if err != nil {
		return err
	}
	defer root.Close()
	temporary := temporaryName(name)
	f, err := root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	out := &bounded{w: f, left: min(fileBytesMax, r.bytesMax)}
	err = fill(out)
	err = cmp.Or(err, out.err) // what the runtime writes to tells nobody
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		_ = root.Remove(temporary) // the first error is the one to report
	}
	return err
}

const temporaryEnding = ".partial"

func temporaryName(name string) string { return "." + name + temporaryEnding }

// isTemporary tells the rest of a process that died while it wrote.
func isTemporary(name string) bool {
	inner, ok := strings.CutSuffix(name, temporaryEnding)
	if !ok || !strings.HasPrefix(inner, ".") {
		return false
	}
	_, ok = ParseName(inner[1:])
	return ok
}

// bounded writes up to left bytes, and remembers what went wrong.
type bounded struct {
	w    io.Writer
	left int64
	err  error
}

var errTooLarge = errors.New("it is larger than a file may be")

func (b *bounded) Write(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left {
		b.err = errTooLarge
		return 0, b.err
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	b.err = err
	return n, err
}
