package transform

import (
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	const refused = "refused"
	f := func(text, target, want string) {
		t.Helper()
		const pattern = "/{tenant}/**"
		x := newExchange(t, pattern, target)
		defer x.Release()
		h, err := NewHost(text, parsePattern(t, pattern))
		if err != nil {
			t.Fatal(err)
		}
		err = serve(t, h, x)
		got := string(x.Request.Host)
		if want == refused {
			if err != ErrBadHost || got != "shop.example" {
				t.Fatalf("got %q and error %v, want a refusal", got, err)
			}
			if strings.Contains(err.Error(), got) {
				t.Fatalf("the refusal tells the host: %q", err)
			}
			return
		}
		if err != nil || got != want {
			t.Fatalf("got %q and error %v, want %q", got, err, want)
		}
	}

	f("origin.example", "/a", "origin.example")
	f("Origin.Example:8080", "/a", "origin.example:8080")
	f("[::1]:80", "/a", "[::1]:80")
	f("{tenant}.internal", "/Acme/x", "acme.internal")
	f("$query.h", "/a?h=B.example", "b.example")
	f("www.$request.host", "/a", "www.shop.example")

	f("{tenant}.internal", "/a%2Fb/x", refused)
	f("{tenant}.internal", "/user@evil.example:80/x", refused)
	f("{tenant}.internal", "/a:80/x", refused)
	f("$query.h", "/a", refused)
	f("$query.h", "/a?h=a%0d%0aX:y", refused)
	f("$query.h", "/a?h=a,b", refused)
	f("$query.h:80", "/a?h=a:80", refused)
}

func TestNewHostErrors(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if _, err := NewHost(text, parsePattern(t, "/{tenant}")); err == nil {
			t.Fatalf("no error for %q", text)
		}
	}

	f("")
	f("a b")
	f("http://a")
	f("a/b")
	f("a:")
	f("user@a")
	f("bücher.example")
	f("{nobody}.example")
	f("$nothing")
}
