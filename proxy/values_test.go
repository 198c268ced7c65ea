package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
)

func TestQuery(t *testing.T) {
	f := func(query, name, want string, has bool) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.Request.Query = []byte(query)
		got, ok := x.Query(name)
		if string(got) != want || ok != has || string(x.Request.Query) != query {
			t.Fatalf("%q: %s: got %q %v", query, name, got, ok)
		}
	}
	f("", "a", "", false)
	f("a=1", "a", "1", true)
	f("a=1", "b", "", false)
	f("a=1", "A", "", false)
	f("a", "a", "", true)
	f("a=", "a", "", true)
	f("=1", "", "1", true)
	f("&&a=1&", "a", "1", true)
	f("a=1&a=2", "a", "1", true) // the first counts
	f("aa=1&a=2", "a", "2", true)
	f("a=1=2", "a", "1=2", true)
	f("a=b+c", "a", "b c", true)
	f("a=%41%zz%4", "a", "A%zz%4", true)
	f("a=%2B%26%3d", "a", "+&=", true)
	f("a=%2541", "a", "%41", true) // nothing is decoded twice
	f("%61=1", "a", "1", true)
	f("a+b=1", "a b", "1", true)
	f("a%2", "a%2", "", true)
	f("a%61=1", "a", "", false)
	f("a;b=1", "b", "", false)
}

// FuzzQuery compares with net/url where that has a value at all.
func FuzzQuery(f *testing.F) {
	f.Add("a=1&b=%41+x&a=2", "a")
	f.Fuzz(func(t *testing.T, query, name string) {
		values, err := url.ParseQuery(query)
		if err != nil || strings.Contains(query, ";") || name == "" {
			return
		}
		x := Acquire()
		defer x.Release()
		x.Request.Query = []byte(query)
		got, ok := x.Query(name)
		if ok != values.Has(name) || ok && string(got) != values.Get(name) {
			t.Fatalf("%q: %q: got %q %v, want %q", query, name, got, ok, values[name])
		}
	})
}

func TestCookie(t *testing.T) {
	f := func(name, want string, has bool, fields ...string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		for _, v := range fields {
			x.Request.Head.AddString("Cookie", v)
		}
		if got, ok := x.Cookie(name); string(got) != want || ok != has {
			t.Fatalf("%q: %s: got %q %v", fields, name, got, ok)
		}
	}
	f("a", "", false)
	f("a", "1", true, "a=1")
	f("a", "1", true, "b=2; a=1; c=3")
	f("a", "1", true, "b=2;a=1")
	f("a", "1", true, "  a=1  ;b")
	f("a", "1", true, "a=1; a=2")
	f("a", "1", true, "b=2", "a=1")
	f("A", "", false, "a=1")
	f("a", "", false, "aa=1; ba=2")
	f("a", "", false, "a; b")
	f("a", "", true, "a=")
	f("a", "x=y", true, "a=x=y")
	f("a", "q", true, `a="q"`)
	f("a", "", true, `a=""`)
	f("a", `"`, true, `a="`)
	f("a", `"q`, true, `a="q`)
	f("a", "%41", true, "a=%41") // not decoded: cookies have no escapes
	f("a", "", false, ";;; ;")
}

func TestCookies(t *testing.T) {
	f := func(want string, fields ...string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		for _, v := range fields {
			x.Request.Head.AddString("Cookie", v)
		}
		got := ""
		for name, value := range x.Cookies() {
			got += string(name) + "=" + string(value) + "|"
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", fields, got, want)
		}
	}
	f("")
	f("a=1|b=2|a=3|", "a=1; b=2;a=3")
	f("a=1|b=2|", "a=1", "  b=2 \t;")
	f("a=q|b=|c=\"|d=x=y|", `a="q"; b=""; c="; d=x=y`)
	f("a=|", "; =1;; a;")
}

func TestCookiePairs(t *testing.T) {
	f := func(name, want string, fields ...string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		for _, v := range fields {
			x.Request.Head.AddString("Cookie", v)
		}
		got := ""
		for pair := range x.CookiePairs(name) {
			got += string(pair) + "|"
		}
		if got != want {
			t.Errorf("%q: %s: got %s, want %s", fields, name, got, want)
		}
		n := 0
		if allocs := testing.AllocsPerRun(100, func() {
			for range x.CookiePairs(name) {
				n++
			}
		}); allocs != 0 {
			t.Errorf("%q: %v allocations", fields, allocs)
		}
	}
	f("a", "")
	f("a", "a=1|a=2|", "a=1; a=2")
	f("a", "a=2|a=1|", "b=a=3; a=2; A=4", "aa=5;a=1")
	f("a", `a="1"|a =2|a|a=|`, ` a="1" ;a =2; a;;a=`)
}

func TestOnce(t *testing.T) {
	f := func(query, cookie, want string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.Request.Query = []byte(query)
		x.Request.Head.AddString("Cookie", cookie)
		a, okA := x.QueryOnce("a")
		b, okB := x.CookieOnce("a")
		if got := fmt.Sprintf("%s %v, %s %v", a, okA, b, okB); got != want {
			t.Errorf("%s, %s: got %s, want %s", query, cookie, got, want)
		}
	}
	f("", "", " false,  false")
	f("b=2", "b=2", " false,  false")
	f("a=1&b=2", "a=1; b=2", "1 true, 1 true")
	f("a", "a", " true,  false") // a cookie has a value
	f("a=", "a=", " true,  true")
	f("%61=%31+2", `a="1"`, "1 2 true, 1 true")
	f("a=1&a=2", "a=1; a=2", " false,  false")
	f("a=1;b=2", "a=1; a ", "1 true,  false")
	f("a=1;a=2", "a = 1", " false,  false")
}

