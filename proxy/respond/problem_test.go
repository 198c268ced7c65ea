package respond

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/proxy"
)

var refused = &proxy.Error{Status: 403, Code: "no_entry", Detail: `Not <b>you</b> & "yours".`, Side: proxy.ByClient}

// failedExchange is one that a route's policy has refused.
func failedExchange(accept string) *proxy.Exchange {
	x := proxy.Acquire()
	x.ID = []byte("id-1")
	x.Route = &proxy.Route{Name: "items"}
	x.FailedAt = "guard"
	if accept != "" {
		x.Request.Head.AddString("Accept", accept)
	}
	return x
}

func render(p *Problems, x *proxy.Exchange, err *proxy.Error) (contentType, body string) {
	x.Err, x.Response.Status = err, err.Status
	p.Render(x, err)
	return string(x.Response.Head.Get("Content-Type")), string(x.Response.Body.Prefix())
}

func TestProblemFormats(t *testing.T) {
	f := func(format Format, wantType, want string) {
		t.Helper()
		x := failedExchange("")
		defer x.Release()
		contentType, body := render(NewProblems(format, nil), x, refused)
		if contentType != wantType || body != want || x.Response.Body.Size() != int64(len(want)) {
			t.Fatalf("got %s\n%s, want %s\n%s", contentType, body, wantType, want)
		}
	}
	const problem = `{"type":"urn:sluice:problem:no_entry","title":"Forbidden","status":403,"code":"no_entry",` +
		`"detail":"Not <b>you</b> & \"yours\".","route":"items","policy":"guard","request_id":"id-1"}` + "\n"
	f(Auto, "application/problem+json", problem)
	f(ProblemJSON, "application/problem+json", problem)
	f(PlainText, "text/plain; charset=utf-8", `403 Forbidden: Not <b>you</b> & "yours". (no_entry, request id-1)`+"\n")
	f(HTMLPage, "text/html; charset=utf-8", "<!doctype html><html lang=en><meta charset=utf-8><title>403 Forbidden</title><h1>Forbidden</h1>"+
		"<p>Not &lt;b&gt;you&lt;/b&gt; &amp; &#34;yours&#34;.</p><p><small>no_entry &middot; request id-1</small></p></html>\n")
}

// TestProblemMembers leaves out what is not known. The gateway's own routes are nobody's.
func TestProblemMembers(t *testing.T) {
	f := func(edit func(x *proxy.Exchange), has, hasNot string) {
		t.Helper()
		x := failedExchange("")
		defer x.Release()
		edit(x)
		_, body := render(NewProblems(Auto, nil), x, refused)
		if !strings.Contains(body, has) || strings.Contains(body, hasNot) {
			t.Fatalf("%s: want %s, and not %s", body, has, hasNot)
		}
	}
	f(func(x *proxy.Exchange) { x.Route = nil }, `"policy":"guard"`, `"route"`)
	f(func(x *proxy.Exchange) { x.Route.Name = "-none" }, `"policy":"guard"`, `"route"`)
	f(func(x *proxy.Exchange) { x.FailedAt = "" }, `"route":"items"`, `"policy"`)
	f(func(x *proxy.Exchange) { x.ID = nil }, `"request_id":""`, "\x00")
	f(func(x *proxy.Exchange) { x.ErrCause = errSecret }, `"route":"items"`, "secret")
}

var errSecret = refused.With(&proxy.Error{Code: "secret", Detail: "secret"})

