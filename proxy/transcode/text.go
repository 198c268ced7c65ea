package transcode

import (
	"encoding/base64"
	"io"

	"sluice/proxy"
)

// The text form is base64, with padding wherever a sender had nothing more to say for now: not only at the end.

// decodeBody makes the body of a request binary. One that lies in memory stays so: it can be sent again.
func decodeBody(x *proxy.Exchange) error {
	body := &x.Request.Body
	if !body.Flowing() {
		text := body.Prefix()
		out := x.Scratch()
		for len(text) >= quantum {
			var group [groupMax]byte
			n := decodeQuantum(&group, text[:quantum])
			if n == 0 {
				return errText
			}
			out, text = append(out, group[:n]...), text[quantum:]
		}
		if len(text) > 0 {
			return errText
		}
		body.SetWhole(x.KeepScratch(out))
		return nil
	}
	body.SetFlow(nil, &decoded{body: *body}, -1)
	return nil
}

var errText = &proxy.Error{Status: 400, Code: "bad_base64", Detail: "The call is not in base64, as its type says.", Side: proxy.ByClient, GRPC: 3}

const (
	quantum  = 4 // characters that stand for
	groupMax = 3 // bytes, at most
)

// decoded is the flow of a request that comes as text.
type decoded struct {
	body proxy.Body
	in   [4 << 10]byte
	kept int    // characters of a quantum that is not whole
	out  []byte // decoded, and not read yet
	room [3 << 10]byte
	eof  bool
}

func (d *decoded) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.eof {
			return 0, io.EOF
		}
		n, err := d.body.Read(d.in[d.kept:])
		n += d.kept
		whole := n - n%quantum
		d.out = d.room[:0]
		for at := 0; at < whole; at += quantum {
			var group [groupMax]byte
			size := decodeQuantum(&group, d.in[at:at+quantum])
			if size == 0 {
				d.out = nil
				return 0, errText
			}
			d.out = append(d.out, group[:size]...)
		}
		d.kept = copy(d.in[:], d.in[whole:n])
		switch {
		case err == io.EOF && d.kept > 0:
			return 0, errText
		case err == io.EOF:
			d.eof = true
		case err != nil:
			return 0, err
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// Buffered is how much can be read without waiting: of a quantum that is not whole, nothing.
func (d *decoded) Buffered() int {
	if n := len(d.out); n > 0 {
		return n
	}
	return (d.kept + d.body.Buffered()) / quantum
}

// Interrupt ends a Read under way in another goroutine.
func (d *decoded) Interrupt() { d.body.Interrupt() }

func (d *decoded) Close() error { return d.body.Close() }

// decodeQuantum decodes four characters and returns how many bytes they stand for: 0 if they are no base64. Bits that stand for nothing
// must be 0 (RFC 4648 section 3.5), and there are no line ends.
func decodeQuantum(dst *[groupMax]byte, src []byte) int {
	a, b, c, d := sextets[src[0]], sextets[src[1]], sextets[src[2]], sextets[src[3]]
	if a|b > 63 {
		return 0
	}
	dst[0] = a<<2 | b>>4
	if src[3] != '=' {
		if c|d > 63 {
			return 0
		}
		dst[1], dst[2] = b<<4|c>>2, c<<6|d
		return 3
	}
	if src[2] != '=' {
		if c > 63 || c&3 != 0 {
			return 0
		}
		dst[1] = b<<4 | c>>2
		return 2
	}
	if b&15 != 0 {
		return 0
	}
	return 1
}

// sextets are the values of the characters; 255: none.
var sextets = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	return t
}()

// textAnswer is an answer as text. What can be had without waiting is encoded together; padding comes where it has to be waited.
type textAnswer struct {
	*answer
	raw  [6 << 10]byte
	kept int    // bytes of raw that are fewer than a group
	out  []byte // encoded, and not read yet
	room [8 << 10]byte
	eof  bool
}

func (t *textAnswer) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.eof {
			return 0, io.EOF
		}
		n, err := t.answer.Read(t.raw[t.kept:])
		n += t.kept
		if err == io.EOF {
			t.eof = true
		} else if err != nil {
			return 0, err
		}
		whole := n
		if !t.eof && t.answer.Buffered() > 0 {
			whole -= n % groupMax
		}
		t.out = base64.StdEncoding.AppendEncode(t.room[:0], t.raw[:whole])
		t.kept = copy(t.raw[:], t.raw[whole:n])
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// Buffered is as answer's. What is kept is kept because more can be had.
func (t *textAnswer) Buffered() int {
	switch {
	case len(t.out) > 0:
		return len(t.out)
	case t.eof:
		return 1
	}
	return t.answer.Buffered()
}
