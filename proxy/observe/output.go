package observe

import (
	"io"
	"os"
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
		return f, nil
	}
}

// stream is an output of the process, which is not ours to close.
type stream struct{ io.Writer }

func (stream) Close() error { return nil }
