package ocsp

import (
	"io"
	"os"
	"path/filepath"
	"time"
)

// folder keeps answers, so that a start does not begin without. An empty one keeps nothing. Whatever is read from it is verified like
// what comes from the network, so that it need not be trusted.
type folder string

func (f folder) file(id string) string { return filepath.Join(string(f), id+".ocsp") }

func (f folder) read(id string) []byte {
	if f == "" {
		return nil
	}
	file, err := os.Open(f.file(id))
	if err != nil {
		return nil // there is none, as a rule
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, answerBytesMax))
	if err != nil {
		return nil
	}
	return raw
}

func (f folder) write(id string, raw []byte) error {
	if f == "" {
		return nil
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(string(f), "."+id+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(raw) // not to the disk: after a crash of the machine it is asked for again
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), f.file(id))
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error is the one to report
	}
	return err
}

// sweep removes answers that ended long ago, about certificates that were replaced while nobody looked.
func (f folder) sweep(now time.Time) {
	files, err := filepath.Glob(f.file("*"))
	if f == "" || err != nil {
		return // what is left over ends by itself
	}
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && now.Sub(info.ModTime()) > keptFor {
			_ = os.Remove(name) // as above
		}
	}
}

// keptFor is longer than any public authority lets an answer hold, which is ten days.
const keptFor = 90 * 24 * time.Hour

func (f folder) remove(id string) {
	if f != "" {
		_ = os.Remove(f.file(id)) // it may never have been there; what is left over ends by itself
	}
}
