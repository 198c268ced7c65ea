package observe

import (
	"errors"
	"io"
	"math"
	"os"
	"syscall"
)

// outputMode lets the group read the log, which holds who asked for what, and nobody else.
const outputMode = 0o640

// Output is AccessLogOptions.Open for "stdout", "stderr", or a file, which is made if need be and appended to.
func Output(to string) func() (io.WriteCloser, error) {
	switch to {
	case "stdout":
		return func() (io.WriteCloser, error) { return stream{os.Stdout}, nil }
	case "stderr":
		return func() (io.WriteCloser, error) { return stream{os.Stderr}, nil }
	}
	return func() (io.WriteCloser, error) {
		f, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, outputMode)
		if err != nil {
			return nil, err // not f: a nil *os.File would be an io.WriteCloser
		}
		return &file{File: f}, nil
	}
}

// stream is an output of the process, which is not ours to close.
type stream struct{ io.Writer }

func (stream) Close() error { return nil }

// file is a file with room on the disk ahead of what is written, while much is: where that has to be found for each page,
// as it is written, that is a third of what writing costs. The size stays what was written. Up to aheadSize stay reserved
// behind the end of a file that is closed: to give them back could cut off what another process has appended.
type file struct {
	*os.File
	ahead int64 // bytes that are reserved, at least
}

const (
	aheadSize = 2 << 20
	aheadFrom = 32 << 10 // bytes in one write that make it worth it
)

func (f *file) Write(p []byte) (int, error) {
	if len(p) >= aheadFrom && int64(len(p)) > f.ahead {
		f.reserve()
	}
	n, err := f.File.Write(p)
	f.ahead = max(0, f.ahead-int64(n))
	return n, err
}

// reserve makes room. Where there can be none, in a pipe or on a file system without such a thing, or if none is left, that
// is not an error: what comes of it is for the write to say.
func (f *file) reserve() {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE
	stat, err := f.Stat()
	if err == nil {
		err = f.control(func(fd int) error { return syscall.Fallocate(fd, keepSize, stat.Size(), aheadSize) })
	}
	f.ahead = aheadSize
	if err != nil {
		f.ahead = math.MaxInt64
	}
}

func (f *file) control(call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) { callErr = call(int(fd)) })
	return errors.Join(err, callErr)
}
