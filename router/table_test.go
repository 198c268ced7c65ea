package router

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestLookup_path(t *testing.T) {
	table := mustTable(t,
		"/",
		"/users/me",
		"/users/{id}",
		"/users/{id:[0-9]+}",
		"/users/{id}/posts",
		"/users/me/{what}",
		"/users/**",
		"/dir/",
		"/api/**",
		"/api/exact/",
		"/files/{name}.json",
		"/files/{name}.tar.gz",
		"/files/a{name}",
		"/files/a{name}.json",
		"/files/v{n:[0-9]+}.json",
		"/files/{name}",
		"/caf%c3%a9/%7ehome",
		"/naïve",
		"/deep/{a}/{b}/{c}/end",
		"/deep/x/{b}/y/stop",
		"/deep/x/y/{c}/halt",
		"/date/{y:[0-9]{4}}",
		"/slashes//x",
	)
	f := func(path, want string, captures ...string) {
		t.Helper()
		var m Match
		got, outcome := table.Lookup(&Request{Method: []byte("GET"), Path: []byte(path)}, &m)
		if got != want || (outcome == Found) != (want != "") {
			t.Fatalf("%s: got %q (%v), want %q", path, got, outcome, want)
		}
		if (m.Index >= 0) != (outcome == Found) {
			t.Fatalf("%s: index %d with outcome %v", path, m.Index, outcome)
		}
		for i := range maxCaptures {
			value, want := m.Value([]byte(path), i), ""
			if i < len(captures) {
				want = captures[i]
			}
			if string(value) != want || (value == nil) != (i >= len(captures)) {
				t.Fatalf("%s: capture %d is %q, want %q of %q", path, i, value, want, captures)
			}
		}
	}
	f("/", "/")
	f("/nothing", "")
	f("/users/me", "/users/me")
	f("/users/men", "/users/{id}", "men")
	f("/users/m", "/users/{id}", "m")
	f("/users/42", "/users/{id:[0-9]+}", "42")
	f("/users/42x", "/users/{id}", "42x")
	f("/users/42/posts", "/users/{id}/posts", "42")
	f("/users/me/posts", "/users/me/{what}", "posts")
	f("/users/me/posts/1", "/users/**", "me/posts/1")
	f("/users/", "/users/**", "")
	f("/users", "/users/**", "")
	f("/users//posts", "/users/**", "/posts")
	f("/usersx", "")

	f("/dir/", "/dir/")
	f("/dir", "")
	f("/dir//", "")

	f("/api", "/api/**", "")
	f("/api/", "/api/**", "")
	f("/api/a/b", "/api/**", "a/b")
	f("/api/a/b/", "/api/**", "a/b/")
	f("/apis", "")
	f("/api/exact/", "/api/exact/")
	f("/api/exact", "/api/**", "exact")

	f("/files/b.json", "/files/{name}.json", "b")
	f("/files/a.json", "/files/a{name}", ".json")
	f("/files/ab.json", "/files/a{name}.json", "b")
	f("/files/a", "/files/{name}", "a")
	f("/files/.json", "/files/{name}", ".json")
	f("/files/x.tar.gz", "/files/{name}.tar.gz", "x")
	f("/files/ax.tar.gz", "/files/a{name}", "x.tar.gz")
	f("/files/v12.json", "/files/v{n:[0-9]+}.json", "12")
	f("/files/vx.json", "/files/{name}.json", "vx")
	f("/files/b.json/", "")

	f("/caf%C3%A9/~home", "/caf%c3%a9/%7ehome")
	f("/na%C3%AFve", "/naïve")
	f("/naïve", "")

	f("/deep/x/y/z/end", "/deep/{a}/{b}/{c}/end", "x", "y", "z")
	f("/deep/x/y/y/end", "/deep/{a}/{b}/{c}/end", "x", "y", "y")
	f("/deep/x/y/y/stop", "/deep/x/{b}/y/stop", "y")
	f("/deep/x/y/y/halt", "/deep/x/y/{c}/halt", "y")
	f("/deep/x/y/y/none", "")

	f("/date/2026", "/date/{y:[0-9]{4}}", "2026")
	f("/date/20261", "")
	f("/slashes//x", "/slashes//x")
	f("/slashes/x", "")
	f("/users/a%2Fb", "/users/{id}", "a%2Fb")

	f("", "")
	f("*", "")
	f("users/me", "")
}

