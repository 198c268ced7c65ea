package router

import (
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		in := []byte(raw)
		prefix := []byte("kept")
		got, err := NormalizePath(prefix, in)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if string(got) != want {
			t.Fatalf("%q: got %q, want %q", raw, got, want)
		}
		if raw == want && &got[0] != &in[0] {
			t.Fatalf("%q: copied without need", raw)
		}
		if string(in) != raw || string(prefix) != "kept" {
			t.Fatalf("%q: changed its input to %q", raw, in)
		}
	}
	f("/", "/")
	f("/a/b", "/a/b")
	f("/a.b/.c/..d/...", "/a.b/.c/..d/...")
	f("//a//b//", "//a//b//")
	f("/a%2Fb", "/a%2Fb")
	f("/caf\xc3\xa9\xff", "/caf\xc3\xa9\xff")
	f("/%2541", "/%2541")
	f("/%20%23%3F", "/%20%23%3F")
	f("/a;b=1,c@d:e!$&'()*+|{}<>\"^`", "/a;b=1,c@d:e!$&'()*+|{}<>\"^`")

	f("/%41%7a%2d%2E%5f%7E%30", "/Az-._~0")
	f("/a%2fb", "/a%2Fb")
	f("/%c3%A9", "/%C3%A9")
	f("/%2525", "/%2525")

	f("/.", "/")
	f("/..", "/")
	f("/./", "/")
	f("/../", "/")
	f("/../../a", "/a")
	f("/a/.", "/a/")
	f("/a/..", "/")
	f("/a/b/..", "/a/")
	f("/a/b/../", "/a/")
	f("/a/./b/../../c", "/c")
	f("/a/%2e%2E/b", "/b")
	f("/a/.%2e", "/")
	f("/a/%2e", "/a/")
	f("/a/%2e./%2e/b", "/b")
	f("/a//../b", "/a/b")
	f("//..", "/")
	f("/..a/..%2F..", "/..a/..%2F..")
	f("/a/%252e%252e/b", "/a/%252e%252e/b")
	f("/a/..;/b", "/a/..;/b")
}

func TestNormalizePath_refuses(t *testing.T) {
	f := func(raw string, want error) {
		t.Helper()
		if got, err := NormalizePath(nil, []byte(raw)); err != want || got != nil {
			t.Fatalf("%q: got %q, %v, want %v", raw, got, err, want)
		}
	}
	f("", ErrPathRelative)
	f("a", ErrPathRelative)
	f("*", ErrPathRelative)
	f("/\x00", ErrPathControl)
	f("/a%00", ErrPathControl)
	f("/a%0a", ErrPathControl)
	f("/a\r\n", ErrPathControl)
	f("/\x7f", ErrPathControl)
	f("/%7F", ErrPathControl)
	f("/a\\b", ErrPathBackslash)
	f("/a%5cb", ErrPathBackslash)
	f("/a%5Cb", ErrPathBackslash)
	f("/a b", ErrPathDelimiter)
	f("/a?b", ErrPathDelimiter)
	f("/a#b", ErrPathDelimiter)
	f("/%", ErrPathEscape)
	f("/%4", ErrPathEscape)
	f("/%4/1", ErrPathEscape)
	f("/%zz", ErrPathEscape)
	f("/%%341", ErrPathEscape)
	f("/%u0041", ErrPathEscape)
	// What dot segments remove is checked all the same.
	f("/%zz/..", ErrPathEscape)
}

func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2E/%41%2f", "//..//.", "/%2541", "/a%5c", "/..%2f%c3\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := NormalizePath(nil, []byte(raw))
		if err != nil {
			return
		}
		twice, err := NormalizePath(make([]byte, 0, 8), once)
		if err != nil {
			t.Fatalf("%q: normal form %q is refused: %v", raw, once, err)
		}
		if &twice[0] != &once[0] {
			t.Fatalf("%q: %q became %q", raw, once, twice)
		}
		if slow, err := appendNormalPath(nil, once); err != nil || string(slow) != string(once) {
			t.Fatalf("%q: the long way makes %q of %q, %v", raw, slow, once, err)
		}
		if once[0] != '/' || len(once) > len(raw) {
			t.Fatalf("%q: got %q", raw, once)
		}
		for segment := range strings.SplitSeq(strings.ToLower(string(once)), "/") {
			switch strings.ReplaceAll(segment, "%2e", ".") {
			case ".", "..":
				t.Fatalf("%q: dot segment in %q", raw, once)
			}
		}
		if strings.ContainsAny(string(once), "\x00\\ ?#\x7f\n") {
			t.Fatalf("%q: forbidden byte in %q", raw, once)
		}
	})
}
