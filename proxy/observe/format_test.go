package observe

import (
	"strings"
	"testing"

	"sluice/proxy"
)

func TestFormat(t *testing.T) {
	f := func(format, want string) {
		t.Helper()
		if got := logged(t, AccessLogOptions{Format: format}, get()); got != want+"\n" {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
	f("$client.ip $request.method $request.path $response.status", "203.0.113.9 GET /orders/7 200")
	f("$client $method $path $status $duration_ms", "203.0.113.9 GET /v1/orders/7 200 3.250")
	f("$route/$service-$endpoint.", "list-orders/orders-10.0.1.10:8080.")
	f("$status-$route_x $$1 $error|$error.code|$cause", "200-list-orders_x $1 ||")
	f(`"$header.User-Agent" $query.page`, `"curl/8.9" 2`)
	f("no variable", "no variable")
	f("ünï \"$method\" \\", "ünï \"GET\" \\")

	// No secret, whichever way it is asked for.
	f("$header.Authorization $header.cookie $cookie.theme $query.token", "*** *** *** ***")
	f("$response.header.Set-Cookie $response.header.Location", "*** https://app.example/#access_token=***")
	f("$request.uri|$request.query|$query", "/orders/7?page=2&token=***|page=2&token=***|page=2&token=***")
	f("$request.query-$referer", "page=2&token=***-https://shop.example/?q=tea&api_key=***")
	f("$header.Referer", "https://shop.example/?q=tea&api_key=***")
}

func TestFormatEscapes(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		x := get()
		x.Request.Query = []byte(query)
		if got := logged(t, AccessLogOptions{Format: `"$query.q"`}, x); got != want+"\n" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("q=tea", `"tea"`)
	f("q=a%0AGET%20/admin%20200", `"a\u000aGET /admin 200"`)
	f("q=a%22%5C", `"a\"\\"`)
	f("q=%ff%c2%9b", "\"\uFFFD\\u009b\"")
	f("q="+strings.Repeat("%ff", 2*valueMax), `"`+strings.Repeat("\uFFFD", (lineMax-1-2*valueMax)/expansionMax)+`..."`)
}

func TestFormatErrors(t *testing.T) {
	f := func(format, want string) {
		t.Helper()
		_, err := parseFormat(format, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", format, err, want)
		}
	}
	f("$", "dollar stands alone")
	f("a $ b", "dollar stands alone")
	f("$nope", "$nope is not a variable")
	f("$path.id", "no route")
	f("$secret", "$secret is not a variable")
	f("a\nb", "one line")
	f("a\xffb", "one line")
	f("a\u2028b", "one line")
	f(strings.Repeat("a", formatMax+1), "at most 16384")
}

// TestFormatVariables: each variable that is named is one.
func TestFormatVariables(t *testing.T) {
	for _, name := range append(FormatVariables(), plainVariables...) {
		format, err := parseFormat("$"+name, nil)
		if err != nil || len(format) != 1 {
			t.Errorf("$%s: %v, %v", name, format, err)
		}
	}
	for _, name := range plainVariables {
		v, err := proxy.ParseTemplate("$"+name, nil, false)
		if err != nil {
			t.Errorf("$%s: %v", name, err)
		} else if _, static := v.Static(); static {
			t.Errorf("$%s is text", name)
		}
	}
}