func TestLookup_host(t *testing.T) {
	table := mustTable(t,
		"/**",
		"/only-any",
		"api.example.com/v1/**",
		"*.example.com/**",
		"*.example.com/v1/x",
		"*.eu.example.com/v2",
		"[::1]/v6",
	)
	f := func(target, want string) {
		t.Helper()
		host, path, _ := strings.Cut(target, "/")
		var m Match
		got, _ := table.Lookup(&Request{Method: []byte("GET"), Host: []byte(host), Path: []byte("/" + path)}, &m)
		if got != want {
			t.Fatalf("%s: got %q, want %q", target, got, want)
		}
	}
	f("/", "/**")
	f("other.test/v1/x", "/**")
	f("other.test/only-any", "/only-any")
	f("api.example.com/v1/x", "api.example.com/v1/**")
	f("api.example.com/v2", "*.example.com/**")
	f("www.example.com/v1/x", "*.example.com/v1/x")
	f("a.b.example.com/v1/x", "*.example.com/v1/x")
	f("a.eu.example.com/v2", "*.eu.example.com/v2")
	f("a.eu.example.com/v1/x", "*.example.com/v1/x")
	f("eu.example.com/v2", "*.example.com/**")
	f("example.com/v1/x", "/**")
	f(".example.com/v1/x", "/**")
	f("xexample.com/v1/x", "/**")
	f("example.com.evil/v1/x", "/**")
	f("[::1]/v6", "[::1]/v6")
	f(strings.Repeat("a.", 20_000)+"example.com/x", "*.example.com/**")
	f(strings.Repeat(".", 40_000)+"/x", "/**")
}

func TestLookup_method(t *testing.T) {
	table := mustTable(t,
		"GET /item",
		"POST|PUT /item",
		"/any",
		"GET /mixed",
		"/mixed",
		"GET /head",
		"HEAD /head",
		"GET /below/x",
		"/below/**",
		"OPTIONS /options",
		"DELETE /options",
		"HEAD /wide/**",
		"GET /wide/x",
		"PURGE /cache",
		"GET a.test/split",
		"POST /split",
	)
	f := func(line, want string, outcome Outcome, allow string) {
		t.Helper()
		method, target, _ := strings.Cut(line, " ")
		host, path, _ := strings.Cut(target, "/")
		r := Request{Method: []byte(method), Host: []byte(host), Path: []byte("/" + path)}
		if target == "*" {
			r.Host, r.Path = nil, []byte("*")
		}
		var m Match
		if got, o := table.Lookup(&r, &m); got != want || o != outcome {
			t.Fatalf("%s: got %q (%v), want %q (%v)", line, got, o, want, outcome)
		}
		if got := string(table.AppendAllow([]byte("Allow: "), &r)); got != "Allow: "+allow {
			t.Fatalf("%s: got %q, want %q", line, got, allow)
		}
	}
	const all = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PURGE, PUT"
	f("GET /item", "GET /item", Found, "GET, HEAD, OPTIONS, POST, PUT")
	f("HEAD /item", "GET /item", Found, "GET, HEAD, OPTIONS, POST, PUT")
	f("PUT /item", "POST|PUT /item", Found, "GET, HEAD, OPTIONS, POST, PUT")
	f("DELETE /item", "", MethodNotAllowed, "GET, HEAD, OPTIONS, POST, PUT")
	f("BREW /item", "", MethodNotAllowed, "GET, HEAD, OPTIONS, POST, PUT")
	f("get /item", "", MethodNotAllowed, "GET, HEAD, OPTIONS, POST, PUT")
	f("OPTIONS /item", "", Options, "GET, HEAD, OPTIONS, POST, PUT")
	f("OPTIONS /nothing", "", NotFound, "OPTIONS")

	f("BREW /any", "/any", Found, all)
	f("OPTIONS /any", "/any", Found, all)

	f("GET /mixed", "GET /mixed", Found, all)
	f("HEAD /mixed", "GET /mixed", Found, all)
	f("POST /mixed", "/mixed", Found, all)

	f("HEAD /head", "HEAD /head", Found, "GET, HEAD, OPTIONS")
	f("GET /head", "GET /head", Found, "GET, HEAD, OPTIONS")

	// HEAD goes where GET goes, though the less specific route takes it by itself.
	f("HEAD /below/x", "GET /below/x", Found, all)
	f("POST /below/x", "/below/**", Found, all)
	f("HEAD /wide/x", "GET /wide/x", Found, "GET, HEAD, OPTIONS")
	f("HEAD /wide/y", "HEAD /wide/**", Found, "HEAD, OPTIONS")
	f("GET /wide/y", "", MethodNotAllowed, "HEAD, OPTIONS")

	f("OPTIONS /options", "OPTIONS /options", Found, "DELETE, OPTIONS")
	f("PURGE /cache", "PURGE /cache", Found, "OPTIONS, PURGE")
	f("GET /cache", "", MethodNotAllowed, "OPTIONS, PURGE")

	f("POST a.test/split", "POST /split", Found, "GET, HEAD, OPTIONS, POST")
	f("PUT a.test/split", "", MethodNotAllowed, "GET, HEAD, OPTIONS, POST")
	f("PUT b.test/split", "", MethodNotAllowed, "OPTIONS, POST")

	f("OPTIONS *", "", Options, all)
	f("GET *", "", NotFound, all)
}

