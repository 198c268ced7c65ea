package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeAtomically writes a file so that it holds the old content or the new whatever happens, a crash of the machine
// included: into a file beside it, to the disk, then over the old name.
func writeAtomically(name string, content []byte, mode os.FileMode) error {
	return fillAtomically(name, mode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// fillAtomically is writeAtomically for what is not in memory: an error of fill leaves the old content.
func fillAtomically(name string, mode os.FileMode, fill func(w io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write %s: %w", name, err)
		}
	}()
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to report
		}
	}()
	if err := fillFile(f, mode, fill); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncFolder(dir)
}

// fillFile writes, flushes to the disk, and closes.
func fillFile(f *os.File, mode os.FileMode, fill func(w io.Writer) error) error {
	err := fill(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncFolder makes a rename survive a crash.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
