package frames

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestRead: what is wrong with a frame ends its stream, or the connection.
func TestRead(t *testing.T) {
	f := func(raw string, want error) {
		t.Helper()
		_, err := Read(NewFramer(io.Discard, bytes.NewReader([]byte(raw))))
		if s, ok := err.(http2.StreamError); ok {
			s.Cause = nil
			err = s
		}
		if !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", raw, err, want)
		}
	}
	f("\x00\x00\x00\x04\x00\x00\x00\x00\x00", nil)
	f("\x00\x00\x00\x77\x00\x00\x00\x00\x00", nil) // unknown frames are read

	f("", io.EOF)
	f("\x00\x00\x08\x06\x00\x00\x00\x00\x00half", io.ErrUnexpectedEOF)

	f("\x00\x40\x01\x00\x00\x00\x00\x00\x01", ErrSize)
	f("\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x00\x00\x00", http2.StreamError{StreamID: 1, Code: http2.ErrCodeProtocol})
	f("\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", ErrProtocol)
	// A head on its own stream whose padding is longer than itself: its block cannot be decoded, nor can any later one.
	f("\x00\x00\x01\x01\x0c\x00\x00\x00\x01\x05", ErrProtocol)
}

func TestEachSetting(t *testing.T) {
	f := func(want error, settings ...http2.Setting) {
		t.Helper()
		var raw bytes.Buffer
		if err := http2.NewFramer(&raw, nil).WriteSettings(settings...); err != nil {
			t.Fatal(err)
		}
		n := 0
		frame, err := Read(NewFramer(io.Discard, &raw))
		if err == nil {
			err = EachSetting(frame.(*http2.SettingsFrame), func(http2.Setting) error { n++; return nil })
		}
		if err != want {
			t.Errorf("%v: got %v, want %v", settings, err, want)
		}
		if err == nil && n != len(settings) {
			t.Errorf("%d of %d settings were seen", n, len(settings))
		}
	}
	push := http2.Setting{ID: http2.SettingEnablePush, Val: 0}
	f(nil)
	f(nil, push, push)
	many := make([]http2.Setting, SettingsMax+1)
	for i := range many {
		many[i] = http2.Setting{ID: http2.SettingID(100 + i)}
	}
	f(nil, many[:SettingsMax]...)

	f(ErrCalm, many...)
	f(ErrProtocol, push, http2.Setting{ID: http2.SettingEnablePush, Val: 2})
	f(ErrWindow, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
}

// TestEncoder: blocks are split into frames, and come back as they were.
func TestEncoder(t *testing.T) {
	var raw bytes.Buffer
	fr := NewFramer(&raw, &raw)
	e := NewEncoder()
	f := func(size, wantFrames int, end bool) {
		t.Helper()
		e.Begin()
		e.Add(":status", "200", false)
		value := string(bytes.Repeat([]byte{'~'}, size)) // its Huffman code is longer
		e.Add("x", value, true)
		sent := e.Write(fr, 3, end)
		if int(sent) != raw.Len() {
			t.Errorf("%d bytes are said to be sent, and %d were", sent, raw.Len())
		}
		var block Block
		got := ""
		d := hpack.NewDecoder(TableSize, func(f hpack.HeaderField) { got += f.Name + f.Value })
		for last := false; !last; {
			frame, err := Read(fr)
			if err != nil {
				t.Fatal(err)
			}
			var part []byte
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				part, last = frame.HeaderBlockFragment(), frame.HeadersEnded()
				if frame.StreamEnded() != end {
					t.Errorf("the end of the stream is %t, want %t", frame.StreamEnded(), end)
				}
			case *http2.ContinuationFrame:
				part, last = frame.HeaderBlockFragment(), frame.HeadersEnded()
			}
			if err := block.Decode(d, part, last, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if got != ":status200x"+value {
			t.Errorf("%d bytes came back as %d", size, len(got))
		}
		if block.Frames() != wantFrames {
			t.Errorf("%d bytes took %d frames, want %d", size, block.Frames(), wantFrames)
		}
	}
	f(0, 1, false)
	f(100, 1, true)
	f(Max, 2, false)
	f(3*Max, 4, true)
}

// TestBlock: a block has a bound in bytes, in frames and in what is decoded, and what cannot be decoded ends the connection.
func TestBlock(t *testing.T) {
	f := func(parts []string, want error) {
		t.Helper()
		var b Block
		d := hpack.NewDecoder(TableSize, b.Count)
		var err error
		for i, part := range parts {
			if err = b.Decode(d, []byte(part), i == len(parts)-1, 1000); err != nil {
				break
			}
		}
		if err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	status := "\x88" // :status 200, by its index
	many := func(part string, n int) []string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = part
		}
		return parts
	}
	f([]string{status}, nil)
	f(many(status, BlockFramesMax), nil)
	f(many(status+status, 64)[:50], nil)
	f([]string{"", status, ""}, nil)
	literal := "\x00\x01x\x32" + strings.Repeat("y", 50)
	f(many(literal, 37), nil)                         // 1998 bytes
	f([]string{strings.Repeat(status, 4000/14)}, nil) // 3990 when they are decoded

	f(many("", BlockFramesMax+1), ErrCalm)
	f(many(literal, 38), ErrCalm)
	f([]string{strings.Repeat(status, 4000/14+1)}, ErrCalm)
	f([]string{"\x40" + literal[1:], strings.Repeat("\xbe", 72)}, ErrCalm)
	f([]string{"\x80"}, ErrCompression)
	f([]string{status, "\x00\x05half"}, ErrCompression)
	f([]string{"\xff\xff\xff\xff\xff\xff\xff"}, ErrCompression)
}

// FuzzBlock lets a peer send any block in any parts.
func FuzzBlock(f *testing.F) {
	f.Add([]byte("\x88\x00\x01x\x01y"), 3)
	f.Add([]byte("\x3f\xe1\x1f\x88"), 1)
	f.Fuzz(func(t *testing.T, block []byte, size int) {
		const headBytes = 1 << 10
		size = max(size, 1)
		decoded := 0
		var b Block
		d := hpack.NewDecoder(TableSize, func(f hpack.HeaderField) {
			decoded += len(f.Name) + len(f.Value)
			b.Count(f)
		})
		for len(block) > 0 {
			part := block[:min(size, len(block))]
			block = block[len(part):]
			if err := b.Decode(d, part, len(block) == 0, headBytes); err != nil {
				return
			}
		}
		if b.Frames() > BlockFramesMax || b.bytes > 2*headBytes {
			t.Errorf("%d frames with %d bytes were taken", b.Frames(), b.bytes)
		}
		if decoded > decodedFactor*headBytes {
			t.Errorf("%d bytes came out", decoded)
		}
	})
}
