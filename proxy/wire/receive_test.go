package wire

import (
	"bytes"
	"strings"
	"testing"
)

func TestReceive(t *testing.T) {
	f := func(name, value string, want error) {
		t.Helper()
		var h Head
		var m Message
		m.Reset()
		if err := h.Receive("before", "x", &m); err != nil {
			t.Fatal(err)
		}
		if err := h.Receive(name, value, &m); err != want {
			t.Errorf("%q: %q: got %v, want %v", name, value, err, want)
		}
		text := "before: x\r\n"
		if want == nil {
			text += name + ": " + value + "\r\n"
		}
		if got := string(h.AppendTo(nil)); got != text {
			t.Errorf("%q: %q: the head is %q", name, value, got)
		}
	}
	f("a", "", nil)
	f("a", "b c\td\xff", nil)
	f("content-length", "5", nil)
	f("te", "trailers", nil)
	f("te", "Trailers", nil)

	f("", "b", ErrFieldName)
	f("A", "b", ErrFieldName)
	f("a b", "b", ErrFieldName)
	f("a:", "b", ErrFieldName)
	f("a\xc3", "b", ErrFieldName)
	f(strings.Repeat("a", 1<<16), "b", ErrFieldName)
	f("a", "b\r\nc: d", ErrControl)
	f("a", "b\x00", ErrControl)
	f("a", "b\x7f", ErrControl)
	f("a", " b", ErrFieldValue)
	f("a", "b\t", ErrFieldValue)
	f("content-length", "5, 5", ErrContentLength)
	f("content-length", "-1", ErrContentLength)
	f("connection", "x", ErrConnectionField)
	f("keep-alive", "x", ErrConnectionField)
	f("proxy-connection", "x", ErrConnectionField)
	f("transfer-encoding", "chunked", ErrConnectionField)
	f("upgrade", "x", ErrConnectionField)
	f("te", "trailers, gzip", ErrConnectionField)
}

func TestReceive_twice(t *testing.T) {
	var h Head
	var m Message
	m.Reset()
	f := func(name, value string, want error) {
		t.Helper()
		if err := h.Receive(name, value, &m); err != want {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
	f("host", "a", nil)
	f("host", "a", ErrHost)
	f("content-length", "5", nil)
	f("content-length", "5", ErrContentLength)
	if m.ContentLength != 5 {
		t.Errorf("the length is %d", m.ContentLength)
	}
}

func TestReceiveTrailer(t *testing.T) {
	f := func(name string, want error) {
		t.Helper()
		var h Head
		if err := h.ReceiveTrailer(name, "v"); err != want || h.Has(name) != (want == nil) {
			t.Errorf("%q: got %v and %v, want %v", name, err, h.Has(name), want)
		}
	}
	f("x-sum", nil)
	f("grpc-status", nil)
	f(":status", ErrBadTrailer)
	f("content-length", ErrBadTrailer)
	f("host", ErrBadTrailer)
	f("authorization", ErrBadTrailer)
	f("connection", ErrBadTrailer)
	f("X-Sum", ErrBadTrailer)
}

// FuzzReceive compares: a field that is accepted is the same field to the scan of a line, and the other way round but for what
// HTTP/2 alone forbids.
func FuzzReceive(f *testing.F) {
	for _, s := range [][2]string{{"a", "b"}, {"content-length", "5"}, {"x-forwarded-for", "1"}, {"a b", "c"}, {"a", "b\nc"}, {"a", " b"},
		{"te", "trailers"}, {"connection", "close"}, {"A", "b"}, {"", ""}} {
		f.Add(s[0], s[1])
	}
	lim := Limits{HeadBytes: 1 << 20, TargetBytes: 1 << 10, Fields: 10}
	f.Fuzz(func(t *testing.T, name, value string) {
		var received, scanned Head
		var m, n Message
		m.Reset()
		n.Reset()
		err := received.Receive(name, value, &m)
		line := name + ": " + value + "\r\n"
		text := []byte("GET / HTTP/1.0\r\n" + line + "\r\n")
		done, scanErr := ScanRequest(text, &lim, &n, &scanned)
		if err == nil {
			if strings.EqualFold(name, "host") || scanErr == ErrHeadTooLarge {
				return // whether it is a host is looked at when the head is complete
			}
			if scanErr != nil || !done {
				t.Fatalf("received, and scanned %v, %v", done, scanErr)
			}
			if !bytes.Equal(received.AppendTo(nil), scanned.AppendTo(nil)) || received.seen != scanned.seen || m.ContentLength != n.ContentLength {
				t.Fatalf("received %q, scanned %q", received.AppendTo(nil), scanned.AppendTo(nil))
			}
			return
		}
		if scanErr == nil && done && err != ErrFieldName && err != ErrFieldValue && err != ErrConnectionField && scanned.Len() == 1 {
			t.Fatalf("scanned, and received %v", err)
		}
	})
}
