package rules

import "testing"

func TestInvalidates(t *testing.T) {
	f := func(method string, status int, want bool) {
		t.Helper()
		if got := Invalidates(method, status); got != want {
			t.Errorf("%s %d: %t", method, status, got)
		}
	}
	f("POST", 200, true)
	f("PUT", 204, true)
	f("PUT", 201, true)
	f("DELETE", 303, true)
	f("PATCH", 399, true)
	f("PURGE", 200, true) // not known to be safe
	f("get", 200, true)   // methods are case-sensitive: this is not GET
	f("POST", 400, false)
	f("POST", 500, false)
	f("POST", 199, false)
	f("GET", 200, false)
	f("HEAD", 200, false)
	f("OPTIONS", 200, false)
	f("TRACE", 200, false)
}

func TestSameOrigin(t *testing.T) {
	f := func(location, scheme, host, want string) {
		t.Helper()
		got, ok := SameOrigin([]byte(location), scheme, []byte(host))
		if !ok {
			got = []byte("other")
		}
		if string(got) != want {
			t.Errorf("%q for %s://%s: %q, want %q", location, scheme, host, got, want)
		}
	}
	f("/a?b=c", "https", "x.example", "/a?b=c")
	f("/a#frag", "https", "x.example", "/a")
	f("https://x.example/a?b", "https", "x.example", "/a?b")
	f("HTTPS://X.Example/a", "https", "x.example", "/a")
	f("https://x.example:443/a", "https", "x.example", "/a")
	f("https://x.example/a", "https", "x.example:443", "/a")
	f("http://x.example:80/a", "http", "x.example", "/a")
	f("https://x.example:8443/a", "https", "x.example:8443", "/a")
	f("https://[::1]:8443/a", "https", "[::1]:8443", "/a")
	f("//x.example/a", "https", "x.example", "/a")
	f("https://x.example", "https", "x.example", "/")
	f("https://x.example#f", "https", "x.example", "/")

	f("http://x.example/a", "https", "x.example", "other")
	f("https://y.example/a", "https", "x.example", "other")
	f("https://x.example:80/a", "https", "x.example", "other")
	f("https://x.example:8443/a", "https", "x.example", "other")
	f("https://x.example.evil/a", "https", "x.example", "other")
	f("https://x.example@evil/a", "https", "x.example", "other")
	f("https://evil@x.example/a", "https", "x.example", "other")
	f("//evil/a", "https", "x.example", "other")
	f("///a", "https", "x.example", "other")
	f("https:///a", "https", "", "other")
	f("https://x.example?a", "https", "x.example", "other")
	f("https:/a", "https", "x.example", "other")
	f("a/b", "https", "x.example", "other")
	f("?a", "https", "x.example", "other")
	f("#a", "https", "x.example", "other")
	f("", "https", "x.example", "other")
	f("https://", "https", "x.example", "other")
	f("javascript://x.example/a", "https", "x.example", "other")
}

func FuzzSameOrigin(f *testing.F) {
	f.Add("https://x.example/a?b#c", "x.example")
	f.Fuzz(func(t *testing.T, location, host string) {
		got, ok := SameOrigin([]byte(location), "https", []byte(host))
		if ok && (len(got) == 0 || got[0] != '/' || len(got) > 1 && got[1] == '/' && location[0] == '/' && len(got) == len(location)) {
			t.Fatalf("%q: %q", location, got)
		}
	})
}
