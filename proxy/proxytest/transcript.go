package proxytest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
)

// transcript writes down the messages of a connection as a script shows them. It knows nothing of package wire: who
// judges what the gateway writes must not share its opinions.
type transcript struct {
	strings.Builder
	status  int
	closing bool // the connection ends with this message
	failed  error
}

// response reads up to a final response, 100 Continue or 101.
func (w *transcript) response(r *bufio.Reader, toHEAD bool) {
	for {
		head, err := w.head(r)
		if err != nil {
			w.broken(err, head == "")
			return
		}
		// A line that cannot be read as a status line stays 0, and is there to be seen.
		_, _ = fmt.Sscanf(head, "HTTP/1.1 %d", &w.status)
		if w.status == 100 || w.status == 101 {
			return
		}
		if w.status >= 200 {
			w.closing = strings.EqualFold(field(head, "Connection"), "close")
			if toHEAD || w.status == 204 || w.status == 304 {
				return
			}
			if err := w.body(r, head, true); err != nil {
				w.broken(err, false)
			}
			return
		}
	}
}

// rest reads whatever else comes until the connection ends.
func (w *transcript) rest(r *bufio.Reader) {
	b, err := io.ReadAll(r)
	w.data(b, len(b) > 0)
	if err != nil {
		w.broken(err, false)
	}
}

// broken notes that the connection ended in a message, or before it.
func (w *transcript) broken(err error, before bool) {
	w.closing = true
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		w.WriteString("(reset)\n")
	case errors.Is(err, io.EOF) && before:
		w.WriteString("(closed)\n")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		w.WriteString("(cut off)\n")
	default:
		w.failed = err
		fmt.Fprintf(w, "(%v)\n", err)
	}
}

// head reads a head with its empty line.
func (w *transcript) head(r *bufio.Reader) (string, error) {
	from := w.Len()
	for {
		line, err := w.line(r)
		if line == "\r\n" || err != nil {
			return w.String()[from:], err
		}
	}
}

func (w *transcript) line(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if text, whole := strings.CutSuffix(line, "\r\n"); whole {
		w.data([]byte(text), false)
		w.WriteByte('\n')
	} else {
		w.data([]byte(strings.ReplaceAll(line, "\n", `\x0a`)), line != "")
	}
	return line, err
}

// body reads a body as the head frames it.
func (w *transcript) body(r *bufio.Reader, head string, response bool) error {
	if strings.EqualFold(field(head, "Transfer-Encoding"), "chunked") {
		return w.chunks(r)
	}
	length := field(head, "Content-Length")
	if length == "" && response {
		w.closing = true
		w.rest(r)
		return nil
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		return nil // no body
	}
	b := make([]byte, n)
	n, err = io.ReadFull(r, b)
	w.data(b[:n], n > 0)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// chunks joins the chunks of a body: where one ends says nothing but when the bytes were there.
func (w *transcript) chunks(r *bufio.Reader) (err error) {
	var data []byte
	for {
		var size string
		if size, err = r.ReadString('\n'); err != nil {
			break
		}
		n, bad := strconv.ParseUint(strings.TrimSuffix(size, "\r\n"), 16, 32)
		if bad != nil {
			err = fmt.Errorf("bad chunk size %q", size)
			break
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n+2)
		k, failed := io.ReadFull(r, chunk)
		data = append(data, chunk[:min(k, int(n))]...)
		if failed != nil {
			err = failed
			break
		}
		if string(chunk[n:]) != "\r\n" {
			err = fmt.Errorf("a chunk ends in %q", chunk[n:])
			break
		}
	}
	if len(data) > 0 {
		fmt.Fprintf(w, "%x\n", len(data))
		w.data(data, false)
		w.WriteByte('\n')
	}
	if err != nil {
		return err
	}
	w.WriteString("0\n")
	_, err = w.head(r) // the trailers
	return err
}

// data shows bytes, with an escape for whatever a text file cannot hold. lineEnd adds a line end where there is none.
func (w *transcript) data(b []byte, lineEnd bool) {
	for _, c := range b {
		if c < ' ' && c != '\n' || c >= 0x7f {
			fmt.Fprintf(w, `\x%02x`, c)
			continue
		}
		w.WriteByte(c)
	}
	if lineEnd && b[len(b)-1] != '\n' {
		w.WriteByte('\n')
	}
}

// field returns the first field of a name.
func field(head, name string) string {
	for line := range strings.Lines(head) {
		if n, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