func TestLookup_asteriskWithoutRoutes(t *testing.T) {
	f := func(host string, want Outcome) {
		t.Helper()
		table := mustTable(t, "GET a.test/x")
		r := Request{Method: []byte("OPTIONS"), Host: []byte(host), Path: []byte("*")}
		if _, got := table.Lookup(&r, &Match{}); got != want {
			t.Fatalf("%s: got %v, want %v", host, got, want)
		}
	}
	f("a.test", Options)
	f("b.test", NotFound)

	empty := mustTable(t)
	if _, got := empty.Lookup(&Request{Method: []byte("GET"), Path: []byte("/")}, &Match{}); got != NotFound {
		t.Fatalf("empty table: got %v", got)
	}
}

// testValues holds values under "header X-Kind", "query q", "cookie c", "json a.b", and
// counts the look-ups.
type testValues struct {
	values map[string]string
	asked  []string
}

func (v *testValues) Header(name string) ([]byte, bool) { return v.get("header " + name) }
func (v *testValues) Query(name string) ([]byte, bool)  { return v.get("query " + name) }
func (v *testValues) Cookie(name string) ([]byte, bool) { return v.get("cookie " + name) }
func (v *testValues) JSON(path string) ([]byte, bool)   { return v.get("json " + path) }

func (v *testValues) get(key string) ([]byte, bool) {
	v.asked = append(v.asked, key)
	value, ok := v.values[key]
	return []byte(value), ok
}

// withPredicates adds predicates such as "header X-Kind: present" to a pattern.
func withPredicates(t testing.TB, pattern string, predicates ...string) Route[string] {
	t.Helper()
	r := mustRoutes(t, pattern)[0]
	for _, s := range predicates {
		key, value, _ := strings.Cut(s, ": ")
		from, name, _ := strings.Cut(key, " ")
		p, err := ParsePredicate(name, value)
		if err != nil {
			t.Fatal(err)
		}
		list := map[string]*[]Predicate{
			"header": &r.Pattern.Headers, "query": &r.Pattern.Query, "cookie": &r.Pattern.Cookies, "json": &r.Pattern.JSON,
		}[from]
		*list = append(*list, p)
	}
	r.Name = strings.Join(append([]string{pattern}, predicates...), " & ")
	r.Value = r.Name
	return r
}

// TestLookup_cheapFirst: what is dear to find out is not asked when the rest has decided.
func TestLookup_cheapFirst(t *testing.T) {
	table := mustNew(t, []Route[string]{
		withPredicates(t, "/x", "json a: 1", "json b: regex 1", "header A: regex 1", "query q: regex 1", "header Z: present", "cookie c: 1"),
	})
	f := func(has string, want ...string) {
		t.Helper()
		v := &testValues{values: map[string]string{}}
		for key := range strings.FieldsSeq(has) {
			from, name, _ := strings.Cut(key, ".")
			v.values[from+" "+name] = "1"
		}
		table.Lookup(&Request{Method: []byte("GET"), Path: []byte("/x"), Values: v}, &Match{})
		if !slices.Equal(v.asked, want) {
			t.Errorf("%s: asked for %q, want %q", has, v.asked, want)
		}
	}
	f("json.a json.b header.A query.q cookie.c", "header Z")
	f("json.a json.b header.A query.q header.Z", "header Z", "cookie c")
	f("json.a json.b query.q header.Z cookie.c", "header Z", "cookie c", "header A")
	f("json.b header.A query.q header.Z cookie.c", "header Z", "cookie c", "header A", "query q", "json a")
	f("json.a json.b header.A query.q header.Z cookie.c", "header Z", "cookie c", "header A", "query q", "json a", "json b")
}