func TestNegotiate(t *testing.T) {
	f := func(accept string, want Format) {
		t.Helper()
		if got := negotiate([]byte(accept)); got != want {
			t.Fatalf("%q: got %d, want %d", accept, got, want)
		}
	}
	// JSON where the client is indifferent.
	f("", ProblemJSON)
	f("*/*", ProblemJSON) // curl
	f("*/*;q=0.1", ProblemJSON)
	f("text/html, application/json", ProblemJSON)
	f("text/*, application/*", ProblemJSON)
	f("application/json", ProblemJSON)
	f("application/problem+json", ProblemJSON)
	f("application/problem+json;q=0.2, application/json;q=0.9, text/html;q=0.5", ProblemJSON)

	// Firefox and Chrome.
	f("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTMLPage)
	f("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7", HTMLPage)
	f("text/html", HTMLPage)
	f("TEXT/HTML", HTMLPage)
	f("text/*", HTMLPage)
	f("text/html;level=1;q=0.9, text/plain;q=0.8", HTMLPage)
	f("text/plain", PlainText)
	f("text/plain, text/html;q=0.9", PlainText)
	f("text/plain;q=0.5, */*;q=0.1", PlainText)

	// What is named counts more than a range, and a range more than everything.
	f("text/*;q=0.9, text/html;q=0.1, application/json;q=0.5", PlainText)
	f("*/*, text/html;q=0", ProblemJSON)
	f("*/*, application/*;q=0.1", HTMLPage)
	f("*/*;q=0.9, application/json;q=0, application/problem+json;q=0", HTMLPage)
	f("application/*;q=0, */*", HTMLPage)

	// Weights.
	f("application/json;q=0.8, text/html;q=0.801", HTMLPage)
	f("application/json;q=0.899, text/html;q=0.9", HTMLPage)
	f("application/json;q=0, text/html;q=0.001", HTMLPage)
	f("application/json;Q=0.5, text/plain; q=0.6", PlainText)
	f("application/json;q=1.000, text/html;q=1.0", ProblemJSON)
	f("application/json ; q=0.1 , text/html ; q=0.2", HTMLPage)

	// Nothing that can be sent, or nonsense: JSON.
	f("image/png", ProblemJSON)
	f("text/html;q=0", ProblemJSON)
	f("application/json;q=0, text/html;q=0, text/plain;q=0", ProblemJSON)
	f(",,;;,", ProblemJSON)
	f("nonsense", ProblemJSON)
	f("*", ProblemJSON)
	f("application/json;q=, text/html;q=x", ProblemJSON)
	f("text/htmlx", ProblemJSON)
	f(strings.Repeat("a", 5000), ProblemJSON)
}

func TestWeight(t *testing.T) {
	f := func(params string, want int) {
		t.Helper()
		if got := weight([]byte(params)); got != want {
			t.Fatalf("%q: got %d, want %d", params, got, want)
		}
	}
	f("", 1000)
	f("q=1", 1000)
	f("q=0", 0)
	f("q=0.", 0)
	f("q=0.5", 500)
	f(" Q=0.05", 50)
	f("q=0.005", 5)
	f("q=0.123", 123)
	f("q=1.999", 1000)
	f("q=9", 1000)
	f("level=1;q=0.3", 300)
	f("q=0.3;ext=1", 300)
	f("quality=0.1", 1000)
	f("q=0.1234", 1000)
	f("q=-1", 1000)
	f("q=.5", 1000)
	f("q", 1000)
	f("q=", 1000)
}

// TestProblemBodies takes the most specific body of one's own: by code, then status, then class, then the common one.
func TestProblemBodies(t *testing.T) {
	p := NewProblems(PlainText, map[string]ErrorBody{
		"no_entry": {ContentType: "text/plain", Fixed: []byte("code")},
		"403":      {ContentType: "text/plain", Fixed: []byte("status")},
		"4xx":      {ContentType: "text/plain", Fixed: []byte("class")},
		"502":      {ContentType: "Application/JSON", Template: parseTemplate(t, `{"m":"$error.detail","s":$error.status,"k":"$header.X-K"}`, "/")},
		"504":      {ContentType: "text/HTML", Template: parseTemplate(t, `<p>$error.detail $header.X-K`, "/")},
		"503":      {ContentType: "text/plain", Template: parseTemplate(t, `$error.detail $header.X-K`, "/")},
	})
	f := func(status int, code, wantType, want string) {
		t.Helper()
		x := failedExchange("application/json")
		defer x.Release()
		x.Request.Head.AddString("X-K", `"<k>\`)
		contentType, body := render(p, x, &proxy.Error{Status: status, Code: code, Detail: `a "<d>"`})
		if contentType != wantType || body != want {
			t.Fatalf("%d %s: got %s %s, want %s %s", status, code, contentType, body, wantType, want)
		}
	}
	f(403, "no_entry", "text/plain", "code")
	f(403, "other", "text/plain", "status")
	f(404, "other", "text/plain", "class")
	f(500, "no_entry", "text/plain", "code")
	f(500, "other", "text/plain; charset=utf-8", "500 Internal Server Error: a \"<d>\" (other, request id-1)\n")
	f(502, "other", "Application/JSON", `{"m":"a \"<d>\"","s":502,"k":"\"<k>\\"}`)
	f(504, "other", "text/HTML", `<p>a &#34;&lt;d&gt;&#34; &#34;&lt;k&gt;\`)
	f(503, "other", "text/plain", `a "<d>" "<k>\`)
}

// FuzzProblem fills every field with anything: the answer stays JSON, in UTF-8, with the same values.
func FuzzProblem(f *testing.F) {
	f.Add(`no "detail"`, "route\n", "policy\x00", "id\xff\\", uint16(404))
	f.Add("\u2028<script>", "", "\ud7ff", "\xed\xa0\x80", uint16(999))
	f.Fuzz(func(t *testing.T, detail, route, policy, id string, status uint16) {
		x := failedExchange("")
		defer x.Release()
		x.Route, x.FailedAt, x.ID = &proxy.Route{Name: route}, policy, []byte(id)
		err := &proxy.Error{Status: 100 + int(status)%900, Code: "code", Detail: detail}
		_, body := render(NewProblems(ProblemJSON, nil), x, err)
		var got map[string]any
		if e := json.Unmarshal([]byte(body), &got); e != nil || !utf8.ValidString(body) {
			t.Fatalf("%q: %v", body, e)
		}
		want := func(name, value string) {
			t.Helper()
			value = string([]rune(value)) // what is not UTF-8 becomes U+FFFD
			if g, _ := got[name].(string); g != value {
				t.Fatalf("%s: got %q, want %q", name, g, value)
			}
		}
		want("detail", detail)
		if strings.HasPrefix(route, "-") {
			want("route", "")
		} else {
			want("route", route)
		}
		want("policy", policy)
		want("request_id", id)
		want("type", "urn:sluice:problem:code")
		if got["status"] != float64(err.Status) {
			t.Fatal(got["status"])
		}
	})
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/html;q=0.9, */*;q=0.1")
	f.Add(";;q=,,;q=0.00000")
	f.Fuzz(func(t *testing.T, accept string) {
		format := negotiate([]byte(accept))
		if format == Auto || format > HTMLPage {
			t.Fatal(format)
		}
		for _, family := range []string{"text/*", "application/*"} {
			if q := quality([]byte(accept), "text/html", family); q < 0 || q > 1000 {
				t.Fatal(q)
			}
		}
	})
}
