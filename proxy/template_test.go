package proxy

import (
	"encoding/json"
	"html"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/router"
)

func pattern(t testing.TB, text string) *router.Pattern {
	t.Helper()
	p, err := router.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// sample is an exchange in which every variable has a value.
func sample(t testing.TB, p *router.Pattern, path string) *Exchange {
	t.Helper()
	x := Acquire()
	x.Request.Method, x.Request.Scheme = "GET", "https"
	x.Request.Host, x.Request.Path, x.MatchedPath = []byte("shop.example:8443"), []byte("/now"), []byte(path)
	x.Request.Query, x.Request.HasQuery = []byte("q=a%20b&empty=&x=1&x=2"), true
	x.Request.Head.AddString("X-Kind", "kind")
	x.Request.Head.AddString("Cookie", `a=1; session="s p"`)
	x.Response.Head.AddString("X-Tag", "tag")
	x.Client.Text, x.Client.Peer = []byte("192.0.2.7"), netip.MustParseAddrPort("198.51.100.1:4567")
	x.ID, x.Route, x.Service, x.Endpoint = []byte("id-1"), &Route{Name: "items"}, "origin", "10.0.0.1:80"
	x.Response.Status, x.BytesOut = 418, 1234
	x.Err = ErrNoRoute
	table, problems := router.New([]router.Route[bool]{{Name: "route", Pattern: *p, Value: true}})
	if table == nil {
		t.Fatal(problems)
	}
	if _, outcome := table.Lookup(&router.Request{Method: []byte("GET"), Host: x.Request.Host, Path: x.MatchedPath, Values: x}, &x.Match); outcome != router.Found {
		t.Fatalf("%s does not match %s", p, path)
	}
	return x
}

func TestTemplate(t *testing.T) {
	p := pattern(t, "/items/{id}/**")
	x := sample(t, p, "/items/7/a/b")
	defer x.Release()
	f := func(text, want string) {
		t.Helper()
		tmpl, err := ParseTemplate(text, p, false)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := string(tmpl.Append([]byte("> "), x, Raw)); got != "> "+want || tmpl.String() != text {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("text", "text")

	// Every variable.
	f("$path.id", "7")
	f("$path.rest", "a/b")
	f("$query.q", "a b")
	f("$query.x", "1")
	f("$query.empty", "")
	f("$query.absent", "")
	f("$header.X-Kind", "kind")
	f("$header.x-kind", "kind")
	f("$header.host", "shop.example:8443")
	f("$header.absent", "")
	f("$cookie.session", "s p")
	f("$cookie.absent", "")
	f("$response.header.X-Tag", "tag")
	f("$response.header.absent", "")
	f("$response.status", "418")
	f("$response.bytes", "1234")
	f("$client.ip", "192.0.2.7")
	f("$client.port", "4567")
	f("$request.id", "id-1")
	f("$request.method", "GET")
	f("$request.path", "/now")
	f("$request.host", "shop.example:8443")
	f("$request.scheme", "https")
	f("$request.uri", "/now?q=a%20b&empty=&x=1&x=2")
	f("$request.query", "q=a%20b&empty=&x=1&x=2")
	f("$route", "items")
	f("$service", "origin")
	f("$endpoint", "10.0.0.1:80")
	f("$error.code", "no_route")
	f("$error.status", "404")
	f("$error.title", "Not Found")
	f("$error.detail", "No route matches this request.")

	// What surrounds them.
	f("$$", "$")
	f("$$$$path.id", "$$path.id")
	f("$$$path.id", "$7")
	f("a$$b", "a$b")
	f("$path.id.", "7.")
	f("$path.id...", "7...")
	f("$client.ip-", "192.0.2.7-")
	f("$route.", "items.")
	f("$route:$path.id:", "items:7:")
	f("$header.X-Kind.json", "kind.json") // a dash belongs to such a name, a dot does not
	f("$path.id/$path.id", "7/7")
	f("$path.id$path.id", "77")
	f("$client.ip-$request.id", "192.0.2.7-id-1")
	f("$client.ip.", "192.0.2.7.")
	f("$request.method.txt", "GET.txt")
	f("$route-a", "items-a")
	f("($service)", "(origin)")
	f("{id}", "{id}")
	f(`{"id":"$path.id"}`, `{"id":"7"}`)

	braces := func(text, want string) {
		t.Helper()
		tmpl, err := ParseTemplate(text, p, true)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := string(tmpl.Append(nil, x, Raw)); got != want {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
	}
	braces("/x/{id}.html", "/x/7.html")
	braces("{id}{id}$path.rest", "77a/b")
	braces("/$client.ip/{rest}", "/192.0.2.7/a/b")
	braces("a}b", "a}b")
}

func TestTemplateErrors(t *testing.T) {
	p := pattern(t, "/items/{id}")
	f := func(text string, p *router.Pattern, braces bool, want string) {
		t.Helper()
		_, err := ParseTemplate(text, p, braces)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q: got %v, want %q", text, err, want)
		}
	}
	f("$", p, false, "$$")
	f("a $ b", p, false, "$$")
	f("$-", p, false, "$$")
	f("$.x", p, false, "$$")
	f("$client.ip_x", p, false, "unknown variable $client.ip_x")
	f("$path.id-", p, false, `no parameter "id-"`)
	f("$nothing", p, false, "unknown variable $nothing")
	f("$request.nothing", p, false, "unknown variable $request.nothing")
	f("$client", p, false, "unknown variable $client")
	f("$clientip", p, false, "unknown variable")
	f("$header", p, false, "unknown variable $header")
	f("$header.", p, false, "unknown variable $header")
	f("$query. x", p, false, "unknown variable $query")
	f("$response.header.", p, false, "unknown variable")
	f("$path.name", p, false, `no parameter "name"`)
	f("$path.rest", p, false, `no parameter "rest"`)
	f("$path.id", nil, false, "no route")
	f("{id", p, true, "{ without a }")
	f("{}", p, true, "unknown variable")
	f("{name}", p, true, `no parameter "name"`)
	f("{id}", nil, true, "no route")
}

func TestTemplateStatic(t *testing.T) {
	f := func(text, want string, static bool) {
		t.Helper()
		tmpl, err := ParseTemplate(text, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := tmpl.Static(); got != want || ok != static {
			t.Fatalf("%q: got %q %v", text, got, ok)
		}
	}
	f("", "", true)
	f("text", "text", true)
	f("a$$b", "a$b", true)
	f("$route", "", false)
	f("a $route", "", false)
}

// TestTemplateEmpty has nothing to fill in, and fills in nothing.
func TestTemplateEmpty(t *testing.T) {
	x := Acquire()
	defer x.Release()
	tmpl, err := ParseTemplate("[$route$service$endpoint$error.code$error.status$error.title$error.detail$query.a$header.a$cookie.a$request.id$client.ip]", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tmpl.Append(nil, x, JSON)); got != "[]" {
		t.Fatal(got)
	}
}

func TestTemplateEscapes(t *testing.T) {
	f := func(value string, e Escape, want string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.ID = []byte(value)
		tmpl, err := ParseTemplate(`<"$request.id">`, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(tmpl.Append(nil, x, e)); got != `<"`+want+`">` {
			t.Fatalf("%q: got %s, want %s", value, got, want)
		}
		if got := string(AppendEscaped([]byte("x"), value, e)); got != "x"+want {
			t.Fatalf("%q: got %s, want %s", value, got, want)
		}
	}
	f(`a"b\c`, Raw, `a"b\c`)
	f(`a"b\c`, JSON, `a\"b\\c`)
	f("a\x00\n\x7f", JSON, `a\u0000\u000a\u007f`)
	f("<b>&'\"", JSON, `<b>&'\"`)
	f("\u00fc\u20ac\U0001f600", JSON, "\u00fc\u20ac\U0001f600")
	f("a\xffb", JSON, "a\ufffdb")
	f("\xe2\x82", JSON, "\ufffd\ufffd")
	f("\xed\xa0\x80", JSON, "\ufffd\ufffd\ufffd")
	f("\ufffd", JSON, "\ufffd")
	f(`<a href="x">&'`, HTML, "&lt;a href=&#34;x&#34;&gt;&amp;&#39;")
	f(`\u`, HTML, `\u`)
	f("plain", HTML, "plain")
}

// FuzzEscape puts any value into JSON and HTML: it must come out as it was and never end what it stands in.
func FuzzEscape(f *testing.F) {
	f.Add("a\"\\\x00<&'\xff\u20ac")
	f.Fuzz(func(t *testing.T, value string) {
		x := Acquire()
		defer x.Release()
		x.ID = []byte(value)
		tmpl, err := ParseTemplate(`$request.id$request.id`, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		twice := string([]rune(value)) // each byte that is not UTF-8 becomes U+FFFD
		var got string
		text := append(append([]byte(`"`), tmpl.Append(nil, x, JSON)...), '"')
		if err := json.Unmarshal(text, &got); err != nil || got != twice+twice || !utf8.Valid(text) {
			t.Fatalf("%q became %q: %v", value, text, err)
		}
		page := string(tmpl.Append(nil, x, HTML))
		if strings.ContainsAny(page, "<>\"'") || !strings.Contains(value, "&") && html.UnescapeString(page) != value+value {
			t.Fatalf("%q became %q", value, page)
		}
	})
}

// TestConsumerVariables fills in what is known of a client, and nothing where nobody is known.
func TestConsumerVariables(t *testing.T) {
	x := Acquire()
	defer x.Release()
	f := func(text, want string) {
		t.Helper()
		template, err := ParseTemplate(text, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(template.Append(nil, x, Raw)); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	f("$consumer of $consumer.group, $consumer.plan", " of , ")
	x.Identity = NewIdentity("api_key", "partners", "acme", []Claim{{Path: "plan", Value: []byte("gold")}, {Path: "region-2", Value: []byte("eu")}})
	f("$consumer of $consumer.group, $consumer.plan.", "acme of partners, gold.")
	f("$consumer.region-2/$consumer.none", "eu/")
}
