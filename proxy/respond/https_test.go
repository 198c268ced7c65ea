package respond

import "testing"

func TestHTTPS(t *testing.T) {
	f := func(port int, host, target, want string) {
		t.Helper()
		x := newExchange(t, "/**", "POST", target)
		defer x.Release()
		x.Request.Host = []byte(host)
		h, err := NewHTTPS(port)
		if err != nil {
			t.Fatal(err)
		}
		err = serve(t, h, x)
		if want == "" {
			if err != ErrNoHost || x.Response.Status != 0 {
				t.Fatalf("got %s and error %v, want a refusal", answer(x), err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := answer(x); got != "308 [Location: "+want+`] 0 ""` {
			t.Fatalf("unexpected answer\n got: %s\nwant: %s", got, want)
		}
	}

	f(0, "shop.example", "/", "https://shop.example/")
	f(443, "shop.example", "/a/b?c=d&e", "https://shop.example/a/b?c=d&e")
	f(0, "shop.example:8080", "/a?", "https://shop.example/a?")
	f(8443, "shop.example:80", "/a", "https://shop.example:8443/a")
	f(8443, "[::1]:80", "/a", "https://[::1]:8443/a")
	f(0, "[::1]", "/a", "https://[::1]/a")
	f(0, "shop.example", "//evil.example/%2F", "https://shop.example//evil.example/%2F")
	f(0, "shop.example", "/\xc3\xa9?\xc3\xa9=%zz", "https://shop.example/%C3%A9?%C3%A9=%zz")

	f(0, "shop.example", "/a/../b/./c?d=/../e", "https://shop.example/a/../b/./c?d=/../e")
	f(0, "shop.example", "/%7Ea/%41?%7E", "https://shop.example/%7Ea/%41?%7E")
	f(0, "shop.example", "/a[1]{x}|^`<>\"'?b[]=\\{}", "https://shop.example/a[1]{x}|^`<>\"'?b[]=\\{}")
	f(0, "shop.example", "/a?b#c", "https://shop.example/a?b%23c")

	f(0, "", "/a", "")
	f(0, ":80", "/a", "")
	f(0, "user@evil.example", "/a", "")
	f(0, "evil.example/x", "/a", "")

	for _, port := range []int{-1, 65536} {
		if _, err := NewHTTPS(port); err == nil {
			t.Fatalf("no error for port %d", port)
		}
	}
}

// TestHTTPSTarget: what is no path has one all the same.
func TestHTTPSTarget(t *testing.T) {
	f := func(origin, want string) {
		t.Helper()
		x := newExchange(t, "/**", "OPTIONS", "/")
		defer x.Release()
		x.Received.Target, x.Received.Origin = []byte("http://other.example/not-this"), []byte(origin)
		h, err := NewHTTPS(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(t, h, x); err != nil {
			t.Fatal(err)
		}
		if got := answer(x); got != `308 [Location: https://shop.example`+want+`] 0 ""` {
			t.Errorf("%q: unexpected answer %s", origin, got)
		}
	}
	f("*", "/")
	f("", "/")
	f("/", "/")
	f("/a//b?c", "/a//b?c")
	f("/?a=http://b/c", "/?a=http://b/c")
}
