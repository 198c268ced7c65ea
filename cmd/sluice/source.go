package main

import (
	"crypto/sha256"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"sluice/control/config"
)

// source is where a configuration comes from.
type source struct {
	name string // the file, or what stands for it in messages
	text []byte // instead of the file, if not nil
	// lookup answers for ${NAME}; the environment if nil.
	lookup func(string) (string, bool)
}

// load reads the configuration and notes what it was read from, whether it can be used or not.
func (s *source) load() (*config.Config, config.Problems, *reading) {
	r := &reading{files: map[string]content{}, globs: map[string][]string{}}
	o := config.Options{LookupEnv: s.lookup, ReadFile: r.readFile, Glob: r.glob}
	if s.text != nil {
		c, problems := config.Parse(s.name, s.text, o)
		return c, problems, r
	}
	c, problems := config.Load(s.name, o)
	return c, problems, r
}

// reading is what one load of a configuration saw on the disk.
type reading struct {
	files map[string]content
	globs map[string][]string // by pattern
}

// content is a file as it was read. err is why it could not be.
type content struct {
	data []byte
	err  error
}

func (r *reading) readFile(name string) ([]byte, error) {
	data, err := readFile(name)
	r.files[filepath.Clean(name)] = content{data, err}
	return data, err
}

func (r *reading) glob(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	r.globs[pattern] = names
	return names, err
}

// fileBytesMax is more than a configuration takes of one file: what is larger is refused by its size, and /dev/zero
// does not fill the memory.
const fileBytesMax = 65 << 20

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, fileBytesMax))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return data, err
}

// print is a short stand-in for what a reading saw: two of them are equal exactly if nothing has changed.
type print struct {
	files map[string][sha256.Size]byte // zero for a file that cannot be read
	globs map[string][]string
}

func (r *reading) print() print {
	p := print{files: map[string][sha256.Size]byte{}, globs: r.globs}
	for name, c := range r.files {
		p.files[name] = c.sum()
	}
	return p
}

func (c content) sum() [sha256.Size]byte {
	if c.err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(c.data)
}

// again looks at the same files and patterns once more.
func (p print) again(known *sums) print {
	now := &reading{files: map[string]content{}, globs: map[string][]string{}}
	for pattern := range p.globs {
		// An error is part of the print.
		_, _ = now.glob(pattern)
	}
	seen := now.print()
	for name := range p.files {
		seen.files[name] = known.of(name)
	}
	known.forget(seen)
	return seen
}

// sums are those of files that were looked at, by name: a list of networks has many megabytes, and a log that is written into the same
// folder has it looked at every second. One at a time uses it.
type sums struct {
	settled time.Duration // how long a stamp has to be known before it stands for what is in the file
	files   map[string]stampedSum
	read    int // how many were read
}

type stampedSum struct {
	stamp stamp
	since time.Time // when it was seen first, by our own clock: that of a file server may be another
	sum   [sha256.Size]byte
	final bool // sum was taken when the stamp was settled
}

// stamp is what changes with a file, through links: ctime does, too, where somebody writes in place and sets mtime back.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func stampOf(name string) (stamp, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// settledAfter is for sums.settled: clocks of file systems are coarse, some by two seconds, and whoever writes within one tick leaves the
// same stamp.
const settledAfter = 3 * time.Second

// of is what content.sum says of a file, without holding that in memory.
func (s *sums) of(name string) [sha256.Size]byte {
	before, err := stampOf(name)
	if err != nil {
		delete(s.files, name)
		return [sha256.Size]byte{}
	}
	now, last := time.Now(), s.files[name]
	if last.stamp != before {
		last = stampedSum{stamp: before, since: now}
	}
	if last.final {
		return last.sum
	}
	s.read++
	sum, ok := sumOf(name)
	if after, err := stampOf(name); !ok || err != nil || after != before {
		delete(s.files, name)
		return sum
	}
	last.sum, last.final = sum, now.Sub(last.since) >= s.settled
	if s.files == nil {
		s.files = map[string]stampedSum{}
	}
	s.files[name] = last
	return sum
}

// forget drops what p does not hold.
func (s *sums) forget(p print) {
	maps.DeleteFunc(s.files, func(name string, _ stampedSum) bool { _, ok := p.files[name]; return !ok })
}

// sumOf returns false for a file that cannot be read, which is no state that lasts.
func sumOf(name string) (sum [sha256.Size]byte, ok bool) {
	f, err := os.Open(name)
	if err != nil {
		return sum, false
	}
	hash := sha256.New()
	_, err = io.Copy(hash, io.LimitReader(f, fileBytesMax))
	if closeErr := f.Close(); err != nil || closeErr != nil {
		return sum, false
	}
	return [sha256.Size]byte(hash.Sum(nil)), true
}

func (p print) equal(q print) bool {
	return maps.Equal(p.files, q.files) && maps.EqualFunc(p.globs, q.globs, slices.Equal[[]string])
}
