package transform

import (
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	const refused = "refused"
	f := func(pattern, text, target, want string) {
		t.Helper()
		x := newExchange(t, pattern, target)
		defer x.Release()
		matched := string(x.MatchedPath)
		x.Request.Head.AddString("X-Tenant", "a/b?c#d")
		x.Request.Head.AddString("X-Up", "..")
		p, err := NewPath(text, parsePattern(t, pattern))
		if err != nil {
			t.Fatal(err)
		}
		before := uri(x)
		switch err := serve(t, p, x); {
		case want == refused && err != ErrBadPath:
			t.Fatalf("got %q and error %v, want a refusal", uri(x), err)
		case want == refused && uri(x) != before:
			t.Fatalf("the refused request became %q", uri(x))
		case want != refused && err != nil:
			t.Fatal(err)
		case want != refused && uri(x) != want:
			t.Fatalf("got %q, want %q", uri(x), want)
		}
		if string(x.MatchedPath) != matched || string(x.Received.Target) != target {
			t.Fatalf("evidence was destroyed: %q, %q", x.MatchedPath, x.Received.Target)
		}
	}

	f("/search/{kind}", "/find/{kind}", "/search/book", "/find/book")
	f("/search/{kind}", "/find/$path.kind/all", "/search/book", "/find/book/all")
	f("/search/{kind}", "/find", "/search/book", "/find")
	f("/a/{x}/{y}", "/{y}/{x}", "/a/1/2", "/2/1")
	f("/a/**", "/b/$path.rest", "/a/1/2", "/b/1/2")
	f("/a/**", "/b/$path.rest", "/a", "/b/")
	f("/a/{x}", "/$$/{x}", "/a/1", "/$/1")
	f("/a/{x}", "$request.path", "/a/1", "/a/1")
	f("/a/{x}", "$request.path.json", "/a/1", "/a/1.json")
	f("/a/{x}", "/v1$request.path", "/a/1", "/v1/a/1")
	f("/a/{x}", "/$client.ip-$request.id", "/a/1", "/192.0.2.7-id-1")

	// The query stays unless the template has one.
	f("/a/{x}", "/b/{x}", "/a/1?q=2", "/b/1?q=2")
	f("/a/{x}", "/b/{x}", "/a/1?", "/b/1?")
	f("/a/{x}", "/b?", "/a/1?q=2", "/b")
	f("/a/{x}", "/b?x={x}", "/a/1?q=2", "/b?x=1")
	f("/a/{x}", "/b?x=$path.x&y=%20", "/a/1?q=2", "/b?x=1&y=%20")
	f("/a/{x}", "/b?x={x}?y", "/a/1", "/b?x=1?y")
	f("/a/{x}", "/b?$request.query&x={x}", "/a/1?q=2&r=%zz", "/b?q=2&r=%zz&x=1")
	f("/a/{x}", "/b?x={x}&$request.query", "/a/1?q=2&r=3", "/b?x=1&q=2&r=3")
	f("/a/{x}", "/b?$request.query", "/a/1", "/b")
	f("/a/{x}", "/b?all=$request.query", "/a/1?q=2&r=3", "/b?all=q%3D2%26r%3D3")

	// Values from the path keep their escapes.
	f("/a/{x}", "/b/{x}", "/a/1%2F2%20%C3%A9", "/b/1%2F2%20%C3%A9")
	f("/a/{x}", "/b?x={x}", "/a/1%2F2%20%26", "/b?x=1%2F2%20%26")
	f("/a/{x}", "/b?x={x}", "/a/1&y=2;z+w", "/b?x=1%26y=2%3Bz%2Bw")
	f("/a/{x}", "/b?x={x}", "/a/\xc3\xa9\"", "/b?x=%C3%A9%22")

	// Other values are decoded and then made fit for where they stand.
	f("/a/{x}", "/b/before/$query.q~after", "/a/1?q=x%20y", "/b/before/x%20y~after?q=x%20y")
	f("/a/{x}", "/b/$query.q/c?", "/a/1?q=x%2F..%2Fy", "/b/x%2F..%2Fy/c")
	f("/a/{x}", "/b/$query.q?", "/a/1?q=X:%20y", "/b/X%3A%20y")
	f("/a/{x}", "/b?q=$query.q", "/a/1?q=%0d%0aX:%20y", "/b?q=%0D%0AX%3A%20y")
	f("/a/{x}", "/b/$header.X-Tenant", "/a/1", "/b/a%2Fb%3Fc%23d")
	f("/a/{x}", "/b?q=$query.q&one=1", "/a/1?q=x%26two%3D2%2B%23%25+3", "/b?q=x%26two%3D2%2B%23%25%203&one=1")
	f("/a/{x}", "/b?q=$query.q", "/a/1?q=%2541", "/b?q=%2541")
	f("/a/{x}", "/b?from=$request.uri", "/a/1?q=2", "/b?from=%2Fa%2F1%3Fq%3D2")

	// What is not a normal path does not go on: a value cannot leave the place it is given.
	f("/a/{x}", "/b/$query.q/c", "/a/1?q=..", refused)
	f("/a/{x}", "/b/$query.q/c", "/a/1?q=.", refused)
	f("/a/{x}", "/b/$query.q", "/a/1?q=%2e%2e", refused)
	f("/a/{x}", "/b/$query.q.", "/a/1?q=.", refused)
	f("/a/{x}", "/b/$header.X-Up/c", "/a/1", refused)
	f("/a/{x}", "/b/$query.q", "/a/1?q=%00", refused)
	f("/a/{x}", "/b/$query.q", "/a/1?q=%0d%0aX:%20y", refused)
	f("/a/{x}", "/b/$query.q", "/a/1?q=x%5Cy", refused)
	f("/a/x{x}", "/b/.{x}/c", "/a/x.", refused)

	// Long values leave the first buffer.
	long := strings.Repeat("a", 9000)
	f("/a/{x}", "/b/{x}?x={x}", "/a/"+long, "/b/"+long+"?x="+long)
}