func TestLookup_predicates(t *testing.T) {
	table := mustNew(t, []Route[string]{
		withPredicates(t, "/x"),
		withPredicates(t, "/x", "header x-canary: yes"),
		withPredicates(t, "/x", "header X-Canary: yes", "query debug: present"),
		withPredicates(t, "/x", "header X-Canary: no"),
		withPredicates(t, "POST /x", "json user.type: is present", "header X-Canary: absent"),
		withPredicates(t, "/y", "cookie lang: prefix de"),
	})
	f := func(line, want string, outcome Outcome, values ...string) {
		t.Helper()
		method, path, _ := strings.Cut(line, " ")
		v := &testValues{values: map[string]string{}}
		for _, s := range values {
			key, value, _ := strings.Cut(s, "=")
			v.values[key] = value
		}
		got, o := table.Lookup(&Request{Method: []byte(method), Path: []byte(path), Values: v}, &Match{})
		if got != want || o != outcome {
			t.Fatalf("%s %q: got %q (%v), want %q (%v)", line, values, got, o, want, outcome)
		}
	}
	f("GET /x", "/x", Found)
	f("GET /x", "/x & header x-canary: yes", Found, "header X-Canary=yes")
	f("GET /x", "/x", Found, "header X-Canary=yes!")
	f("GET /x", "/x & header X-Canary: yes & query debug: present", Found, "header X-Canary=yes", "query debug=")
	f("GET /x", "/x & header X-Canary: no", Found, "header X-Canary=no", "query debug=")
	f("POST /x", "POST /x & json user.type: is present & header X-Canary: absent", Found, "json user.type=present")
	f("POST /x", "/x", Found, "json user.type=absent")
	f("GET /x", "/x", Found, "json user.type=present")
	f("GET /y", "", NotFound)
	f("GET /y", "/y & cookie lang: prefix de", Found, "cookie lang=de-CH")
	f("GET /y", "", NotFound, "cookie lang=d")

	table = mustNew(t, []Route[string]{
		withPredicates(t, "/y", "cookie lang: regex ^fr|CH$"),
		withPredicates(t, "/{any}", "query wide: present"),
		withPredicates(t, "GET /z", "header X-Key: present"),
		withPredicates(t, "/empty", "header X-Key: "),
	})
	f("GET /y", "/y & cookie lang: regex ^fr|CH$", Found, "cookie lang=de-CH")
	f("GET /y", "/y & cookie lang: regex ^fr|CH$", Found, "cookie lang=fr-FR")
	f("GET /y", "", NotFound, "cookie lang=CH-de")
	// A path that fails by its predicates falls back to a less specific one.
	f("GET /y", "/{any} & query wide: present", Found, "query wide=1")
	f("POST /z", "/{any} & query wide: present", Found, "query wide=1")
	// 405 only if everything but the method matches.
	f("POST /z", "", MethodNotAllowed, "header X-Key=")
	f("POST /z", "", NotFound)
	f("OPTIONS /z", "", Options, "header X-Key=")
	f("OPTIONS /z", "", NotFound)
	f("GET /empty", "/empty & header X-Key: ", Found, "header X-Key=")
	f("GET /empty", "", NotFound)
	f("GET /empty", "", NotFound, "header X-Key=x")
}

