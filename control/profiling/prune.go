package profiling

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// tidy brings what an earlier run has left within the limits.
func (r *Ring) tidy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prune("")
}

// prune removes moments until the rest is within the limits. The moments that are being written and the newest one stay.
// r.mu is held.
func (r *Ring) prune(newest string) error {
	files, err := r.List()
	if err != nil {
		return err
	}
	var errs []error
	remove := func(name string) {
		if err := os.Remove(filepath.Join(r.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("cannot remove an old profile: %w", err))
		}
	}
	stays := func(g group) bool { return g.prefix == newest || r.current[g.prefix] }
	s := sumOf(files)
	for i := r.victim(s, stays); i >= 0; i = r.victim(s, stays) {
		for _, name := range s.groups[i].names {
			remove(name)
		}
		s.drop(i)
	}
	r.bytes.Store(s.bytes())
	r.removeLeftovers(remove)
	return errors.Join(errs...)
}

// victim is the moment to remove next, or -1: the oldest one of a kind of which there are too many; if all is too large,
// the oldest one of the kind that takes more room, so that a row of captures with their traces does not push out hours
// of small profiles.
func (r *Ring) victim(s *sum, stays func(group) bool) int {
	oldest := func(fits func(g group) bool) int {
		return slices.IndexFunc(s.groups, func(g group) bool { return !stays(g) && fits(g) })
	}
	if i := oldest(func(g group) bool { return s.class(g.capture).moments > r.keep }); i >= 0 || s.bytes() <= r.bytesMax {
		return i
	}
	larger := s.capture.bytes > s.continuous.bytes
	if i := oldest(func(g group) bool { return g.capture == larger }); i >= 0 {
		return i
	}
	return oldest(func(group) bool { return true })
}

// leftoverAge is when a partial file is nobody's any more: no profile takes as long.
const leftoverAge = time.Hour

// removeLeftovers removes what processes that died have left half written.
func (r *Ring) removeLeftovers(remove func(name string)) {
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		return // List has just worked: what is the matter will show the next time
	}
	for _, e := range entries {
		if !isTemporary(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			remove(e.Name())
		}
	}
}

// sum is what moments amount to, continuous ones and captures apart.
type sum struct {
	groups              []group // oldest first
	continuous, capture class
}

type group struct {
	prefix  string
	capture bool
	names   []string
	bytes   int64
}

type class struct {
	moments int
	bytes   int64
}

// sumOf groups files, which come newest first.
func sumOf(files []File) *sum {
	s := &sum{}
	for _, f := range slices.Backward(files) {
		prefix := f.Taken.Format(momentLayout)
		last := len(s.groups) - 1
		if last < 0 || s.groups[last].prefix != prefix || s.groups[last].capture != f.Capture {
			s.groups = append(s.groups, group{prefix: prefix, capture: f.Capture})
			last++
			s.class(f.Capture).moments++
		}
		s.groups[last].names = append(s.groups[last].names, f.Name)
		s.groups[last].bytes += f.Bytes
		s.class(f.Capture).bytes += f.Bytes
	}
	return s
}

func (s *sum) class(capture bool) *class {
	if capture {
		return &s.capture
	}
	return &s.continuous
}

func (s *sum) bytes() int64 { return s.continuous.bytes + s.capture.bytes }

func (s *sum) drop(i int) {
	c := s.class(s.groups[i].capture)
	c.moments--
	c.bytes -= s.groups[i].bytes
	s.groups = slices.Delete(s.groups, i, i+1)
}