func TestHeader(t *testing.T) {
	x := Acquire()
	defer x.Release()
	x.Request.Host = []byte("host.example")
	x.Request.Head.AddString("X-A", "1")
	x.Request.Head.AddString("X-A", "2")
	x.Request.Head.AddString("X-Empty", "")
	f := func(name, want string, has bool) {
		t.Helper()
		if got, ok := x.Header(name); string(got) != want || ok != has {
			t.Fatalf("%s: got %q %v", name, got, ok)
		}
	}
	f("X-A", "1", true)
	f("x-a", "1", true)
	f("X-Empty", "", true)
	f("X-B", "", false)
	f("Host", "host.example", true)
	f("host", "host.example", true)
}

func TestJSON(t *testing.T) {
	f := func(mime, body, path, want string, has bool) {
		t.Helper()
		for _, whole := range []bool{true, false} {
			x := Acquire()
			x.Request.Head.AddString("Content-Type", mime)
			if whole {
				x.Request.Body.SetWhole([]byte(body))
			} else {
				x.Request.Body.SetFlow(nil, flowing(body), -1)
			}
			for range 2 { // several routes may ask
				got, ok := x.JSON(path)
				if string(got) != want || ok != has || x.BodyError() != nil {
					t.Fatalf("%s: %s: got %q %v %v", body, path, got, ok, x.BodyError())
				}
			}
			// The origin still gets all of it.
			if got, err := io.ReadAll(&x.Request.Body); string(got) != body || err != nil {
				t.Fatalf("%q %v is left of %q", got, err, body)
			}
			x.Release()
		}
	}
	const plain = "application/json"
	f(plain, `{"a":"x"}`, "a", "x", true)
	f(plain, `{"a":{"b":{"c":"x"}}}`, "a.b.c", "x", true)
	f(plain, `{"a":{"b":1}}`, "a", `{"b":1}`, true)
	f(plain, `{"a":1.50}`, "a", "1.50", true)
	f(plain, `{"a":true,"b":null}`, "b", "null", true)
	f(plain, `{"a":[{"b":"x"}]}`, "a.0.b", "x", true)
	f(plain, `{"a":"\u0041\n\""}`, "a", "A\n\"", true)
	f(plain, `{"\u0061":"x"}`, "a", "x", true)
	f(plain, `{"a":""}`, "a", "", true)
	f(plain, `{"a":"x"}`, "b", "", false)
	f(plain, `{"a":"x"}`, "a.b", "", false)
	f(plain, `{"a":"x"}`, "A", "", false)
	f(plain, `{}`, "a", "", false)
	f(plain, `[1]`, "a", "", false)
	f(plain, ``, "a", "", false)
	f(plain, `{"a":"x"`, "a", "", false)
	f(plain, `not json`, "a", "", false)
	f("application/vnd.api+json; charset=utf-8", `{"a":"x"}`, "a", "x", true)
	f("Application/JSON", `{"a":"x"}`, "a", "x", true)
	f("text/plain", `{"a":"x"}`, "a", "", false)
	f("", `{"a":"x"}`, "a", "", false)
	f("js", `{"a":"x"}`, "a", "", false)

	// Up to the limit, and not beyond.
	fits := `{"a":"x","b":"` + strings.Repeat("b", JSONBodyMax-16) + `"}`
	f(plain, fits, "a", "x", true)
	f(plain, fits+" ", "a", "", false)
	f(plain, strings.Repeat(`{"a":`, 5000)+"1"+strings.Repeat("}", 5000), "a", "", false)
}

// TestJSONTwice refuses a body whose deciding key stands in it twice: parsers disagree about which one counts.
func TestJSONTwice(t *testing.T) {
	f := func(body, path string, refused bool) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.Request.Head.AddString("Content-Type", "application/json")
		x.Request.Body.SetWhole([]byte(body))
		_, ok := x.JSON(path)
		if err := x.BodyError(); (err != nil) != refused || refused && (ok || AsError(err).Status != 400) {
			t.Fatalf("%s of %s: %v %v", path, body, ok, err)
		}
	}
	f(`{"a":"x","a":"y"}`, "a", true)
	f(`{"a":"x","\u0061":"y"}`, "a", true)
	f(`{"u":{"a":1,"a":2}}`, "u.a", true)
	f(`{"a":"x","b":1,"b":2}`, "a", false)
	f(`{"a":{"a":"x"}}`, "a", false)
}

// TestJSONBroken tells why the body could not be read, instead of saying that a field is not there.
func TestJSONBroken(t *testing.T) {
	broken := errors.New("broken")
	x := Acquire()
	defer x.Release()
	x.Request.Head.AddString("Content-Type", "application/json")
	x.Request.Body.SetFlow(nil, &testFlow{text: `{"a":"x"`, piece: 3, end: broken}, -1)
	if got, ok := x.JSON("a"); ok || x.BodyError() != broken {
		t.Fatalf("%q %v %v", got, ok, x.BodyError())
	}
}

func TestStatusText(t *testing.T) {
	f := func(status int, want string) {
		t.Helper()
		if got := StatusText(status); got != want {
			t.Fatalf("%d: %q", status, got)
		}
	}
	f(200, "OK")
	f(404, "Not Found")
	f(499, "Client Closed Request")
}
