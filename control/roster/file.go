package roster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	boltproblem "go.etcd.io/bbolt/errors"
)

// ErrBroken is wrapped by the error of every call once a file was found broken.
var ErrBroken = errors.New("the file of consumers is broken")

// lockedFor is how long another process may hold the file, such as a gateway that is just ending, before that is an error.
const lockedFor = time.Second

// File is an open roster. Safe for concurrent use.
type File struct {
	path   string
	db     *bolt.DB
	file   *os.File // of db, for the case that db cannot be closed any more
	edits  sync.Mutex
	broken atomic.Pointer[error]

	updates func(*bolt.DB, func(*bolt.Tx) error) error // db.Update; tests replace it
}

// The buckets. In each there is one for every group; that of members counts them in its sequence.
var (
	membersBucket = []byte("members") // name → record; its sequence is the last revision
	usesBucket    = []byte("uses")    // name NUL id → Unix time
	aboutBucket   = []byte("about")
	formatKey     = []byte("format")
	format        = []byte("sluice consumers 1")
)

// groupKey is in the bucket about for every group that has a bucket, so that one that is lost is missed.
func groupKey(group string) []byte { return []byte("group " + group) }

// Open opens a file, and makes it if there is none. It takes a lock that no other process has, and reads nothing else yet.
func Open(path string) (*File, error) {
	f := &File{path: path, updates: (*bolt.DB).Update}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("cannot make the file of consumers %s: %w", path, err)
	}
	err := f.guarded(func() (err error) {
		f.db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockedFor, FreelistType: bolt.FreelistMapType, OpenFile: f.open})
		if err == nil {
			err = f.settle()
		}
		if err != nil {
			return err
		}
		return f.db.Update(checkFormat)
	})
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, boltproblem.ErrTimeout):
		err = errors.New("another process has it open: no two gateways can share a state folder")
	case f.db != nil && f.broken.Load() == nil:
		err = errors.Join(err, f.db.Close())
	case f.file != nil:
		f.abandon()
	}
	return nil, fmt.Errorf("cannot open the file of consumers %s: %w", path, err)
}

func (f *File) open(name string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(name, flag, mode)
	f.file = file
	return file, err
}

// settle brings to the disk what is read here. A process that has ended in the middle of a change, or a disk that has not taken one, leaves
// a root that may lie in memory alone: the next change would overwrite what the root on the disk leads to. After a failed sync the system
// takes for written what is not, so that a sync alone would do nothing. What the root leads to was synced before it was written.
func (f *File) settle() error {
	roots := make([]byte, 2*f.db.Info().PageSize)
	if _, err := f.file.ReadAt(roots, 0); err != nil {
		return err
	}
	if _, err := f.file.WriteAt(roots, 0); err != nil {
		return err
	}
	return f.file.Sync()
}

// create makes an empty file, at once and whole: an end in the middle of it leaves either none or one that can be opened.
func create(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	folder := filepath.Dir(path)
	if err := makeFolder(folder); err != nil {
		return err
	}
	fresh, err := os.CreateTemp(folder, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	name := fresh.Name()
	defer func() { _ = os.Remove(name) }() // what has its place has another name
	if err := fresh.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(name, 0o600, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(checkFormat), db.Close()); err != nil {
		return err
	}
	// Not Rename: another process may have been quicker, and have acknowledged something already.
	if err := os.Link(name, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(folder)
}

// makeFolder makes a folder with those above it. In each the entry is synced, or a loss of power could take the folder away with all that
// was acknowledged in it.
func makeFolder(name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err // if it is no folder, whoever makes a file in it finds out
	}
	above := filepath.Dir(name)
	if err := makeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(above)
}

func syncFolder(name string) error {
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// checkFormat wants a file of this package, or an empty one.
func checkFormat(tx *bolt.Tx) error {
	about := tx.Bucket(aboutBucket)
	if about == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return errors.New("it is not a file of consumers")
		}
		var err error
		if about, err = tx.CreateBucket(aboutBucket); err != nil {
			return err
		}
		if err = about.Put(formatKey, format); err != nil {
			return err
		}
	}
	if got := about.Get(formatKey); string(got) != string(format) {
		return fmt.Errorf("it is of another version: %.40q instead of %q", got, format)
	}
	for _, name := range [][]byte{membersBucket, usesBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the use of the file.
func (f *File) Close() error {
	f.edits.Lock()
	defer f.edits.Unlock()
	if f.broken.Load() != nil {
		f.abandon()
		return nil
	}
	return f.guarded(f.db.Close)
}

// abandon gives up a file that the library may not be able to close any more: it may hold a lock of its own still. Closing alone would not
// free the lock of the file, which lasts for as long as the file is mapped.
func (f *File) abandon() {
	// Nothing that was acknowledged is not on the disk, and the file may be closed already.
	_ = syscall.Flock(int(f.file.Fd()), syscall.LOCK_UN)
	_ = f.file.Close()
}

// Broken returns why the file is not used any more, or nil.
func (f *File) Broken() error {
	if err := f.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// breaks says that the file is not used any more.
func (f *File) breaks(why any) error {
	err := fmt.Errorf("%w: %s: %v", ErrBroken, f.path, why)
	f.broken.CompareAndSwap(nil, &err)
	return err
}

// guarded runs what touches the file. The library panics where it finds something that cannot be, and reads the file as memory, where a
// page that is gone is a fault.
func (f *File) guarded(do func() error) (err error) {
	if err := f.Broken(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = f.breaks(p)
		}
	}()
	return do()
}
