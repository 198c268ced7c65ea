package wire

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestEqualFold(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		if EqualFold([]byte(a), b) != want || EqualFold([]byte(b), a) != want || equalFold([]byte(a), []byte(b)) != want {
			t.Fatalf("%q %q: want %v", a, b, want)
		}
	}
	f("", "", true)
	f("Content-Type", "cONTENT-tYPE", true)
	f("a", "ab", false)
	f("a", "", false)
	// What lies 32 apart without being a letter, and what Unicode folds.
	f("@", "`", false)
	f("[", "{", false)
	f("\x0b", "+", false)
	f("K", "\u212a", false)
	f("s", "\u017f", false)
	f("\xc4", "\xe4", false)
	for a := range 256 {
		for b := range 256 {
			f(string([]byte{byte(a)}), string([]byte{byte(b)}), a == b || strings.EqualFold(ascii(a), ascii(b)) && ascii(a) != "")
		}
	}
}

func ascii(c int) string {
	if c < 0x80 {
		return string(rune(c))
	}
	return ""
}

func TestIsToken(t *testing.T) {
	f := func(s string, want bool) {
		t.Helper()
		if IsToken(s) != want || IsToken([]byte(s)) != want {
			t.Fatalf("%q: want %v", s, want)
		}
	}
	f("", false)
	f("GET", true)
	f("!#$%&'*+-.^_`|~09azAZ", true)
	for c := range 256 {
		s := string([]byte{byte(c)})
		f(s, c > ' ' && c < 0x7f && !strings.Contains("\"(),/:;<=>?@[\\]{}", s))
		f("a"+s, IsToken(s))
	}
}

// TestClean finds a control byte wherever it stands, in eights or in the rest.
func TestClean(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := []byte(strings.Repeat("\x80a\xff~ ", 4)[:length])
				b[at] = byte(c)
				if want := c >= ' ' && c != 0x7f || c == '\t'; clean(b) != want {
					t.Fatalf("%q: want %v", b, want)
				}
			}
		}
	}
	if clean([]byte("\t\t\t\t\t\t\t\x00")) || !clean([]byte("\t\t\t\t\t\t\t\t")) || !clean(nil) {
		t.Fatal("tabs hide other controls")
	}
}

func TestSplitHostPort(t *testing.T) {
	f := func(in, host, port string) {
		t.Helper()
		if h, p := SplitHostPort([]byte(in)); string(h) != host || string(p) != port {
			t.Fatalf("%q: got %q %q", in, h, p)
		}
	}
	f("", "", "")
	f("a", "a", "")
	f("a:80", "a", "80")
	f("a:", "a", "")
	f(":80", "", "80")
	f("[::1]", "[::1]", "")
	f("[::1]:80", "[::1]", "80")
	f("192.0.2.1:8080", "192.0.2.1", "8080")
}

func TestValidHost(t *testing.T) {
	f := func(in string, want bool) {
		t.Helper()
		if ValidHost([]byte(in)) != want {
			t.Fatalf("%q: want %v", in, want)
		}
	}
	f("a", true)
	f("a.example", true)
	f("A_b-c.~1:65535", true)
	f("192.0.2.1", true)
	f("[::1]", true)
	f("[2001:db8::192.0.2.1]:443", true)
	f("xn--bcher-kva.example", true)

	f("", false)
	f(":80", false)
	f("a:", false)
	f("a:x", false)
	f("a:-1", false)
	f("a:123456", false)
	f("a:80:80", false)
	f("::1", false)
	f("[::1", false)
	f("::1]", false)
	f("[::1]x", false)
	f("[::1]x:80", false)
	f("[]", false)
	f("[:]:", false)
	f("[::g]", false)
	f("[::1%25eth0]", false)
	f("user@a", false)
	f("a/b", false)
	f("a?b", false)
	f("a#b", false)
	f("a b", false)
	f("a,b", false)
	f("a%20b", false)
	f("a\\b", false)
	f("b\u00fccher.example", false)
	for c := range 0x21 {
		f("a"+string(rune(c)), false)
	}
}

func TestAppendUint(t *testing.T) {
	for _, n := range []uint64{0, 1, 9, 10, 99, 100, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		if got := string(AppendUint([]byte("x"), n)); got != "x"+strconv.FormatUint(n, 10) {
			t.Fatalf("%d: %s", n, got)
		}
	}
}

// TestAppendDate gives the time of now, for every moment of a second, and never that of a second that is over.
func TestAppendDate(t *testing.T) {
	date.Store(nil)
	var last time.Time
	for began := time.Now(); time.Since(began) < 1200*time.Millisecond; {
		before := time.Now()
		text := string(AppendDate([]byte("Date: "), Now()))
		after := time.Now()
		got, err := time.Parse("Date: "+http.TimeFormat, text)
		if err != nil {
			t.Fatal(err)
		}
		// The monotonic clock and the wall clock may be a little apart.
		if got.Before(before.Add(-5*time.Millisecond).Truncate(time.Second)) || got.After(after) || got.Before(last) {
			t.Fatalf("got %s between %s and %s", text, before, after)
		}
		last = got
		time.Sleep(time.Millisecond)
	}
}

// TestNow never stands still for long nor goes back.
func TestNow(t *testing.T) {
	began := time.Now()
	before := Now()
	time.Sleep(2 * time.Millisecond)
	after := Now()
	took := time.Since(began)
	if d := time.Duration(after - before); before <= 0 || d < 2*time.Millisecond || d > took {
		t.Fatalf("%s passed, Now says %s", took, d)
	}
}
