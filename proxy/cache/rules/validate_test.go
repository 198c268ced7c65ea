package rules

import "testing"

func TestNotModified(t *testing.T) {
	f := func(request, etag string, changed int64, want bool) {
		t.Helper()
		if got := NotModified(head(t, request), []byte(etag), changed); got != want {
			t.Errorf("%q of %s changed %d: %t", request, etag, changed, got)
		}
	}
	f("", `"a"`, epoch, false)
	f(`If-None-Match: "a"`, `"a"`, 0, true)
	f(`If-None-Match: "b"`, `"a"`, 0, false)
	f(`If-None-Match: W/"a"`, `"a"`, 0, true)
	f(`If-None-Match: "a"`, `W/"a"`, 0, true)
	f(`If-None-Match: W/"a"`, `W/"a"`, 0, true)
	f(`If-None-Match: "A"`, `"a"`, 0, false)
	f(`If-None-Match: "b", W/"c" ,"a"`, `"a"`, 0, true)
	f(`If-None-Match: "b"|If-None-Match: "a"`, `"a"`, 0, true)
	f(`If-None-Match: "b,a", "c"`, `"b,a"`, 0, true)
	f(`If-None-Match: "x, "a", y"`, `"a"`, 0, false)
	f(`If-None-Match: *`, `"a"`, 0, true)
	f(`If-None-Match: *`, ``, 0, true)
	f(`If-None-Match: "*"`, `"a"`, 0, false)
	f(`If-None-Match: ""`, `""`, 0, true)
	f(`If-None-Match: `, `"a"`, 0, false)
	f(`If-None-Match: a`, `a`, 0, false)
	f(`If-None-Match: a`, `"a"`, 0, false)
	f(`If-None-Match: junk, "a"`, `"a"`, 0, true)
	f(`If-None-Match: "a"junk, "b"`, `"a"`, 0, false)
	f(`If-None-Match: w/"a"`, `"a"`, 0, false)
	f(`If-None-Match: "a`, `"a"`, 0, false)
	f(`If-None-Match: ,,"a",,`, `"a"`, 0, true)

	since := "If-Modified-Since: "
	f(since+date(0), "", epoch, true)
	f(since+date(1), "", epoch, true)
	f(since+date(-1), "", epoch, false)
	f(since+date(0), "", 0, false)
	f(since+"x", "", epoch, false)
	f(since, "", epoch, false)
	f(since+date(0)+"|"+since+date(0), "", epoch, false)
	// Where there is If-None-Match, dates do not count.
	f(`If-None-Match: "b"|`+since+date(1), `"a"`, epoch, false)
	f(`If-None-Match: "a"|`+since+date(-1), `"a"`, epoch, true)
	f(`If-None-Match: x|`+since+date(1), `"a"`, epoch, false)
}

func FuzzNotModified(f *testing.F) {
	f.Add(`W/"a", "b,c"`, `"b,c"`)
	f.Fuzz(func(t *testing.T, list, etag string) {
		h := headOf("If-None-Match", list)
		got := NotModified(h, []byte(etag), 0)
		if _, _, ok := splitTag([]byte(etag)); !ok && got && string(trim(h.Get("if-none-match"))) != "*" {
			t.Fatalf("%q matches %q", list, etag)
		}
		// With what is stored in front of it, a list always matches.
		if opaque, _, ok := splitTag([]byte(etag)); ok && clean(etag) && !NotModified(headOf("If-None-Match", string(opaque)+", "+list), []byte(etag), 0) {
			t.Fatalf("%s, %q does not match", opaque, list)
		}
	})
}

// clean says that a head takes the text as it is.
func clean(text string) bool {
	return string(headOf("X", text).Get("X")) == text
}

func TestAsk(t *testing.T) {
	f := func(request, stored, want string) {
		t.Helper()
		h := head(t, request)
		if stored == "none" {
			Ask(h, nil)
		} else {
			Ask(h, head(t, stored))
		}
		if got := lines(h); got != want {
			t.Errorf("%q with %q: %q, want %q", request, stored, got, want)
		}
	}
	const own = `Accept: x|If-None-Match: "a"|If-Modified-Since: x|Range: bytes=0-1|If-Range: "a"|Cookie: y`
	f(own, "none", "Accept: x|Cookie: y")
	f(own, "", "Accept: x|Cookie: y")
	f(own, `ETag: W/"b"|Last-Modified: z`, `Accept: x|Cookie: y|If-None-Match: W/"b"|If-Modified-Since: z`)
	f("", `Last-Modified: z`, `If-Modified-Since: z`)
}

func TestFreshens(t *testing.T) {
	f := func(fresh, stored string, want, wantHead bool) {
		t.Helper()
		if got := Freshens(head(t, fresh), head(t, stored)); got != want {
			t.Errorf("304 %q of %q: %t", fresh, stored, got)
		}
		if got := HeadFreshens(head(t, fresh), head(t, stored)); got != wantHead {
			t.Errorf("HEAD %q of %q: %t", fresh, stored, got)
		}
	}
	changed, other := "|Last-Modified: "+date(0), "|Last-Modified: "+date(1)
	f(`ETag: "a"`, `ETag: "a"`, true, true)
	f(`ETag: "a"`, `ETag: "b"`, false, false)
	f(`ETag: "a"`, `ETag: W/"a"`, false, true)
	f(`ETag: "a"`, ``, false, false)
	f(`ETag: W/"a"`, `ETag: W/"a"`, true, true)
	f(`ETag: W/"a"`, `ETag: "a"`, true, true)
	f(`ETag: W/"a"`, `ETag: W/"b"`, false, false)
	f(`ETag: a`, `ETag: a`, true, false) // no entity tag, but what the origin gave
	f(`ETag: a`, `ETag: b`, false, false)
	f(`ETag: "a"`+other, `ETag: "a"`+changed, true, false)
	f("X: y"+changed, `ETag: "a"`+changed, true, true)
	f("X: y"+changed, `ETag: "a"`+other, false, false)
	f("X: y"+changed, `ETag: "a"`, false, false)
	f("Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT", "X: y"+changed, true, true)
	f("Last-Modified: x", "Last-Modified: x", true, true)
	f("Last-Modified: x", "Last-Modified: y", false, false)
	f("", `ETag: "a"`+changed, true, true)
	f("", "", true, true)
}
