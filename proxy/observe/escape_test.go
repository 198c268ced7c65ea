package observe

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendText(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if got := string(appendText(nil, value)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
		if got := string(appendText([]byte("x"), []byte(value))); got != "x"+want {
			t.Errorf("%q as bytes: got %q, want %q", value, got, "x"+want)
		}
	}
	f("", "")
	f("plain text /a?b=c&d", "plain text /a?b=c&d")
	f("grün 本 😀", "grün 本 😀")

	f(`a"b\c`, `a\"b\\c`)
	f("a\nb\r\tc\x00\x7f", `a\u000ab\u000d\u0009c\u0000\u007f`)
	f("\x1b[31m", `\u001b[31m`)
	f("\u009b31m", `\u009b31m`)
	f("a\u0085b\u2028c\u2029d", `a\u0085b\u2028c\u2029d`)

	f("a\xffb", "a\uFFFDb")
	f("\xe2\x80", "\uFFFD\uFFFD")
	f("\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD") // a surrogate
	f("\uFFFD", "\uFFFD")

	f(strings.Repeat("a", valueMax), strings.Repeat("a", valueMax))
	f(strings.Repeat("a", valueMax+1), strings.Repeat("a", valueMax)+"...")
}

// TestPlainWord looks for every byte at every place, among neighbours that could carry into it.
func TestPlainWord(t *testing.T) {
	for _, neighbour := range []byte{' ', '!', '#', 'a', '[', ']', '~', '"', '\\', 0, 0x1f, 0x7f, 0x80, 0xff} {
		for c := range 256 {
			for at := range 8 {
				v := bytes.Repeat([]byte{neighbour}, 8)
				v[at] = byte(c)
				want := plainByte[neighbour] && plainByte[c]
				if got := plainWord(word(v)); got != want {
					t.Fatalf("%q: plain is %t, want %t", v, got, want)
				}
			}
		}
	}
}

func TestAppendTextFullLine(t *testing.T) {
	full := make([]byte, lineMax)
	if got := string(appendText(full, "abc")[lineMax:]); got != "..." {
		t.Errorf("got %q", got)
	}
	if got := string(appendText(full, "")[lineMax:]); got != "" {
		t.Errorf("got %q", got)
	}
	if got := string(appendText(full[:lineMax-2*expansionMax], "abc")[lineMax-2*expansionMax:]); got != "ab..." {
		t.Errorf("got %q", got)
	}
}

// FuzzText: the outcome is what encoding/json reads back, on one line.
func FuzzText(f *testing.F) {
	f.Add([]byte("a\"\\\n\u2028\x9b\xffz"))
	f.Fuzz(func(t *testing.T, value []byte) {
		value = value[:min(len(value), valueMax)]
		got := append(appendText([]byte{'"'}, value), '"')
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if want := string([]rune(string(value))); back != want { // an U+FFFD for each byte that is no UTF-8
			t.Fatalf("got %q, want %q", back, want)
		}
		checkOneLine(t, string(got))
	})
}

func checkOneLine(t *testing.T, line string) {
	t.Helper()
	if !utf8.ValidString(line) {
		t.Fatalf("%q is no UTF-8", line)
	}
	for _, r := range line {
		if r < ' ' || 0x7f <= r && r < 0xA0 || r == 0x2028 || r == 0x2029 {
			t.Fatalf("%q holds %U", line, r)
		}
	}
}
