package respond

import (
	"net/url"
	"strings"
	"testing"

	"sluice/proxy"
)

func TestRedirect(t *testing.T) {
	const refused = "refused"
	f := func(to, pattern, target, want string) {
		t.Helper()
		x := newExchange(t, pattern, "GET", target)
		defer x.Release()
		x.Request.Head.AddString("X-Next", "//evil.example")
		r, err := NewRedirect(to, parsePattern(t, pattern), 308)
		if err != nil {
			t.Fatal(err)
		}
		err = serve(t, r, x)
		if want == refused {
			if err != ErrBadTarget || x.Response.Status != 0 {
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

	f("/new", "/old", "/old", "/new")
	f("/new", "/old", "/old?q=1", "/new")
	f("/new/{x}", "/old/{x}", "/old/1", "/new/1")
	f("/new/$path.rest", "/old/**", "/old/1/2", "/new/1/2")
	f("/$path.rest", "/old/**", "/old", "/")
	f("https://shop.example/$path.rest", "/**", "/a/b", "https://shop.example/a/b")
	f("https://shop.example", "/**", "/a/b", "https://shop.example")
	f("HTTPS://Shop.Example:8443/", "/**", "/a", "HTTPS://Shop.Example:8443/")
	f("app+1://open/{x}", "/{x}", "/a", "app+1://open/a")
	f("//cdn.example/{x}", "/{x}", "/a", "//cdn.example/a")
	f("https://[::1]:80/{x}", "/{x}", "/a", "https://[::1]:80/a")
	f("https://www.$request.host$request.uri", "/**", "/a/b?c=d", "https://www.shop.example/a/b?c=d")
	f("$request.scheme://$request.host:8443$request.path", "/**", "/a/b?c=d", "http://shop.example:8443/a/b")
	f("https://{t}.shop.example/$path.rest", "/{t}/**", "/acme/a", "https://acme.shop.example/a")
	f("https://{t}.$request.host/", "/{t}/**", "/acme/a", "https://acme.shop.example/")

	// Query and fragment.
	f("/new?$request.query", "/old", "/old?q=1&r=2", "/new?q=1&r=2")
	f("/new?$request.query", "/old", "/old", "/new")
	f("/new?x={x}&$request.query#top", "/{x}", "/a&b?q=1", "/new?x=a%26b&q=1#top")
	f("/new#$request.query", "/old", "/old", "/new")
	f("/login?next=$request.uri", "/**", "/a/b%20c?d=e&f", "/login?next=%2Fa%2Fb%2520c%3Fd%3De%26f")
	f("/new?q=$query.q", "/**", "/a?q=1%262%25+3", "/new?q=1%262%25%203")
	f("/new/$query.q", "/**", "/a?q=1%2F2%3F3", "/new/1%2F2%3F3")

	// What no URL may hold is escaped; escapes stay as they are.
	f("/new/$path.rest", "/old/**", "/old/\xc3\xa9\"<>%C3%A9%2F", "/new/%C3%A9%22%3C%3E%C3%A9%2F")
	f("/new?$request.query", "/old", "/old?\xc3\xa9=%zz\"", "/new?%C3%A9=%zz%22")

	// No value ends the line or adds a field.
	f("/new/$query.q", "/**", "/a?q=1%0d%0aSet-Cookie:%20a=b", "/new/1%0D%0ASet-Cookie%3A%20a%3Db")
	f("$query.q", "/**", "/a?q=%09/evil.example", "/%09%2Fevil.example")
	f("/?n=$query.q", "/**", "/a?q=%0d%0aX:%20y%00", "/?n=%0D%0AX%3A%20y%00")

	// A target without a host stays on this one.
	f("$path.rest", "/go/**", "/go//evil.example", "/evil.example")
	f("$path.rest", "/go/**", "/go////evil.example//x", "/evil.example//x")
	f("$path.rest", "/go/**", "/go/https://evil.example", "/https://evil.example")
	f("$path.rest", "/go/**", "/go/javascript:alert(1)", "/javascript:alert(1)")
	f("$path.rest", "/go/**", "/go/", "/")
	f("/$path.rest", "/go/**", "/go//evil.example", "/evil.example")
	f("/{x}/evil.example", "/go/{x}", "/go/%2F", "/%2F/evil.example")
	f("$request.path", "/**", "//evil.example", "/evil.example")
	f("$request.uri", "/**", "//evil.example?a=//b", "/evil.example?a=//b")
	f("$query.next", "/**", "/a?next=//evil.example", "/%2F%2Fevil.example")
	f("$query.next", "/**", "/a?next=https://evil.example", "/https%3A%2F%2Fevil.example")
	f("$query.next", "/**", `/a?next=\\evil.example`, "/evil.example")
	f("/$query.next", "/**", `/a?next=%5Cevil.example`, "/evil.example")
	f("/$query.next$path.rest", "/**", `/evil.example?next=%5C%5c`, "/evil.example")
	f("$header.X-Next", "/**", "/a", "/%2F%2Fevil.example")
	f("$request.query", "/**", "/a?//evil.example", "/%2F%2Fevil.example")

	// A target with a host stays on that one.
	f("https://shop.example/$path.rest", "/go/**", "/go//evil.example", "https://shop.example//evil.example")
	f("https://shop.example/$path.rest", "/go/**", "/go/@evil.example", "https://shop.example/@evil.example")
	f("https://shop.example$request.path", "/**", "//evil.example", "https://shop.example//evil.example")
	f("https://{t}.shop.example/", "/{t}", "/evil.example%2F", refused)
	f("https://{t}.shop.example/", "/{t}", "/user@evil.example", refused)
	f("https://{t}.shop.example/", "/{t}", "/evil.example:80", refused)
	f("https://{t}.shop.example/", "/{t}", "/[::1]", refused)
	f("https://{t}.shop.example/", "/{t}", "/%23", refused)

	long := strings.Repeat("a", 9000)
	f("/new/{x}", "/old/{x}", "/old/"+long, "/new/"+long)
}

func TestRedirectHostOfRequest(t *testing.T) {
	f := func(host, path string, want bool) {
		t.Helper()
		x := newExchange(t, "/**", "GET", "/")
		defer x.Release()
		x.Request.Host, x.Request.Path = []byte(host), []byte(path)
		r, err := NewRedirect("https://$request.host$request.path", parsePattern(t, "/**"), 301)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(t, r, x); (err == nil) != want || err != nil && err != ErrBadTarget {
			t.Fatalf("got %s, error %v", answer(x), err)
		}
	}

	f("shop.example", "/a", true)
	f("shop.example:80", "/a", true)
	f("", "/a", false)
	f("shop.example", "*", false)
	f("evil.example/", "/a", false)
}

func TestRedirectStatus(t *testing.T) {
	f := func(status int, method, want string) {
		t.Helper()
		x := newExchange(t, "/", method, "/")
		defer x.Release()
		r, err := NewRedirect("/new", parsePattern(t, "/"), status)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(t, r, x); err != nil {
			t.Fatal(err)
		}
		if got := answer(x); got != want {
			t.Fatalf("unexpected answer\n got: %s\nwant: %s", got, want)
		}
	}

	f(301, "GET", `301 [Location: /new] 0 ""`)
	f(302, "POST", `302 [Location: /new] 0 ""`)
	f(303, "PUT", `303 [Location: /new] 0 ""`)
	f(307, "DELETE", `307 [Location: /new] 0 ""`)
	f(308, "HEAD", `308 [Location: /new] 0 absent ""`)

	for _, status := range []int{0, 200, 300, 304, 305, 309} {
		if _, err := NewRedirect("/new", nil, status); err == nil {
			t.Fatalf("no error for status %d", status)
		}
	}
}

func TestNewRedirectErrors(t *testing.T) {
	f := func(to, want string) {
		t.Helper()
		_, err := NewRedirect(to, parsePattern(t, "/{x}/**"), 308)
		if err == nil {
			t.Fatalf("no error for %q", to)
		}
		if got := err.Error(); !strings.Contains(got, want) {
			t.Fatalf("unexpected error %q", got)
		}
	}

	f("", "must begin")
	f("new", "must begin")
	f("?q", "must begin")
	f("shop.example/x", "must begin")
	f("javascript:alert(1)", "must begin")
	f("1http://x/", "must begin")
	f("/{y}", `no parameter "y"`)
	f("/$nothing", "unknown variable")
	f("/{x", "without a }")
	f("/a b", "percent-encode")
	f("/ü", "percent-encode")
	f("/a?b c", "percent-encode")
	f("/a#b#c", "percent-encode")
	f("/a%", "two hexadecimal")
	f("/a%2{x}", "two hexadecimal")
	f(`/\evil.example`, "backslash")
	f("https:///x", "not a host")
	f("https://user@shop.example/", "not a host")
	f("https://shop.example:/", "not a host")
	f("https://sh op/", "not a host")
	f("https://shop.example$request.uri?x=1", "use $request.path?$request.query")

	// Values would complete the host.
	f("https://shop.example$path.rest", "would choose the host")
	f("https://shop.example{x}/", "would choose the host")
	f("https://{x}/", "would choose the host")
	f("https://{x}", "would choose the host")
	f("https://{x}./", "would choose the host")
	f("https://{x}.:80/", "would choose the host")
	f("https://{x}$request.host/", "would choose the host")
	f("https://{x}.{x}/", "would choose the host")
	f("https://shop.example:$query.port/", "would choose the host")
	f("https://$query.host/", "would choose the host")
	f("https://$header.X-Forwarded-Host/", "would choose the host")
	f("//{x}/", "would choose the host")
	f("//$path.rest", "would choose the host")
}

// FuzzRedirect follows redirects as a client would and checks that they end at the host that the template means.
func FuzzRedirect(f *testing.F) {
	f.Add("//evil.example", "https://evil.example", "a")
	f.Add("/\\evil.example", "\\\\evil.example", "@evil.example")
	f.Add("\r\nX: y", "\t//evil.example", "evil.example:80")
	p := parsePattern(f, "/go/{x}/**")
	type policy struct {
		host string // suffix of the host where it has to lead
		*Redirect
	}
	var policies []policy
	add := func(to, host string) {
		r, err := NewRedirect(to, p, 302)
		if err != nil {
			f.Fatal(err)
		}
		policies = append(policies, policy{host, r})
	}
	add("$path.rest", "here.example")
	add("/$path.rest", "here.example")
	add("/{x}$path.rest", "here.example")
	add("{x}/$path.rest", "here.example")
	add("$query.q", "here.example")
	add("/$query.q/$path.rest?$request.query#{x}", "here.example")
	add("https://there.example/$path.rest", "there.example")
	add("https://{x}.there.example/$query.q?q=$query.q", ".there.example")
	here, err := url.Parse("https://here.example/a/b?c")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rest, q, segment string) {
		path := "/go/" + url.PathEscape(segment) + "/" + rest
		if strings.ContainsAny(segment, "\x00\\") || segment == "" || segment == "." || segment == ".." {
			return
		}
		for _, p := range policies {
			x := proxy.Acquire()
			if !matchForFuzz(x, path, q) {
				x.Release()
				return
			}
			err := p.Serve(x, nil)
			location := string(x.Response.Head.Get("Location"))
			x.Release()
			if err == ErrBadTarget {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			// As browsers do: tabs and line ends are dropped, backslashes are slashes.
			location = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(location)
			target, err := here.Parse(location)
			if err != nil {
				if strings.Contains(err.Error(), "invalid URL escape") {
					continue // of the request's own query or fragment
				}
				t.Fatalf("%q is no URL: %s", location, err)
			}
			if !strings.HasSuffix(target.Hostname(), p.host) || target.Scheme != "https" || target.User != nil {
				t.Fatalf("%q leads to %q", location, target.Host)
			}
		}
	})
}
