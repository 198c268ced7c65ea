package transform

import (
	"regexp"
	"strings"
	"testing"

	"sluice/router"
)

func TestRegex(t *testing.T) {
	const refused = "refused"
	f := func(match, to, target, want string) {
		t.Helper()
		x := newExchange(t, "/**", target)
		defer x.Release()
		matched := string(x.MatchedPath)
		r, err := NewRegex(match, to)
		if err != nil {
			t.Fatal(err)
		}
		before := uri(x)
		switch err := serve(t, r, x); {
		case want == refused && (err != ErrBadPath || uri(x) != before):
			t.Fatalf("got %q and error %v, want a refusal", uri(x), err)
		case want != refused && (err != nil || uri(x) != want):
			t.Fatalf("got %q and error %v, want %q", uri(x), err, want)
		}
		if string(x.MatchedPath) != matched {
			t.Fatalf("evidence was destroyed: %q", x.MatchedPath)
		}
	}

	f(`^/v1/(.*)$`, "/v2/$1", "/v1/a/b", "/v2/a/b")
	f(`^/v1/(.*)$`, "/v2/$1", "/v1/a?q=1", "/v2/a?q=1")
	f(`^/v1/(.*)$`, "/v2/$1", "/x/v1/a", "/x/v1/a")
	f(`^/v1`, "/v2", "/v1/v1", "/v2/v1")
	f(`^/(\w+)/(\w+)`, "/$2/$1", "/a/b/c", "/b/a/c")
	f(`^/(?P<kind>\w+)`, "/by/${kind}s", "/book/1", "/by/books/1")
	f(`^/(\w+)`, "/${1}x/$0$$", "/a/b", "/ax//a$/b")
	f(`^/(a)?(b)?`, "/$1-$2", "/b", "/-b")

	// Anywhere, and as often as it matches.
	f(`_`, "-", "/a_b_c", "/a-b-c")
	f(`/(\d+)(/|$)`, "/n$1$2", "/1/x/2", "/n1/x/n2")
	f(`\.html$`, "", "/a.html.html", "/a.html")
	f(`(^/a|b)`, "$1$1", "/ab", "/a/abb")
	f(`x*`, "-", "/ax", refused) // begins with "-"
	f(`y*$`, "-", "/ax", "/ax-")

	// Not a normal path.
	f(`^/(.*)`, "$1", "/a", refused)
	f(`^/a`, "", "/a", refused)
	f(`^/a/(.*)`, "/$1./b", "/a/.x", "/.x./b")
	f(`^/a/(.*)`, "/.$1/b", "/a/", refused)
	f(`x`, "", "/a/.x./b", refused)
	f(`x`, "", "/a/x./b", refused)
	f(`^/a/%2(.)`, "/%$1", "/a/%2F", refused)
	f(`F$`, "", "/%2F", refused)
	f(`2`, "4", "/a%2F", refused) // %4F is the letter O
	f(`2`, "3", "/a%2F", "/a%3F")
	f(`x`, "5C", "/a%25x", "/a%255C")
	f(`25x`, "5C", "/a%25x", refused)
	f(`^/(.*)`, "/$1$1", "/"+strings.Repeat("a", 9000), "/"+strings.Repeat("a", 18000))
}

func TestNewRegexErrors(t *testing.T) {
	f := func(match, to, want string) {
		t.Helper()
		_, err := NewRegex(match, to)
		if err == nil {
			t.Fatalf("no error for %q to %q", match, to)
		}
		if got := err.Error(); !strings.Contains(got, want) {
			t.Fatalf("unexpected error %q", got)
		}
	}

	f(`(`, "/", "missing closing")
	f(`^/(.*)`, "/$2", `no group "2"`)
	f(`^/(.*)`, "/$99999999999999999999", "no group")
	f(`^/(.*)`, "/$1x", "${1}x")
	f(`^/(.*)`, "/$name", `no group "name"`)
	f(`^/(.*)`, "/${1", "begins no group")
	f(`^/(.*)`, "/$", "begins no group")
	f(`^/(.*)`, "/${}", "begins no group")
	f(`^/(.*)`, "/$1?x=1", "path only")
	f(`^/(.*)`, "/a b", "percent-encode")
	f(`^/(.*)`, "/ü", "percent-encode")
	f(`^/(.*)`, `/\1`, "percent-encode")
}

// FuzzRegex compares with what the standard library does, which is slower but surely what users expect.
func FuzzRegex(f *testing.F) {
	f.Add(`^/v1/(.*)$`, "/v2/$1", "/v1/a/b")
	f.Add(`^/v1`, "/$0", "/v1/a/b")
	f.Add(`(a|b)*`, "${1}c", "/abab/b")
	f.Add(`(?m)^/(.)`, "/$1", "/v1/a")
	f.Add(`\b`, "-", "/v1/a")
	f.Add(``, "/", "/a")
	f.Add(`(^|x)`, "$1", "/ax")
	f.Fuzz(func(t *testing.T, match, to, target string) {
		path, err := router.NormalizePath(nil, []byte(target))
		if err != nil || len(match) > 100 || len(to) > 100 {
			return
		}
		r, err := NewRegex(match, to)
		if err != nil {
			return
		}
		got, matched := r.appendReplaced(nil, path)
		expression := regexp.MustCompile(match)
		if matched != expression.Match(path) {
			t.Fatalf("matched is %v", matched)
		}
		if want := expression.ReplaceAll(path, []byte(to)); matched && string(got) != string(want) {
			t.Fatalf("%q to %q makes %q of %q, want %q", match, to, got, path, want)
		}
	})
}
