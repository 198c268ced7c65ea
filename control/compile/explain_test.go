package compile

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const explained = `
services:
  origin: { to: ["http://127.0.0.1:9000"] }
  beta: { to: ["http://beta.invalid:9001/base"] } # a name that must not be looked up
policies:
  inside: { addresses: { allow: [127.0.0.0/8] } }
  nobody: { addresses: { deny: [0.0.0.0/0], mode: report } }
  stamp: { headers: { request: { set: { X-Client: $client.ip } }, response: { set: { X-Request: $request.id } } } }
defaults: { use: [nobody, route, stamp] }
routes:
  item: { match: "GET api.test/items/{id}", to: origin, use: [inside], rewrite: { path: "/things/{id}", host: "{id}.test", headers: { remove: [X-Debug] } } }
  beta: { match: { host: api.test, path: "/items/{id}", method: GET, headers: { X-Beta: present }, query: { v: "2" }, cookies: { c: prefix a } }, to: beta }
  write: { match: "POST|PUT api.test/items/{id}", to: beta, skip: [nobody] }
  rest: { match: "*.test/files/**", to: origin, rewrite: { strip: /files } }
  kind: { match: "/kind/{kind:[a-z]+}", skip: [nobody], respond: { status: 203, text: "a $path.kind" } }
  old: { match: "/old/**", skip: [nobody, stamp], redirect: { to: "https://new.test/$path.rest", status: 308 } }
`

func TestExplain(t *testing.T) {
	r := New(Options{Dry: true})
	p := mustCompile(t, r, explained)
	// f asks for a request with these header fields ("Name: value", split by |) from a client, and wants what matters of
	// the explanation.
	f := func(method, target, header, client, want string) {
		t.Helper()
		var fields [][2]string
		for field := range strings.SplitSeq(header, "|") {
			if name, value, ok := strings.Cut(field, ": "); ok {
				fields = append(fields, [2]string{name, value})
			}
		}
		e, err := p.Explain(method, target, fields, nil, netip.MustParseAddr(client))
		got := fmt.Sprint("error: ", err)
		if err == nil {
			got = summary(e)
		}
		if got != want {
			t.Fatalf("%s %s [%s]: got\n%s\nwant\n%s", method, target, header, got, want)
		}
	}
	const inside, outside = "127.0.0.1", "192.0.2.1"

	// The route, its chain and what is sent.
	const item = "item [nobody (report) inside stamp rewrite path rewrite host rewrite headers service origin] id=7; "
	f("GET", "http://api.test/items/7", "", inside, item+"reports nobody; to origin: GET /things/7 at 7.test [X-Client: 127.0.0.1]")
	f("GET", "http://api.test/items/7?x=1#part", "X-Debug: 1|Cookie: a=b|Accept: */*", inside,
		item+"reports nobody; to origin: GET /things/7?x=1 at 7.test [Cookie: *** Accept: */* X-Client: 127.0.0.1]")
	f("GET", "http://api.test/items/7", "", outside, item+"reports nobody; 403 address_denied by inside")
	f("HEAD", "http://api.test/items/7", "", inside, item+"reports nobody; to origin: HEAD /things/7 at 7.test [X-Client: 127.0.0.1]")
	f("PUT", "http://api.test/items/7", "", outside, "write [stamp service beta] id=7; to beta: PUT /base/items/7 at api.test [X-Client: 192.0.2.1]")
	const rest = "rest [nobody (report) stamp rewrite strip service origin] rest=a/b; reports nobody; to origin: GET /a/b at "
	f("GET", "http://a.b.test/files/a/b", "", inside, rest+"a.b.test [X-Client: 127.0.0.1]")
	f("GET", "http://A.Test:8080/files/./a/x/../b", "", inside, rest+"a.test:8080 [X-Client: 127.0.0.1]")
	f("GET", "http://a.test./files/a/b", "", inside, rest+"a.test. [X-Client: 127.0.0.1]")

	// Predicates, and where the host comes from.
	const beta = "beta [nobody (report) stamp service beta] id=7; reports nobody; to beta: GET /base/items/7?v=2 at api.test "
	f("GET", "api.test/items/7?v=2", "X-Beta: |Cookie: c=abc", inside, beta+"[X-Beta:  Cookie: *** X-Client: 127.0.0.1]")
	f("GET", "/items/7?v=2", "Host: API.test|X-Beta: 1|Cookie: c=abc", inside, beta+"[X-Beta: 1 Cookie: *** X-Client: 127.0.0.1]")
	f("GET", "api.test/items/7?v=3", "X-Beta: 1|Cookie: c=abc", outside, item+"reports nobody; 403 address_denied by inside")
	f("GET", "api.test/items/7?v=2", "X-Beta: 1|Cookie: c=b", outside, item+"reports nobody; 403 address_denied by inside")

	// What the gateway answers by itself.
	f("GET", "/kind/cat", "", inside, "kind [stamp respond] kind=cat; 203 [Content-Type: text/plain; charset=utf-8 X-Request: explain]")
	f("GET", "/old/a/b", "", inside, "old [redirect] rest=a/b; 308 [Location: https://new.test/a/b]")
	f("GET", "/kind/CAT", "", inside, "404 no_route")
	f("GET", "/nothing", "", inside, "404 no_route")
	f("GET", "http://other.example/items/7", "", inside, "404 no_route")
	f("DELETE", "http://api.test/items/7", "", inside, "405 method_not_allowed allow GET, HEAD, OPTIONS, POST, PUT")
	f("OPTIONS", "http://api.test/items/7", "", inside, "204 allow GET, HEAD, OPTIONS, POST, PUT")
	f("GET", "/a%00b", "", inside, "400 bad_path")
	f("GET", "/a%2", "", inside, "400 bad_path")

	// What is no request.
	f("GE T", "/", "", inside, `error: "GE T" is not a method`)
	f("GET", "http://user@api.test/", "", inside, "error: a URL with a user name is not sent by any client")
	f("GET", "http:///x", "", inside, `error: "http:///x" is neither a URL nor a path`)
	f("GET", "/", "Host: a b", inside, `error: "a b" is not a host`)
	f("GET", "/", "A B: c", inside, `error: "A B" is not a header name`)
}