func TestPathLeavesAsterisk(t *testing.T) {
	x := newExchange(t, "/a", "/a")
	defer x.Release()
	x.Request.Path = []byte("*")
	p, err := NewPath("/b?c", nil)
	if err != nil {
		t.Fatal(err)
	}
	prefix, err := NewReplace("/", "/b")
	if err != nil {
		t.Fatal(err)
	}
	regex, err := NewRegex(`\*`, "/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := serve(t, p, x); err != nil || uri(x) != "*" {
		t.Fatalf("path: %q, %v", uri(x), err)
	}
	if err := serve(t, prefix, x); err != nil || uri(x) != "*" {
		t.Fatalf("prefix: %q, %v", uri(x), err)
	}
	if err := serve(t, regex, x); err != nil || uri(x) != "*" {
		t.Fatalf("regex: %q, %v", uri(x), err)
	}
}

func TestNewPathErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := NewPath(text, parsePattern(t, "/a/{x}/**"))
		if err == nil {
			t.Fatalf("no error for %q", text)
		}
		if got := err.Error(); !strings.Contains(got, want) {
			t.Fatalf("unexpected error %q", got)
		}
	}

	f("", "must begin with a slash")
	f("b/{x}", "must begin with a slash")
	f("{x}", "must begin with a slash")
	f("$path.rest", "must begin with a slash")
	f("$request.pathology", "must begin with a slash")
	f("?x", "must begin with a slash")
	f("/b/{y}", `no parameter "y"`)
	f("/b/{x", "without a }")
	f("/b/$", "begins no variable")
	f("/b/$nothing", "unknown variable")
	f("/b/../c", "normal form")
	f("/b/{x}/%2e", "normal form")
	f("/b/%c3%a9", "normal form")
	f("/b/%41", "normal form")
	f("/b/%4", "two hexadecimal digits")
	f("/b c", "space")
	f("/b#c", "number sign")
	f(`/b\c`, "backslash")
	f("/bücher", "not ASCII")
	f("$request.uri", "must begin")
	f("/v1$request.uri", "use $request.path")
	f("/b?x= y", "percent-encode")
	f("/b?x=ü", "percent-encode")
	f("/b?x#y", "percent-encode")
	f("/b?x=%", "two hexadecimal digits")
	f("/b?x=%{x}", "two hexadecimal digits")
	f("/b?x={y}", `no parameter "y"`)
}
