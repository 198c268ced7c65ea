package transform

import (
	"strings"
	"testing"
)

func TestPrefix(t *testing.T) {
	f := func(from, to, target, want string) {
		t.Helper()
		x := newExchange(t, "/**", target)
		defer x.Release()
		matched := string(x.MatchedPath)
		p, err := NewReplace(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(t, p, x); err != nil {
			t.Fatal(err)
		}
		if got := uri(x); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if string(x.MatchedPath) != matched {
			t.Fatalf("evidence was destroyed: %q", x.MatchedPath)
		}
	}

	f("/old", "/new", "/old/x", "/new/x")
	f("/old", "/new", "/old", "/new")
	f("/old", "/new", "/old/", "/new/")
	f("/old", "/new", "/old?q=1", "/new?q=1")
	f("/old/", "/new/", "/old/x", "/new/x")
	f("/old", "/a/b/c", "/old/x/y", "/a/b/c/x/y")
	f("/old/a", "/n", "/old/a/x", "/n/x")
	f("/a%2Fb", "/c", "/a%2fb/x", "/c/x")
	f("/old", "/new", "/old//x", "/new//x")

	// Only where a segment ends, and only at the front.
	f("/old", "/new", "/older", "/older")
	f("/old", "/new", "/old%2Fx", "/old%2Fx")
	f("/old", "/new", "/ol", "/ol")
	f("/old", "/new", "/x/old", "/x/old")
	f("/old", "/new", "/Old/x", "/Old/x")
	f("/old", "/new", "/", "/")

	// From and to the root.
	f("/", "/new", "/x", "/new/x")
	f("/", "/new", "/", "/new/")
	f("/old", "/", "/old/x", "/x")
	f("/old", "/", "/old", "/")
	f("/old", "/", "/old/", "/")
	f("/old", "/", "/old//x", "//x")
	f("/", "/", "/x", "/x")
	f("/old", "/new", "/old/"+strings.Repeat("a", 9000), "/new/"+strings.Repeat("a", 9000))
}

func TestStrip(t *testing.T) {
	f := func(prefix, target, want string) {
		t.Helper()
		x := newExchange(t, "/**", target)
		defer x.Release()
		p, err := NewStrip(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(t, p, x); err != nil {
			t.Fatal(err)
		}
		if got := uri(x); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}

	f("/legacy", "/legacy/x", "/x")
	f("/legacy", "/legacy", "/")
	f("/legacy/", "/legacy?q", "/?q")
	f("/legacy", "/legacybooks", "/legacybooks")
	f("/legacy", "/other", "/other")
}

func TestPrefixErrors(t *testing.T) {
	f := func(from, to string) {
		t.Helper()
		if _, err := NewReplace(from, to); err == nil {
			t.Fatalf("no error for %q to %q", from, to)
		}
	}

	f("old", "/new")
	f("/old", "new")
	f("", "/new")
	f("/old", "")
	f("/old?x", "/new")
	f("/old", "/n w")
	f("/old", "/%")

	for _, prefix := range []string{"", "/", "//", "legacy", "/%"} {
		if _, err := NewStrip(prefix); err == nil {
			t.Fatalf("no error for %q", prefix)
		}
	}
}
