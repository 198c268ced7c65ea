package tlsterm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	// pemBytesMax is far more than any chain has: a larger file was named by mistake, and is not read.
	pemBytesMax = 1 << 20
	// crlBytesMax is about half a million revoked certificates.
	crlBytesMax = 16 << 20
)

// fault is what is wrong with a file.
type fault struct {
	file string
	err  error
}

func (f *fault) Error() string { return f.file + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// readFile returns what is in a file; its errors are faults.
func readFile(name string, bytesMax int64) ([]byte, error) {
	// Looked at before it is opened: to open a named pipe would wait for its writer.
	info, err := os.Stat(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &fault{name, errors.New("it is not a regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	if int64(len(data)) > bytesMax {
		return nil, &fault{name, fmt.Errorf("it is larger than %d MiB", bytesMax>>20)}
	}
	return data, nil
}

// unreadable makes a fault of an error of package os, which would name the file once more.
func unreadable(name string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return &fault{name, fmt.Errorf("it cannot be read: %w", err)}
}
