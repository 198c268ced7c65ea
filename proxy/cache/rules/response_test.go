package rules

import (
	"fmt"
	"strings"
	"testing"

	"sluice/proxy/wire"
)

// show writes what is not at its zero value.
func (r *Response) show() string {
	var all []string
	flag := func(name string, is bool) {
		if is {
			all = append(all, name)
		}
	}
	number := func(name string, n, zero int64) {
		if n != zero {
			all = append(all, fmt.Sprintf("%s=%d", name, n))
		}
	}
	flag("targeted", r.Targeted)
	flag("no-store", r.NoStore)
	flag("no-cache", r.NoCache)
	flag("private", r.Private)
	flag("public", r.Public)
	flag("must-revalidate", r.MustRevalidate)
	flag("must-understand", r.MustUnderstand)
	flag("no-transform", r.NoTransform)
	flag("immutable", r.Immutable)
	number("max-age", r.MaxAge, Absent)
	number("s-maxage", r.SMaxAge, Absent)
	number("swr", r.StaleWhileRevalidate, Absent)
	number("sie", r.StaleIfError, Absent)
	number("date", r.Date, 0)
	number("changed", r.LastModified, 0)
	if r.HasExpires {
		all = append(all, fmt.Sprintf("expires=%d", r.Expires))
	}
	number("age", r.Age, 0)
	flag("etag", r.ETag)
	flag("set-cookie", r.SetCookie)
	flag("vary-all", r.VaryAll)
	return strings.Join(all, " ")
}