// TestExplain_pages: a browser that asks is answered by the route that it asks about, as the server does.
func TestExplain_pages(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), `
services: { origin: { to: ["http://127.0.0.1:9000"] } }
policies: { fair: { rate_limit: { allow: 10/s per ip } } }
defaults: { use: [fair, route] }
routes:
  read: { match: GET /a, use: [{ compress: {} }], to: origin, cors: { origins: https://shop.example, credentials: true } }
  write: { match: PUT /a, to: origin }
  any: { match: /a, to: origin, cors: { origins: https://shop.example } }
`)
	f := func(asks, origin, want string) {
		t.Helper()
		header := [][2]string{{"Origin", origin}, {"Access-Control-Request-Method", asks}}
		e, err := p.Explain("OPTIONS", "/a", header, nil, netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		if got := summary(e); got != want || len(e.Limits) > 0 || e.Coding != "" {
			t.Errorf("%s: got %s, limits %q, coding %q, want %s", asks, got, e.Limits, e.Coding, want)
		}
	}
	f("GET", "https://shop.example", "read [cors fair compress service origin]; 204 [Access-Control-Allow-Methods: GET, HEAD Access-Control-Max-Age: 600 "+
		"Vary: Origin Access-Control-Allow-Origin: https://shop.example Access-Control-Allow-Credentials: true]")
	f("GET", "https://evil.example", "read [cors fair compress service origin]; 403 origin_denied by cors")
	f("PUT", "https://shop.example", "403 origin_denied")
	f("DELETE", "https://evil.example", "any [cors fair service origin]; 403 origin_denied by cors")
}

// TestExplain_body: a body that a route cannot be chosen by is refused, as the server does, whatever else would take the request.
func TestExplain_body(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), `
routes:
  gold: { match: { path: /a, method: POST, json: { plan: gold } }, respond: { status: 201 } }
  any: { match: POST /a, respond: { status: 202 } }
  only: { match: { path: /b, json: { plan: gold } }, respond: { status: 203 } }
  pages: { match: { path: /c, method: PUT, json: { plan: gold } }, respond: { status: 204 }, cors: { origins: https://shop.example } }
  other: { match: PUT /c, respond: { status: 205 }, cors: { origins: https://shop.example } }
  small: { match: POST /d, respond: { status: 206 }, body_limit: 4B }
`)
	f := func(method, target, body, want string) {
		t.Helper()
		header := [][2]string{{"Content-Type", "application/json"}}
		if method == "OPTIONS" {
			header = append(header, [2]string{"Origin", "https://shop.example"}, [2]string{"Access-Control-Request-Method", "PUT"})
		}
		e, err := p.Explain(method, target, header, []byte(body), netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(e.Route, " ", e.Status, " ", e.Code); got != want {
			t.Errorf("%s %s %s: got %q, %s", method, target, body, got, e.Outcome)
		}
	}
	const twice = `{"plan":"gold","plan":"free"}`
	f("POST", "/a", `{"plan":"gold"}`, "gold 201 ")
	f("POST", "/a", `{"plan":"free"}`, "any 202 ")
	f("POST", "/a", twice, " 400 bad_body")
	f("POST", "/b", `{"plan":"free"}`, " 404 no_route")
	f("POST", "/b", twice, " 400 bad_body")
	f("OPTIONS", "/c", `{"plan":"free"}`, "other 204 ")
	f("OPTIONS", "/c", twice, " 400 bad_body")
	f("POST", "/d", "four", "small 206 ")
	f("POST", "/d", "fives", "small 413 body_too_large")
	e, err := p.Explain("POST", "/d", nil, []byte("fives"), netip.MustParseAddr("127.0.0.1"))
	if want := "Route small is taken; the gateway refuses with 413 body_too_large."; err != nil || e.Outcome != want {
		t.Errorf("got %q, %v, want %q", e.Outcome, err, want)
	}
}