// The body must not be waited for unless a route of this path and method wants it.
func TestLookup_asksOnlyWhatItNeeds(t *testing.T) {
	table := mustNew(t, []Route[string]{
		withPredicates(t, "POST /x", "json type: order", "header X-Kind: json"),
		withPredicates(t, "PUT /other", "json type: order"),
		withPredicates(t, "/**"),
	})
	f := func(line, want string) {
		t.Helper()
		method, path, _ := strings.Cut(line, " ")
		v := &testValues{values: map[string]string{"header X-Kind": "json"}}
		if line == "POST /x?" {
			path, v.values = "/x", nil
		}
		table.Lookup(&Request{Method: []byte(method), Path: []byte(path), Values: v}, &Match{})
		if got := strings.Join(v.asked, ","); got != want {
			t.Fatalf("%s: asked for %q, want %q", line, got, want)
		}
	}
	f("POST /x", "header X-Kind,json type")
	f("POST /x?", "header X-Kind")
	f("GET /x", "")
	f("POST /other", "")
	f("POST /elsewhere", "")
}

func TestAppendAllow_predicates(t *testing.T) {
	table := mustNew(t, []Route[string]{
		withPredicates(t, "POST /x", "header X-Key: present"),
		withPredicates(t, "PUT /x"),
		withPredicates(t, "GET /{any}"),
	})
	f := func(want string, values map[string]string) {
		t.Helper()
		r := Request{Method: []byte("DELETE"), Path: []byte("/x"), Values: &testValues{values: values}}
		if got := string(table.AppendAllow(nil, &r)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f("GET, HEAD, OPTIONS, PUT", nil)
	f("GET, HEAD, OPTIONS, POST, PUT", map[string]string{"header X-Key": ""})
}

// However a lookup backtracks, it comes to the end of each route at most once.
func TestLookup_backtrackingIsBounded(t *testing.T) {
	const depth = 10
	patterns, path := bushyRoutes(depth)
	path = strings.TrimSuffix(path, "nothing") + "end"
	routes := make([]Route[string], len(patterns))
	for i, p := range patterns {
		routes[i] = withPredicates(t, p, fmt.Sprintf("header X-Route-%d: present", i))
	}
	table := mustNew(t, routes)
	v := &testValues{}
	r := Request{Method: []byte("GET"), Path: []byte(path), Values: v}
	if _, got := table.Lookup(&r, &Match{}); got != NotFound {
		t.Fatalf("got %v", got)
	}
	if len(v.asked) != len(routes) {
		t.Fatalf("%d predicates looked at for %d routes", len(v.asked), len(routes))
	}

	// A longer path costs no more: it leaves the tree where the tree ends.
	v.asked = nil
	r.Path = []byte(strings.Repeat("/a", 100_000))
	if _, got := table.Lookup(&r, &Match{}); got != NotFound || len(v.asked) != 0 {
		t.Fatalf("got %v after %d predicates", got, len(v.asked))
	}
}

func TestLookup_concurrent(t *testing.T) {
	patterns, paths := parameterRoutes(200)
	table := mustTable(t, patterns...)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			var m Match
			for i, path := range paths {
				r := Request{Method: []byte("GET"), Path: []byte(path)}
				if got, _ := table.Lookup(&r, &m); got != patterns[i] {
					t.Errorf("%s: got %q, want %q", path, got, patterns[i])
				}
			}
		})
	}
	group.Wait()
}

func TestMatch_reuse(t *testing.T) {
	table := mustTable(t, "/{a}/{b}", "/x")
	var m Match
	for _, path := range []string{"/1/2", "/x", "/nothing/at/all"} {
		table.Lookup(&Request{Method: []byte("GET"), Path: []byte(path)}, &m)
		if got := m.Value([]byte(path), 0) != nil; got != (path == "/1/2") {
			t.Fatalf("%s: stale capture %q", path, m.Value([]byte(path), 0))
		}
	}
	if m.Index != -1 || m.Value([]byte("/"), -1) != nil {
		t.Fatalf("index %d after a miss", m.Index)
	}
}

// mustRoutes names each route by its pattern, which is also its value.
func mustRoutes(t testing.TB, patterns ...string) []Route[string] {
	t.Helper()
	routes := make([]Route[string], len(patterns))
	for i, s := range patterns {
		p, err := ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		routes[i] = Route[string]{Name: s, Pattern: p, Value: s}
	}
	return routes
}

func mustTable(t testing.TB, patterns ...string) *Table[string] {
	t.Helper()
	return mustNew(t, mustRoutes(t, patterns...))
}

func mustNew(t testing.TB, routes []Route[string]) *Table[string] {
	t.Helper()
	table, problems := New(routes)
	if len(problems) > 0 {
		t.Fatalf("unexpected problem: %+v", problems[0])
	}
	return table
}
