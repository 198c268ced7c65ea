package browser

import (
	"net/url"
	"strings"
	"testing"

	"sluice/proxy"
)

// TestCORS: pages that were named may call, and read what comes back; others may not.
func TestCORS(t *testing.T) {
	f := func(o CORSOptions, method, fields, want string) {
		t.Helper()
		x := call(method, fields)
		defer x.Release()
		c := NewCORS(o)
		c.Meet(x)
		got := outcome(x, c, func(x *proxy.Exchange) error {
			x.Request.Head.Del("origin") // what policies do to a request does not matter
			return answers("meta: data; Set-Cookie: a=b; Access-Control-Allow-Origin: https://evil.example; access-control-allow-methods: PUT; " +
				"Access-Control-Allow-Credentials: true; Access-Control-Expose-Headers: secret")(x)
		})
		if got != want {
			t.Errorf("%s %s:\n got %s\nwant %s", method, fields, got, want)
		}
	}
	shop := CORSOptions{Origins: []string{"https://shop.example", "https://www.shop.example"}, Methods: []string{"GET", "PUT"}, MaxAge: 600e9}
	const asks = "; Access-Control-Request-Method: PUT; Access-Control-Request-Headers: content-type,x-a, authorization,\"bad\""
	const answer = "200 meta: data; Set-Cookie: a=b"

	// Who asks.
	f(shop, "OPTIONS", "Origin: https://shop.example"+asks,
		"204 Access-Control-Allow-Methods: GET, PUT; Access-Control-Allow-Headers: content-type, x-a, authorization; Access-Control-Max-Age: 600; "+
			"Vary: Origin; Access-Control-Allow-Origin: https://shop.example")
	f(shop, "OPTIONS", "Origin: https://shop.example; Access-Control-Request-Method: PUT; Access-Control-Request-Private-Network: true",
		"204 Access-Control-Allow-Methods: GET, PUT; Access-Control-Max-Age: 600; Vary: Origin; Access-Control-Allow-Origin: https://shop.example")
	f(shop, "OPTIONS", "Origin: https://evil.example"+asks, "origin_denied Vary: Origin")
	f(shop, "OPTIONS", "Origin: https://shop.example", answer+"; Vary: Origin; Access-Control-Allow-Origin: https://shop.example") // no question
	f(shop, "OPTIONS", "Access-Control-Request-Method: PUT", answer+"; Vary: Origin")

	// Who calls.
	f(shop, "PUT", "Origin: https://www.shop.example", answer+"; Vary: Origin; Access-Control-Allow-Origin: https://www.shop.example")
	f(shop, "PUT", "Origin: https://www.shop.example; Access-Control-Request-Method: PUT", answer+"; Vary: Origin; Access-Control-Allow-Origin: https://www.shop.example")
	f(shop, "PUT", "Origin: https://evil.example", answer+"; Vary: Origin")
	f(shop, "PUT", "Origin: https://shop.example.evil.example", answer+"; Vary: Origin")
	f(shop, "PUT", "Origin: null", answer+"; Vary: Origin")
	f(shop, "GET", "", answer+"; Vary: Origin") // a cache must not give it to a page

	shop.Headers, shop.Expose, shop.Credentials, shop.PrivateNetwork = []string{"X-A", "X-B"}, []string{"Meta", "X-Total"}, true, true
	f(shop, "OPTIONS", "Origin: https://shop.example"+asks+"; Access-Control-Request-Private-Network: true",
		"204 Access-Control-Allow-Methods: GET, PUT; Access-Control-Allow-Headers: X-A, X-B; Access-Control-Max-Age: 600; Access-Control-Allow-Private-Network: true; "+
			"Vary: Origin; Access-Control-Allow-Origin: https://shop.example; Access-Control-Allow-Credentials: true")
	f(shop, "GET", "Origin: https://shop.example", answer+"; Vary: Origin; Access-Control-Allow-Origin: https://shop.example; "+
		"Access-Control-Allow-Credentials: true; Access-Control-Expose-Headers: Meta, X-Total")

	// All pages: the answer depends on nobody.
	all := CORSOptions{Origins: []string{"*"}, Expose: []string{"*"}}
	f(all, "GET", "Origin: https://any.example", answer+"; Access-Control-Allow-Origin: *; Access-Control-Expose-Headers: *")
	f(all, "GET", "", answer+"; Access-Control-Allow-Origin: *; Access-Control-Expose-Headers: *")
	f(all, "OPTIONS", "Origin: null; Access-Control-Request-Method: PUT", "204 Access-Control-Max-Age: 0; Access-Control-Allow-Origin: *")

	// Calls of gRPC-Web.
	shop = CORSOptions{Origins: []string{"https://shop.example"}, ExposeAll: true}
	f(shop, "POST", "Origin: https://shop.example", answer+"; Vary: Origin; Access-Control-Allow-Origin: https://shop.example; "+
		"Access-Control-Expose-Headers: grpc-status, grpc-message, meta")
}

// TestCORSVary: what a response depends on is said once.
func TestCORSVary(t *testing.T) {
	f := func(vary, want string) {
		t.Helper()
		x := call("GET", "")
		defer x.Release()
		c := NewCORS(CORSOptions{Origins: []string{"https://shop.example"}})
		c.Meet(x)
		if got := outcome(x, c, answers(vary)); got != "200 "+want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("", "Vary: Origin")
	f("vary: Accept", "vary: Accept; Vary: Origin")
	f("vary: Accept, origin", "vary: Accept, origin")
	f("Vary: Accept; Vary: *", "Vary: Accept; Vary: *")
}

func TestOrigins(t *testing.T) {
	o := newOrigins([]string{"https://shop.example", "https://*.shop.example", "http://*.lan:8080"})
	f := func(origin string, want bool) {
		t.Helper()
		if got := o.admit([]byte(origin)); got != want {
			t.Errorf("%q is admitted: %v", origin, got)
		}
	}
	f("https://shop.example", true)
	f("https://www.shop.example", true)
	f("https://a.b-c.shop.example", true)
	f("http://a.lan:8080", true)

	f("", false)
	f("null", false)
	f("https://", false)
	f("https://.shop.example", false)
	f("https://..shop.example", false)
	f("http://www.shop.example", false)
	f("https://www.shop.example:8443", false)
	f("https://evilshop.example", false)
	f("https://shop.example.evil.example", false)
	f("https://www.shop.example.evil.example", false)
	f("https://evil.example/.shop.example", false)
	f("https://evil.example:80.shop.example", false)
	f("https://a@b.shop.example", false)
	f("https://WWW.shop.example", false)
	f("http://lan:8080", false)
	f("http://a.lan", false)
	f("https://shop.example ", false)
}

// FuzzOrigins: a page is below a domain only if its host is, as others read it.
func FuzzOrigins(f *testing.F) {
	o := newOrigins([]string{"https://*.shop.example", "http://*.lan:8080"})
	f.Add("https://www.shop.example")
	f.Add("http://a.b.lan:8080")
	f.Add("https://evil.example/.shop.example")
	f.Fuzz(func(t *testing.T, origin string) {
		if !o.admit([]byte(origin)) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" ||
			!(u.Scheme == "https" && strings.HasSuffix(u.Host, ".shop.example") || u.Scheme == "http" && strings.HasSuffix(u.Host, ".lan:8080")) {
			t.Fatalf("%q is admitted (%v)", origin, err)
		}
	})
}
