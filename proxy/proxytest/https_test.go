package proxytest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRedirectHTTPS: whatever is asked of the plain listener, the answer is the same host with https, and what was asked, byte for byte.
func TestRedirectHTTPS(t *testing.T) {
	f := func(listener, request, want string) {
		t.Helper()
		gw := Start(t, "listen: { plain: { address: \":1\", "+listener+" } }\nroutes: { all: { match: /**, respond: { text: \"not here\" } } }\n")
		c := gw.Dial()
		limitConn(t, c)
		c.Send(request)
		method, _, _ := strings.Cut(request, " ")
		res, err := http.ReadResponse(c.R, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := res.Status[:3] + " " + res.Header.Get("Location")
		if got != want || strings.HasPrefix(want, "308") && len(body) > 0 {
			t.Errorf("%.60q: got %s, want %s; body %.80q", request, got, want, body)
		}
		if hsts := res.Header.Get("Strict-Transport-Security"); hsts != "" {
			t.Errorf("without TLS, HSTS says nothing (RFC 6797 section 7.2): %s", hsts)
		}
	}
	const plain, odd = "redirect: https", "redirect: \"https:8443\""
	const end = " HTTP/1.1\r\nHost: Shop.example:8080\r\n\r\n"
	f(plain, "GET /"+end, "308 https://shop.example/")
	f(plain, "HEAD /a?b"+end, "308 https://shop.example/a?b")
	f(plain, "DELETE /a?"+end, "308 https://shop.example/a?")
	f(plain, "GET /a/../b//c/%7e%2F;x=[1]?q=%20+&r[]=|'"+end, "308 https://shop.example/a/../b//c/%7e%2F;x=[1]?q=%20+&r[]=|'")
	f(plain, "OPTIONS *"+end, "308 https://shop.example/")
	f(plain, "GET http://other.example:81/x?y HTTP/1.1\r\nHost: shop.example\r\n\r\n", "308 https://other.example/x?y")
	f(plain, "POST /form HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello", "308 https://shop.example/form")
	f(plain, "POST /form HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 500000\r\nExpect: 100-continue\r\n\r\n", "308 https://shop.example/form")
	f(plain, "GET /a HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "308 https://[2001:db8::1]/a")
	f(plain, "GET /a HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "308 https://192.0.2.1/a")
	f(plain, "GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n", "308 https://shop.example/a")
	f(odd, "GET /a"+end, "308 https://shop.example:8443/a")
	f(odd, "GET /a HTTP/1.1\r\nHost: [::1]\r\n\r\n", "308 https://[::1]:8443/a")

	f(plain, "GET /a HTTP/1.0\r\n\r\n", "400 ")
	f(plain, "GET /a HTTP/1.1\r\n\r\n", "400 ")
	f(plain, "GET /a HTTP/1.1\r\nHost:\r\n\r\n", "400 ")
	f(plain, "GET /a HTTP/1.1\r\nHost: user@evil.example\r\n\r\n", "400 ")
	f(plain, "GET /a HTTP/1.1\r\nHost: evil.example/x\r\n\r\n", "400 ")
	f(plain, "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 ")
	f(plain, "GET /%zz"+end, "400 ")
	f(plain, "GET //evil.example/x"+end, "308 https://shop.example//evil.example/x")
	f(plain, "GET /\\evil.example/x"+end, "400 ")
}
