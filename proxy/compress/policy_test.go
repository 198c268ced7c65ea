package compress

import (
	"fmt"
	"strings"
	"testing"

	"sluice/proxy"
)

// summary is what became of a response: its coding, and the fields that depend on it.
func summary(x *proxy.Exchange) string {
	h := &x.Response.Head
	show := func(name string) string {
		var all []string
		for value := range h.Values(name) {
			all = append(all, string(value))
		}
		if len(all) == 0 {
			return ""
		}
		return " " + name + "=" + strings.Join(all, "|")
	}
	size := "?"
	if x.Response.Body.Size() >= 0 {
		size = "sized"
	}
	return strings.TrimSpace(fmt.Sprint(size, show("content-encoding"), show("vary"), show("etag"), show("accept-ranges"), show("content-md5"),
		show("digest"), show("content-digest"), show("repr-digest"), show("unencoded-digest")))
}

// TestDecides: which responses are compressed, and what becomes of their fields.
func TestDecides(t *testing.T) {
	p := newPolicy(t, Options{MinSize: 1024, Types: append([]string{"*/*"}, DefaultTypes...)})
	strict := newPolicy(t, Options{MinSize: 1024})
	page := text(2000)
	f := func(p *Policy, request string, o origin, want string) {
		t.Helper()
		method, fields, _ := strings.Cut(request, "|")
		x := newRequest(t, method, fields)
		if o.body == "" && !o.absent && o.flow == nil {
			o.body = page
		}
		serve(t, p, x, &o)
		if got := summary(x); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := x.Response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	const all = "GET|Accept-Encoding: gzip, deflate, br, zstd"
	const html = "Content-Type: text/html; charset=utf-8"

	// What the client accepts decides, and caches get to know in any case.
	f(strict, all, origin{fields: html}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, "GET|Accept-Encoding: gzip", origin{fields: html}, "sized content-encoding=gzip vary=Accept-Encoding")
	f(strict, "GET|Accept-Encoding: zstd;q=0.5, br", origin{fields: html}, "sized content-encoding=br vary=Accept-Encoding")
	f(strict, "GET", origin{fields: html}, "sized vary=Accept-Encoding")
	f(strict, "GET|Accept-Encoding: identity;q=0", origin{fields: html}, "sized vary=Accept-Encoding")
	f(strict, "POST|Accept-Encoding: gzip", origin{fields: html}, "sized content-encoding=gzip vary=Accept-Encoding")
	f(newPolicy(t, Options{Codings: []string{"gzip", "zstd"}}), all, origin{fields: html}, "sized content-encoding=gzip vary=Accept-Encoding")

	// Types, and what they stand for.
	f(strict, all, origin{fields: "Content-Type: application/problem+json"}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: "Content-Type: image/png"}, "sized")
	f(strict, all, origin{}, "sized")
	f(p, all, origin{}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(p, all, origin{fields: "Content-Type: application/grpc+proto"}, "sized")
	f(p, all, origin{fields: "Content-Type: application/grpc-web-text"}, "sized")
	f(p, all+"|Content-Type: application/grpc", origin{fields: html}, "sized")

	// Small ones, and such as do not get smaller.
	f(strict, all, origin{fields: html, body: page[:1023]}, "sized")
	f(strict, all, origin{fields: html, body: page[:1024]}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: html, body: noise(2000)}, "sized vary=Accept-Encoding")
	f(newPolicy(t, Options{}), all, origin{fields: html, flow: new(flow), size: -1}, "sized vary=Accept-Encoding")
	f(strict, all, origin{fields: html, flow: &flow{pieces: []string{page[:1023]}}, size: -1}, "sized vary=Accept-Encoding")
	f(strict, all, origin{fields: html, flow: &flow{pieces: []string{page}}, size: -1}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: html, flow: &flow{pieces: []string{page, ""}}, size: -1}, "? content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: html, flow: &flow{pieces: []string{"", page[:10]}}, size: -1}, "? content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: html, flow: &flow{pieces: []string{"", page}}, size: 2000}, "? content-encoding=zstd vary=Accept-Encoding")

	// What was done already, or must not be (RFC 9110 section 7.7).
	f(strict, all, origin{fields: html + "|Content-Encoding: br|ETag: \"a\""}, "sized content-encoding=br etag=\"a\"")
	f(strict, all, origin{fields: html + "|Content-Encoding: identity"}, "sized content-encoding=identity")
	f(strict, all, origin{fields: html + "|Cache-Control: public, No-Transform"}, "sized")
	f(strict, all, origin{fields: html + "|Cache-Control: public|Cache-Control: no-transform"}, "sized")
	f(strict, all+"|Cache-Control: no-transform", origin{fields: html}, "sized")
	f(strict, all, origin{fields: html + "|Cache-Control: no-transformer"}, "sized content-encoding=zstd vary=Accept-Encoding")

	// Statuses.
	f(strict, all, origin{fields: html, status: 404}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: html, status: 503}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, all, origin{fields: html, status: 204, absent: true, size: -1}, "?")
	f(strict, all, origin{fields: html, status: 205, absent: true}, "sized")
	f(strict, all, origin{fields: html, status: 226}, "sized")
	f(strict, all, origin{fields: html, status: 101}, "sized")

	// Parts are left as they are; what they are parts of varies (RFC 9110 section 15.3.7).
	f(strict, all, origin{fields: html + "|Content-Range: bytes 0-9/2000|ETag: \"a\"", status: 206, body: page[:10]}, "sized vary=Accept-Encoding etag=\"a\"")
	f(strict, all, origin{fields: "Content-Type: multipart/byteranges; boundary=x", status: 206}, "sized")
	f(strict, all, origin{fields: html + "|Content-Range: bytes */2000", status: 416}, "sized")

	// HEAD has the fields of GET, and no length: nobody has counted.
	f(strict, "HEAD|Accept-Encoding: br", origin{fields: html + "|ETag: \"a\"", absent: true, size: 2000}, "? content-encoding=br vary=Accept-Encoding etag=W/\"a\"")
	f(strict, "HEAD|Accept-Encoding: br", origin{fields: html}, "? content-encoding=br vary=Accept-Encoding")
	f(strict, "HEAD|Accept-Encoding: br", origin{fields: html, flow: new(flow), size: 2000}, "? content-encoding=br vary=Accept-Encoding")
	f(strict, "HEAD|Accept-Encoding: br", origin{fields: html, absent: true, size: 1000}, "sized")
	f(strict, "HEAD", origin{fields: html, absent: true, size: 2000}, "sized vary=Accept-Encoding")

	// Vary is merged.
	f(strict, all, origin{fields: html + "|Vary: Origin, Cookie"}, "sized content-encoding=zstd vary=Origin, Cookie, Accept-Encoding")
	f(strict, all, origin{fields: html + "|Vary: Origin|Vary: Cookie"}, "sized content-encoding=zstd vary=Origin, Cookie, Accept-Encoding")
	f(strict, all, origin{fields: html + "|Vary: Cookie, accept-encoding"}, "sized content-encoding=zstd vary=Cookie, accept-encoding")
	f(strict, all, origin{fields: html + "|Vary: *"}, "sized content-encoding=zstd vary=*")
	f(strict, all, origin{fields: html + "|Vary: "}, "sized content-encoding=zstd vary=Accept-Encoding")

	// Validators, ranges and digests.
	f(strict, all, origin{fields: html + "|ETag: \"a,b\""}, "sized content-encoding=zstd vary=Accept-Encoding etag=W/\"a,b\"")
	f(strict, all, origin{fields: html + "|ETag: W/\"a\""}, "sized content-encoding=zstd vary=Accept-Encoding etag=W/\"a\"")
	f(strict, all, origin{fields: html + "|ETag: abc"}, "sized content-encoding=zstd vary=Accept-Encoding")
	f(strict, "GET", origin{fields: html + "|ETag: \"a\"|Accept-Ranges: bytes"}, "sized vary=Accept-Encoding etag=\"a\" accept-ranges=bytes")
	f(strict, all, origin{fields: html + "|Accept-Ranges: bytes|Content-MD5: x|Digest: md5=x|Content-Digest: sha-256=:x:|Repr-Digest: sha-256=:x:|Unencoded-Digest: sha-256=:x:"},
		"sized content-encoding=zstd vary=Accept-Encoding unencoded-digest=sha-256=:x:")

	// A client that asks for what it has by the weak tag hears of the weak tag.
	f(strict, all+"|If-None-Match: \"b\", W/\"a\"", origin{status: 304, fields: "ETag: \"a\"", absent: true, size: -1}, "? vary=Accept-Encoding etag=W/\"a\"")
	f(strict, all+"|If-None-Match: \"a\"", origin{status: 304, fields: "ETag: \"a\"", absent: true, size: -1}, "? etag=\"a\"")
	f(strict, all+"|If-None-Match: W/\"a\"", origin{status: 304, fields: "ETag: W/\"a\"", absent: true, size: -1}, "? etag=W/\"a\"")
	f(strict, all+"|If-None-Match: W/\"a\"", origin{status: 304, absent: true, size: -1}, "?")
}

