package browser

import (
	"errors"
	"testing"

	"sluice/proxy"
)

func TestHeaders(t *testing.T) {
	fields := []Field{{"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", "SAMEORIGIN"}}
	secure := []Field{{"Strict-Transport-Security", "max-age=1"}}
	f := func(override bool, scheme string, s service, want string) {
		t.Helper()
		x := call("GET", "")
		defer x.Release()
		x.Request.Scheme = scheme
		if got := outcome(x, NewHeaders(fields, secure, override), s); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	refuses := func(*proxy.Exchange) error { return proxy.ErrTimeout }
	const own, ours = "x-frame-options: DENY; strict-transport-security: max-age=9", "X-Content-Type-Options: nosniff; X-Frame-Options: SAMEORIGIN"
	f(false, "http", answers(""), "200 "+ours)
	f(false, "https", answers(""), "200 "+ours+"; Strict-Transport-Security: max-age=1")
	f(false, "https", answers(own), "200 "+own+"; X-Content-Type-Options: nosniff")
	f(true, "https", answers(own), "200 X-Frame-Options: SAMEORIGIN; Strict-Transport-Security: max-age=1; X-Content-Type-Options: nosniff")
	f(true, "http", answers(own), "200 X-Frame-Options: SAMEORIGIN; strict-transport-security: max-age=9; X-Content-Type-Options: nosniff")
	f(false, "https", refuses, "timeout "+ours+"; Strict-Transport-Security: max-age=1")
}

func TestCookies(t *testing.T) {
	all := NewCookies(true, true, "Lax", []string{"XSRF-TOKEN"})
	f := func(c *Cookies, response, want string) {
		t.Helper()
		x := call("GET", "")
		defer x.Release()
		if got := outcome(x, c, answers(response)); got != "200 "+want {
			t.Errorf("%s:\n got %s\nwant 200 %s", response, got, want)
		}
	}
	// A semicolon stands for itself in the fields of a test only without a space behind it.
	f(all, "A: b", "A: b")
	f(all, "Set-Cookie: a=b", "Set-Cookie: a=b; Secure; HttpOnly; SameSite=Lax")
	f(all, "Set-Cookie: a=b;Path=/;secure", "Set-Cookie: a=b;Path=/;secure; HttpOnly; SameSite=Lax")
	f(all, "Set-Cookie: a=b;SECURE;httponly;samesite=None", "Set-Cookie: a=b;SECURE;httponly;samesite=None")
	f(all, "Set-Cookie: a=b;SameSite=None", "Set-Cookie: a=b;SameSite=None; Secure; HttpOnly")
	f(all, "Set-Cookie: a=b;SameSite = Strict ;HttpOnly", "Set-Cookie: a=b;SameSite = Strict ;HttpOnly; Secure")
	f(all, "Set-Cookie: XSRF-TOKEN=b", "Set-Cookie: XSRF-TOKEN=b")
	f(all, "Set-Cookie: secure=httponly", "Set-Cookie: secure=httponly; Secure; HttpOnly; SameSite=Lax")
	f(all, "Set-Cookie: XSRF-TOKEN=b; A: b; set-cookie: a=b; Set-Cookie: c=d;Secure;HttpOnly;SameSite=Lax",
		"A: b; Set-Cookie: XSRF-TOKEN=b; Set-Cookie: a=b; Secure; HttpOnly; SameSite=Lax; Set-Cookie: c=d;Secure;HttpOnly;SameSite=Lax")
	f(NewCookies(false, true, "", nil), "Set-Cookie: a=b", "Set-Cookie: a=b; HttpOnly")
	f(NewCookies(true, false, "Strict", nil), "Set-Cookie: a=b", "Set-Cookie: a=b; Secure; SameSite=Strict")
	f(all, "Set-Cookie: ", "Set-Cookie: ; Secure; HttpOnly; SameSite=Lax")
	f(all, "Set-Cookie: a=b;", "Set-Cookie: a=b;; Secure; HttpOnly; SameSite=Lax")
}

// FuzzCookies: what is added is added once, and nothing is taken away.
func FuzzCookies(f *testing.F) {
	f.Add("a=b; Path=/; SameSite=None")
	f.Add("=;;= ; secure=;httponly")
	f.Fuzz(func(t *testing.T, cookie string) {
		c := NewCookies(true, true, "Lax", []string{"a"})
		once := c.appendCookie(nil, []byte(cookie))
		if string(once[:len(cookie)]) != cookie {
			t.Fatalf("%q became %q", cookie, once)
		}
		if twice := c.appendCookie(nil, once); string(twice) != string(once) {
			t.Fatalf("%q became %q, and then %q", cookie, once, twice)
		}
	})
}

func TestCSRF(t *testing.T) {
	c := NewCSRF([]string{"https://pay.example", "https://*.shop.example"})
	f := func(method, fields string, want bool) {
		t.Helper()
		for _, scheme := range []string{"https", "http"} {
			x := call(method, fields)
			x.Request.Scheme = scheme
			err := c.Check(x)
			if err != nil && !errors.Is(err, ErrCrossSite) || (err == nil) != want {
				t.Errorf("%s over %s with %s: %v", method, scheme, fields, err)
			}
			x.Release()
		}
	}
	// What changes nothing is not asked about.
	f("GET", "Sec-Fetch-Site: cross-site; Origin: https://evil.example", true)
	f("HEAD", "Sec-Fetch-Site: cross-site", true)
	f("OPTIONS", "Sec-Fetch-Site: cross-site", true)

	// Browsers that say where a page is from.
	f("POST", "Sec-Fetch-Site: same-origin", true)
	f("POST", "Sec-Fetch-Site: same-origin; Origin: https://evil.example", true)
	f("POST", "Sec-Fetch-Site: none", true)
	f("POST", "Sec-Fetch-Site: cross-site", false)
	f("POST", "Sec-Fetch-Site: cross-site; Origin: https://api.example", false)
	f("PUT", "Sec-Fetch-Site: same-site; Origin: https://www.example", false)
	f("DELETE", "Sec-Fetch-Site: cross-site; Origin: null", false)
	f("BREW", "Sec-Fetch-Site: cross-site", false)
	f("POST", "Sec-Fetch-Site: something", false)
	f("POST", "Sec-Fetch-Site: Same-Origin", false)

	// Pages that are trusted.
	f("POST", "Sec-Fetch-Site: cross-site; Origin: https://pay.example", true)
	f("POST", "Sec-Fetch-Site: same-site; Origin: https://www.shop.example", true)
	f("POST", "Origin: https://pay.example", true)
	f("POST", "Origin: http://pay.example", false)
	f("POST", "Origin: https://pay.example.evil.example", false)

	// Older browsers, and what is none.
	f("POST", "", true)
	f("POST", "Origin: https://api.example", true)
	f("POST", "Origin: https://api.example:8443", false)
	f("POST", "Origin: https://evil.example", false)
	f("POST", "Origin: null", false)
	f("POST", "Origin: api.example", false)

	x := call("POST", "Origin: http://api.example")
	defer x.Release()
	if err := c.Check(x); err == nil {
		t.Error("a page without TLS may call with it")
	}
	if x.Request.Scheme = "http"; c.Check(x) != nil {
		t.Error("a page may not call its own origin")
	}
	x.Request.Method, x.Request.Upgrade = "GET", "websocket"
	x.Request.Head.SetString("Origin", "https://evil.example")
	if c.Check(x) == nil {
		t.Error("any page may open a WebSocket")
	}
}
