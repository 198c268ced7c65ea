package respond

import (
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

func TestStatic(t *testing.T) {
	const pattern = "/{x}"
	f := func(o StaticOptions, body, method, target, want string) {
		t.Helper()
		if body != "" {
			o.Body = parseTemplate(t, body, pattern)
		}
		s, err := NewStatic(o)
		if err != nil {
			t.Fatal(err)
		}
		x := newExchange(t, pattern, method, target)
		defer x.Release()
		if err := serve(t, s, x); err != nil {
			t.Fatal(err)
		}
		if got := answer(x); got != want {
			t.Fatalf("unexpected answer\n got: %s\nwant: %s", got, want)
		}
	}
	ok := StaticOptions{Status: 200}

	f(ok, "hello", "GET", "/a", `200 [Content-Type: text/plain; charset=utf-8] 5 "hello"`)
	f(ok, "hello $path.x", "GET", "/a", `200 [Content-Type: text/plain; charset=utf-8] 7 "hello a"`)
	f(ok, "hello", "BREW", "/a", `200 [Content-Type: text/plain; charset=utf-8] 5 "hello"`)
	f(ok, "", "GET", "/a", `200 [] 0 ""`)
	f(ok, "$query.q", "GET", "/a", `200 [Content-Type: text/plain; charset=utf-8] 0 ""`)
	f(StaticOptions{Status: 418, Fixed: []byte("$path.x")}, "", "GET", "/a", `418 [Content-Type: text/plain; charset=utf-8] 7 "$path.x"`)
	f(StaticOptions{Status: 200, ContentType: "image/png"}, "", "GET", "/a", `200 [Content-Type: image/png] 0 ""`)

	// The same length is announced, and nothing follows.
	f(ok, "hello", "HEAD", "/a", `200 [Content-Type: text/plain; charset=utf-8] 5 absent ""`)
	f(ok, "hello $path.x", "HEAD", "/a", `200 [Content-Type: text/plain; charset=utf-8] 7 absent ""`)
	f(ok, "", "HEAD", "/a", `200 [] 0 absent ""`)

	// Statuses without a body.
	f(StaticOptions{Status: 204}, "", "GET", "/a", `204 [] - absent ""`)
	f(StaticOptions{Status: 204}, "", "HEAD", "/a", `204 [] - absent ""`)
	f(StaticOptions{Status: 304}, "", "GET", "/a", `304 [] - absent ""`)
	f(StaticOptions{Status: 205}, "", "GET", "/a", `205 [] 0 ""`)

	// Values are escaped as the type demands.
	escaped := func(contentType, body, want string) {
		t.Helper()
		target := "/a?q=%22%3Cb%3E%26+%5C"
		f(StaticOptions{Status: 200, ContentType: contentType}, body, "GET", target, "200 [Content-Type: "+contentType+"] "+want)
	}
	escaped("application/json", `{"q":"$query.q"}`, `17 "{\"q\":\"\\\"<b>& \\\\\"}"`)
	escaped("Application/Problem+JSON; a=b", `{"q":"$query.q"}`, `17 "{\"q\":\"\\\"<b>& \\\\\"}"`)
	escaped("text/html; charset=utf-8", `<p>$query.q`, `24 "<p>&#34;&lt;b&gt;&amp; \\"`)
	escaped("TEXT/HTML", `<p>$query.q`, `24 "<p>&#34;&lt;b&gt;&amp; \\"`)
	escaped("image/svg+xml", `<p>$query.q`, `24 "<p>&#34;&lt;b&gt;&amp; \\"`)
	escaped("text/csv", `a,$query.q`, `9 "a,\"<b>& \\"`)

	// A decoded value does not spoil what stands before it.
	f(ok, "before $query.q, $query.r", "GET", "/a?q=1%202&r=3+4", `200 [Content-Type: text/plain; charset=utf-8] 15 "before 1 2, 3 4"`)

	// Further fields.
	field := func(name, value string) StaticOptions {
		return StaticOptions{Status: 200, Headers: []Field{{name, parseTemplate(t, value, pattern)}}}
	}
	f(field("X-A", "fixed"), "", "GET", "/a", `200 [X-A: fixed] 0 ""`)
	f(field("X-A", "$path.x $query.q"), "", "GET", "/a?q=%0d%0aX-Evil:+1", `200 [X-A: a   X-Evil: 1] 0 ""`)
	f(field("Location", "/made"), "", "POST", "/a", `200 [Location: /made] 0 ""`)
	two := StaticOptions{Status: 200, Headers: append(field("Set-Cookie", "a=$path.x").Headers, field("Set-Cookie", "b=2").Headers...)}
	f(two, "", "GET", "/a", `200 [Set-Cookie: a=a; Set-Cookie: b=2] 0 ""`)

	long := strings.Repeat("long ", 4000)
	f(ok, long+"$path.x", "GET", "/a", `200 [Content-Type: text/plain; charset=utf-8] 20001 "`+long+`a"`)
}

// TestStaticBodyLives checks that the body is not in memory that later steps overwrite.
func TestStaticBodyLives(t *testing.T) {
	s, err := NewStatic(StaticOptions{Status: 200, Body: parseTemplate(t, "$path.x", "/{x}")})
	if err != nil {
		t.Fatal(err)
	}
	x := newExchange(t, "/{x}", "GET", "/value")
	defer x.Release()
	if err := serve(t, s, x); err != nil {
		t.Fatal(err)
	}
	x.KeepScratch(append(x.Scratch(), "overwritten"...))
	buf := wire.GetBuf(wire.Small)
	copy(buf.B, "overwritten")
	buf.Free()
	if got := string(x.Response.Body.Prefix()); got != "value" {
		t.Fatalf("the body became %q", got)
	}
}

func TestNewStaticErrors(t *testing.T) {
	value := parseTemplate(t, "v", "/")
	f := func(o StaticOptions, want string) {
		t.Helper()
		_, err := NewStatic(o)
		if err == nil {
			t.Fatalf("no error for %+v", o)
		}
		if got := err.Error(); !strings.Contains(got, want) {
			t.Fatalf("unexpected error %q", got)
		}
	}
	header := func(name string, value *proxy.Template) StaticOptions {
		return StaticOptions{Status: 200, Headers: []Field{{name, value}}}
	}

	f(StaticOptions{}, "from 200 to 599")
	f(StaticOptions{Status: 101}, "from 200 to 599")
	f(StaticOptions{Status: 600}, "from 200 to 599")
	f(StaticOptions{Status: 204, Body: value}, "forbids one")
	f(StaticOptions{Status: 304, Fixed: []byte("x")}, "forbids one")
	f(StaticOptions{Status: 205, Body: parseTemplate(t, "$request.id", "/")}, "forbids one")
	f(StaticOptions{Status: 200, Body: value, Fixed: []byte("x")}, "two bodies")
	f(StaticOptions{Status: 200, ContentType: "a\r\nX: y"}, "control byte")
	f(header("a b", value), "not a field name")
	f(header("X-A", nil), "no value")
	f(header("Content-length", value), "framing")
	f(header("transfer-encoding", value), "framing")
	f(header("content-type", value), "with the body")
	f(header("location", parseTemplate(t, "$request.path", "/")), "redirect")
}