func summary(e *Explanation) string {
	var parts []string
	if e.Route != "" {
		part := fmt.Sprint(e.Route, " ", e.Policies)
		for name, value := range e.Params {
			part += " " + name + "=" + value
		}
		parts = append(parts, part)
	}
	if e.Reported != "" {
		parts = append(parts, "reports "+e.Reported)
	}
	list := func(fields [][2]string) string {
		var out []string
		for _, f := range fields {
			out = append(out, f[0]+": "+f[1])
		}
		return " [" + strings.Join(out, " ") + "]"
	}
	answer := ""
	if e.Status != 0 {
		answer = strings.TrimSpace(fmt.Sprint(e.Status, " ", e.Code))
	}
	if e.RefusedBy != "" {
		answer += " by " + e.RefusedBy
	}
	if e.Allow != "" {
		answer += " allow " + e.Allow
	}
	if len(e.Response) > 0 {
		answer += list(e.Response)
	}
	if e.Service != "" {
		answer += "to " + e.Service + ": " + e.Upstream + " at " + e.Host + list(e.Headers)
	}
	return strings.Join(append(parts, answer), "; ")
}

func TestExplain_candidates(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), explained)
	e, err := p.Explain("GET", "http://api.test/items/7", nil, nil, netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range e.Candidates {
		got = append(got, fmt.Sprintf("%s %v %s", c.Route, c.Taken, c.Why))
	}
	want := []string{
		"beta false header X-Beta is absent; query v is absent, wants 2; cookie c is absent, wants prefix a",
		"item true taken",
		"write false method is GET, wants POST|PUT",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDry: nothing is looked up, opened or started, and nothing is left behind.
func TestDry(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	goroutines, files := runtime.NumGoroutine(), len(openFiles(t))
	r := New(Options{Dry: true})
	for range 3 {
		p := mustCompile(t, r, explained+fmt.Sprintf("log: { access: { to: %q } }\n", log))
		if _, err := p.Explain("GET", "http://api.test/items/7", nil, nil, netip.MustParseAddr("127.0.0.1")); err != nil {
			t.Fatal(err)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Fatalf("%d goroutines, before there were %d", n, goroutines)
		}
		if n := len(openFiles(t)); n > files {
			t.Fatalf("%d open files, before there were %d", n, files)
		}
		r.Commit(p)
	}
	if _, err := os.Stat(log); err == nil {
		t.Fatal("the access log was opened")
	}
	if len(r.Services()) > 0 {
		t.Fatalf("services are running: %v", r.Services())
	}
	wantRunning(t, 0)
}

// TestExplainPassed: what a listener passes on by its name, no route sees there.
func TestExplainPassed(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), `
listen:
  public: { address: ":1", tls: self-signed, passthrough: { db.test: db, "*.old.test": db } }
  other: { address: ":2", passthrough: { db.test: db2 } }
  web: { address: ":3" }
services: { db: tcp://127.0.0.1:9, db2: tcp://127.0.0.1:10 }
routes: { all: { match: /**, respond: {} } }
`)
	f := func(target, want string) {
		t.Helper()
		e, err := p.Explain("GET", target, nil, nil, netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(e.Passed, "; "); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
		if e.Route != "all" {
			t.Errorf("%s: the route is %q, which other listeners would take", target, e.Route)
		}
	}
	f("https://db.test/", "by listener public to service db, TLS and all: no route sees what is in it; by listener other to service db2, TLS and all: no route sees what is in it")
	f("https://a.OLD.test:8443/x", "by listener public to service db, TLS and all: no route sees what is in it")
	f("https://old.test/", "")
	f("http://db.test/", "")
	f("/", "")

	g := func(listen, target, want string) {
		t.Helper()
		p := mustCompile(t, New(Options{Dry: true}), "listen: { public: { address: ':1', tls: self-signed, passthrough: { db.test: db } }, "+listen+` }
services: { db: tcp://127.0.0.1:9 }
routes: { all: { match: /**, respond: { status: 204 } } }
`)
		e, err := p.Explain("GET", target, nil, nil, netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(e.Outcome, want) {
			t.Errorf("%s, %s: %q, want %q", listen, target, e.Outcome, want)
		}
	}
	const redirects, plain = `a: { address: ":2", redirect: https }`, `b: { address: ":3" }`
	g(redirects, "https://db.test/", "The connection is passed on by listener public to service db")
	g(redirects, "http://db.test/", "Every listener without TLS redirects: the gateway answers 308.")
	g(redirects, "https://a.test/", "Route all is taken")
	g(redirects, "/", "Route all is taken")
	g(redirects+", "+plain, "http://a.test/", "Route all is taken")
	g(`c: { address: ":4", tcp: db }`, "http://a.test/", "Route all is taken")
}