func TestParseResponse(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		r := ParseResponse(head(t, text))
		if got := r.show(); got != want {
			t.Errorf("%q says %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("Content-Type: text/plain|X-Max-Age: 5", "")
	f("Cache-Control: ", "")
	f("Cache-Control: max-age=60", "max-age=60")
	f("cache-control: MAX-AGE=60, Public", "public max-age=60")
	f("Cache-Control: no-store|Cache-Control: no-cache, private", "no-store no-cache private")
	f("Cache-Control: proxy-revalidate", "must-revalidate")
	f("Cache-Control: must-revalidate, must-understand, no-transform, immutable", "must-revalidate must-understand no-transform immutable")
	f("Cache-Control: s-maxage=1, stale-while-revalidate=2, stale-if-error=3", "s-maxage=1 swr=2 sie=3")
	f("Cache-Control: ,, max-age=60 ,,", "max-age=60")

	// Arguments: a token or a quoted string; the names of fields do not count.
	f(`Cache-Control: max-age="60"`, "max-age=60")
	f(`Cache-Control: no-cache="set-cookie, x", max-age=60`, "no-cache max-age=60")
	f(`Cache-Control: private="x"`, "private")
	f(`Cache-Control: ext="no-store, max-age=5", max-age=60`, "max-age=60")
	f(`Cache-Control: ext="a\", no-store", max-age=60`, "max-age=60")
	f(`Cache-Control: ext=no-store, xmax-age=3, max-agex=3, no-stores`, "")
	f(`Cache-Control: no-store=x, public=5`, "no-store public")

	// A quotation mark that does not close hides nothing, and one inside a token is none.
	f(`Cache-Control: ext="x, no-store, max-age=60`, "no-store no-cache max-age=60")
	f(`Cache-Control: a"b, no-store, c"d`, "no-store")
	f(`Cache-Control: max-age="60`, "no-cache max-age=0")

	// Several and contradicting ones: the most restrictive.
	f("Cache-Control: max-age=60, max-age=30", "max-age=30")
	f("Cache-Control: max-age=30|Cache-Control: max-age=60", "max-age=30")
	f("Cache-Control: max-age=60, max-age=x", "max-age=0")
	f("Cache-Control: public, private, max-age=60, no-store", "no-store private public max-age=60")

	// What is no number is stale; what is too large is very long.
	f("Cache-Control: max-age", "max-age=0")
	f("Cache-Control: max-age=", "max-age=0")
	f("Cache-Control: max-age=-1", "max-age=0")
	f("Cache-Control: max-age=1.5", "max-age=0")
	f("Cache-Control: max-age=+1", "max-age=0")
	f("Cache-Control: max-age= 60", "max-age=0")
	f("Cache-Control: max-age =60", "max-age=0")
	f("Cache-Control: max-age=6 0", "max-age=0")
	f(`Cache-Control: max-age="6\0"`, "max-age=0")
	f(`Cache-Control: max-age="60"1`, "max-age=0")
	f("Cache-Control: max-age=2147483648", "max-age=2147483648")
	f("Cache-Control: max-age=99999999999999999999999999", "max-age=2147483648")
	f("Cache-Control: stale-while-revalidate, stale-if-error=x", "swr=0 sie=0")

	// Dates.
	f("Date: "+date(0), "date=784111777")
	f("Date: x", "")
	f("Last-Modified: "+date(-1), "changed=784111776")
	f("Expires: "+date(60), "expires=784111837")
	f("Expires: 0", "expires=0")
	f("Expires: ", "expires=0")
	f("Expires: "+date(60)+"|Expires: "+date(30), "expires=784111807")
	f("Expires: "+date(60)+"|Expires: never", "expires=0")

	// Age: the first of several, if it is a number.
	f("Age: 5", "age=5")
	f("Age: 5|Age: 9", "age=5")
	f("Age: 5, 9", "age=5")
	f("Age: -5", "")
	f("Age: x|Age: 9", "")
	f("Age: 5.5", "")
	f("Age: 99999999999999", "age=2147483648")

	f(`ETag: "x"|Set-Cookie: a=b`, "etag set-cookie")
	f("Vary: Accept", "")
	f("Vary: *", "vary-all")
	f("Vary: Accept, *", "vary-all")
	f("Vary: Accept|Vary: *", "vary-all")
	f("Vary: a b", "vary-all")
	f("Vary: "+manyNames(VaryMax), "")
	f("Vary: "+manyNames(VaryMax+1), "vary-all")
	f("Pragma: no-cache", "")

	// RFC 9213: what is targeted at such caches counts alone, if it can be read.
	f("CDN-Cache-Control: max-age=60|Cache-Control: no-store, private|Expires: 0", "targeted max-age=60")
	f("CDN-Cache-Control: no-store|Cache-Control: max-age=60", "targeted no-store")
	f("CDN-Cache-Control: max-age=60|CDN-Cache-Control: stale-while-revalidate=5", "targeted max-age=60 swr=5")
	f("CDN-Cache-Control: |Cache-Control: max-age=60", "max-age=60")
	f("CDN-Cache-Control: max-age=60;a=b; c, must-revalidate;x=?0|Age: 3", "targeted must-revalidate max-age=60 age=3")
	f("CDN-Cache-Control: no-store=?0, no-cache=?1, max-age=60", "targeted no-cache max-age=60")
	f(`CDN-Cache-Control: ext="no-store, \"x\\", tok=a/b:c, bin=:YWJj:, in=("a" b;q=1 2.5), max-age=60`, "targeted max-age=60")
	f(`CDN-Cache-Control: private="set-cookie", max-age=60`, "targeted private max-age=60")
	f(`CDN-Cache-Control: no-cache=("a" "b")`, "targeted no-cache")
	f("CDN-Cache-Control: max-age=999999999999999", "targeted max-age=2147483648")
	f("CDN-Cache-Control: unknown", "targeted")
	// What is not an integer is no lifetime.
	f(`CDN-Cache-Control: max-age="60"`, "targeted max-age=0")
	f("CDN-Cache-Control: max-age=60.0", "targeted max-age=0")
	f("CDN-Cache-Control: max-age=-60", "targeted max-age=0")
	f("CDN-Cache-Control: max-age", "targeted max-age=0")
	// What is no Dictionary is not there.
	for _, broken := range []string{
		"Max-Age=60", "max-age=60,", ",max-age=60", "max-age=60,,no-store", "max-age 60", "max-age=60 no-store", "max-age=", "max-age=1.", "max-age=1.2345",
		"max-age=1234567890123456", "max-age=--1", "max-age=-", `x="a`, `x="\a"`, `x="ü"`, "x=(a b", "x=(a,b)", "x=(ab\"c\")", "x=:a", "x=:a!:", "x=?2", "x=?", "x=@1", "x=%\"a\"",
		"no-store;", "no-store;A", "no-store; =1", "=1", "1a=1", "max-age=60\tno-store", "no-store; \ta",
	} {
		f("CDN-Cache-Control: "+broken+"|Cache-Control: max-age=7", "max-age=7")
	}
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("x-%d", i)
	}
	return strings.Join(names, ", ")
}

// Whatever a line says, more of it is never more permissive.
func FuzzParseResponse(f *testing.F) {
	f.Add("max-age=60, no-cache=\"a, b\"", "public, s-maxage=5", true)
	f.Add("a=(b c);d, e=:YQ==:", "stale-if-error=5", true)
	f.Fuzz(func(t *testing.T, a, b string, targeted bool) {
		name := "Cache-Control"
		if targeted {
			name = "CDN-Cache-Control"
		}
		var one, two wire.Head
		one.AddString(name, a)
		two.AddString(name, a)
		two.AddString(name, b)
		x, y := ParseResponse(&one), ParseResponse(&two)
		if x.Targeted != y.Targeted {
			return
		}
		if x.NoStore && !y.NoStore || x.Private && !y.Private || x.NoCache && !y.NoCache || x.MustRevalidate && !y.MustRevalidate {
			t.Fatalf("%q forbids more than it does with %q", a, b)
		}
		for _, span := range [][2]int64{{x.MaxAge, y.MaxAge}, {x.SMaxAge, y.SMaxAge}, {x.StaleWhileRevalidate, y.StaleWhileRevalidate}, {x.StaleIfError, y.StaleIfError}} {
			if span[0] >= 0 && (span[1] > span[0] || span[1] < 0) || span[0] < Absent || span[0] > DeltaMax {
				t.Fatalf("%q says %d, with %q %d", a, span[0], b, span[1])
			}
		}
	})
}