func TestNew(t *testing.T) {
	f := func(codings, mediaTypes, want string) {
		t.Helper()
		_, err := New(Options{Codings: strings.Fields(codings), Types: strings.Fields(mediaTypes), Encoders: NewEncoders(1)})
		got := "ok"
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s of %s: got %q, want %q", codings, mediaTypes, got, want)
		}
	}
	f("", "", "ok")
	f("gzip br zstd", "*/* text/* application/json application/*+json", "ok")
	f("gzip deflate", "", `there is no coding "deflate"`)
	f("gzip gzip", "", "twice")
	for _, bad := range []string{"text", "text/", "/html", "*/html", "text/h*", "te xt/html", "text/*+", "a/b/c", "text/html;q=1", "*"} {
		_, err := newTypes([]string{bad})
		if err == nil {
			t.Errorf("%q is taken for a media type", bad)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a policy without encoders is made")
	}
	if got := newPolicy(t, Options{Codings: []string{"gzip", "br"}}).Codings(); fmt.Sprint(got) != "[gzip br]" {
		t.Errorf("the codings are %v", got)
	}
}

func TestTypes(t *testing.T) {
	f := func(list, contentType string, want bool) {
		t.Helper()
		all, err := newTypes(strings.Fields(list))
		if err != nil {
			t.Fatal(err)
		}
		if got := all.has([]byte(contentType)); got != want {
			t.Errorf("%s has %q: %v", list, contentType, got)
		}
	}
	f("text/*", "text/html", true)
	f("text/*", "TEXT/HTML;charset=utf-8", true)
	f("text/*", "text/html ; charset=utf-8", true)
	f("Text/HTML", "text/html", true)
	f("text/*", "application/json", false)
	f("text/*", "text", false)
	f("text/*", "", false)
	f("text/*", "xtext/html", false)
	f("application/json", "application/jsonp", false)
	f("application/*+json", "application/problem+json", true)
	f("application/*+json", "application/+json", false)
	f("application/*+json", "application/json", false)
	f("application/*+json", "image/problem+json", false)
	f("*/*", "", true)
	f("*/*", "whatever", true)
}

// TestSecrets: what another site may have asked for is not compressed, where the answers hold secrets.
func TestSecrets(t *testing.T) {
	p := newPolicy(t, Options{Secrets: true})
	f := func(fields string, compressed bool) {
		t.Helper()
		x := newRequest(t, "GET", "Accept-Encoding: gzip|"+fields)
		serve(t, p, x, &origin{fields: "Content-Type: text/html", body: text(2000)})
		h := &x.Response.Head
		if h.Has("content-encoding") != compressed {
			t.Errorf("%s: compressed is not %v", fields, compressed)
		}
		if !h.Has("vary") {
			t.Errorf("%s: the answer does not vary", fields)
		}
		if err := x.Response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	// Without credentials there is nobody's secret.
	f("", true)
	f("Sec-Fetch-Site: cross-site", true)
	f("Origin: https://evil.example", true)

	for _, credentials := range []string{"Cookie: s=1|", "Authorization: Basic YTpi|"} {
		// Browsers say who has asked.
		f(credentials+"Sec-Fetch-Site: same-origin", true)
		f(credentials+"Sec-Fetch-Site: none", true)
		f(credentials+"Sec-Fetch-Site: cross-site", false)
		f(credentials+"Sec-Fetch-Site: same-site", false)
		f(credentials+"Sec-Fetch-Site: ", false)
		f(credentials+"Sec-Fetch-Site: same-origin|Sec-Fetch-Site: cross-site", false)
		f(credentials+"Sec-Fetch-Site: cross-site|Referer: https://shop.example/", false)

		// Others leave traces, or none, which proves nothing.
		f(credentials, false)
		f(credentials+"Origin: https://shop.example", true)
		f(credentials+"Origin: http://shop.example", false)
		f(credentials+"Origin: https://shop.example.evil.example", false)
		f(credentials+"Origin: null", false)
		f(credentials+"Origin: https://evil.example|Referer: https://shop.example/", false)
		f(credentials+"Referer: https://shop.example/a?b", true)
		f(credentials+"Referer: https://SHOP.example", true)
		f(credentials+"Referer: http://shop.example/a", false)
		f(credentials+"Referer: https://shop.example.evil.example/", false)
		f(credentials+"Referer: https://shop.example@evil.example/", false)
		f(credentials+"Referer: https://shop.example:444/", false)
		f(credentials+"Referer: https://evil.example/https://shop.example/", false)
		f(credentials+"Referer: https", false)
	}

	x := newRequest(t, "GET", "Accept-Encoding: gzip")
	x.Client.Certificate = new(proxy.Certificate)
	if p.Offer(x) != "" {
		t.Error("a client certificate is no credential")
	}
	if x := newRequest(t, "GET", "Accept-Encoding: gzip, br|Sec-Fetch-Site: none|Cookie: a"); p.Offer(x) != "br" {
		t.Errorf("%q is offered", p.Offer(x))
	}
}

// FuzzAcceptEncoding: whatever is asked for, the answer is in one of the codings or as it was, and says so.
func FuzzAcceptEncoding(f *testing.F) {
	for _, seed := range []string{"gzip", "", "*", "gzip;q=0, *;q=0.1", "br;q=1.0000, zstd;q=,;;", "identity;q=0,gzip;q=0", "\x00", ",,,,gzip ;\tQ=.5", strings.Repeat("gzip,", 500)} {
		f.Add(seed)
	}
	p := newPolicy(f, Options{})
	page := text(3000)
	f.Fuzz(func(t *testing.T, accept string) {
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Method = "GET"
		x.Request.Head.AddString("Accept-Encoding", accept)
		serve(t, p, x, &origin{fields: "Content-Type: text/html", body: page})
		got, err := readBody(&x.Response.Body)
		if err == nil {
			if coding := x.Response.Head.Get("content-encoding"); coding != nil {
				if !strings.Contains(strings.ToLower(accept), string(coding)) && !strings.Contains(accept, "*") {
					t.Fatalf("%q is answered in %s", accept, coding)
				}
				got, err = decode(string(coding), got)
			}
		}
		if err != nil || string(got) != page {
			t.Fatalf("%q: %d bytes, %v", accept, len(got), err)
		}
		if err := x.Response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
