package router

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	f := func(s string, want Pattern, canonical string) {
		t.Helper()
		got, err := ParsePattern(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %+v, want %+v", s, got, want)
		}
		if got.String() != canonical {
			t.Fatalf("%q: got %q, want %q", s, got.String(), canonical)
		}
	}
	f("/", Pattern{Path: "/"}, "/")
	f("/api/**", Pattern{Path: "/api/**"}, "/api/**")
	f("GET /items/{id}", Pattern{Methods: []string{"GET"}, Path: "/items/{id}"}, "GET /items/{id}")
	f("  GET \t /x ", Pattern{Methods: []string{"GET"}, Path: "/x"}, "GET /x")
	f("POST|GET|POST /x", Pattern{Methods: []string{"GET", "POST"}, Path: "/x"}, "GET|POST /x")
	f("M-SEARCH /x", Pattern{Methods: []string{"M-SEARCH"}, Path: "/x"}, "M-SEARCH /x")
	f("GET api.shop.example/v1/orders/**", Pattern{Methods: []string{"GET"}, Host: "api.shop.example", Path: "/v1/orders/**"}, "GET api.shop.example/v1/orders/**")
	f("*.X.example/**", Pattern{Host: "*.x.example", Path: "/**"}, "*.x.example/**")
	f("[2001:DB8::1]/x", Pattern{Host: "[2001:db8::1]", Path: "/x"}, "[2001:db8::1]/x")
	f("/{x:a b/[^/]{2}\\}}/y", Pattern{Path: "/{x:a b/[^/]{2}\\}}/y"}, "/{x:a b/[^/]{2}\\}}/y")
	f("/a{x:[0-9]+}b//", Pattern{Path: "/a{x:[0-9]+}b//"}, "/a{x:[0-9]+}b//")
	f("/%7e%c3%a9é%2f", Pattern{Path: "/~%C3%A9%C3%A9%2F"}, "/~%C3%A9%C3%A9%2F")
}

func TestParsePattern_refuses(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		_, err := ParsePattern(s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q: got error %v, want one with %q", s, err, want)
		}
	}
	f("", "has no path")
	f("GET", "has no path")
	f("api.example", "has no path")
	f("get /x", `write "GET"`)
	f("GET||POST /x", "a method is empty")
	f("GET, POST /x", "no method has")
	f("https://api.example/x", `names a scheme: write "api.example/x"`)
	f("api.example:80/x", "names no port")
	f("*/x", "leave the host out")
	f("a.*.example/x", "first labels")
	f("*api.example/x", "first labels")
	f("*./x", "empty label")
	f("a..b/x", "empty label")
	f("bücher.example/x", "punycode")
	f("a b.example/x", `write "A"`)
	f("GET a$b.example/x", "no host has")
	f("[::1/x", "IPv6")
	f("[::1]:80/x", "IPv6")
	f(strings.Repeat("a", 254)+"/x", "254 bytes")
	f("/a/**/b", "only at the end")
	f("/a**", "segment of its own")
	f("/{x}**", "segment of its own")
	f("/a/*", "no wildcard")
	f("/{a}{b}", "one parameter")
	f("/{a", "not closed")
	f("/a}", "without")
	f("/{}", "no name")
	f("/{1a}", "no name")
	f("/{a-b}", "no name")
	f("/{a:}", "regex is empty")
	f("/{a:[}", "cannot compile")
	f("/{a:x)(y}", "cannot compile")
	f("/{a}/{a}", "two parameters")
	f("/{rest}/**", "two parameters")
	f("/a/../b", "dot segments")
	f("/%2e", "dot segments")
	f("/a b", "space")
	f("/a?b", "question mark")
	f("/a%2", "percent sign")
	f("/a%{x}", "percent sign")
	f("/a%00", "control")
	f("/a\\b", "backslash")
	f("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/**", "at most 16")
}

func TestPatternString_predicates(t *testing.T) {
	f := func(want, pattern string, predicates ...string) {
		t.Helper()
		if got := withPredicates(t, pattern, predicates...).Pattern.String(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f("GET *.shop.example/search/{kind} [header Accept: prefix application/json, query q: present]",
		"GET *.shop.example/search/{kind}", "query q: present", "header accept: prefix application/json")
	f("/ [header A: 1, header B: absent, cookie c: regex ^x, json user.type: is absent]",
		"/", "json user.type: is absent", "header b: absent", "header a: 1", "cookie c: regex ^x")
}

func TestPatternParam(t *testing.T) {
	f := func(path string, want ...string) {
		t.Helper()
		p := Pattern{Path: path}
		if got := p.Params(); !slices.Equal(got, want) {
			t.Fatalf("%s: got %q, want %q", path, got, want)
		}
		for i, name := range want {
			if got, ok := p.Param(name); got != i || !ok {
				t.Fatalf("%s: %s is %d, %v; want %d", path, name, got, ok, i)
			}
		}
		if i, ok := p.Param("other"); ok {
			t.Fatalf("%s: other is %d", path, i)
		}
	}
	f("/x")
	f("/{a}/x/{b:[0-9]+}/c{d}e/**", "a", "b", "d", "rest")
	f("/{rest}", "rest")
	f("/{broken")
}

func TestParsePredicate(t *testing.T) {
	f := func(value string, op Op, want string) {
		t.Helper()
		p, err := ParsePredicate("n", value)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if p != (Predicate{Name: "n", Op: op, Value: want}) {
			t.Fatalf("%q: got %+v", value, p)
		}
		if again, err := ParsePredicate("n", strings.TrimPrefix(p.String(), "n: ")); err != nil || again != p {
			t.Fatalf("%q: %q reads as %+v, %v", value, p.String(), again, err)
		}
	}
	f("present", OpPresent, "")
	f("absent", OpAbsent, "")
	f("prefix application/json", OpPrefix, "application/json")
	f("prefix  two words", OpPrefix, "two words")
	f("regex ^a b$", OpRegex, "^a b$")
	f("is present", OpEquals, "present")
	f("is is x", OpEquals, "is x")
	f("is prefix", OpEquals, "prefix")
	f("yes", OpEquals, "yes")
	f("Present", OpEquals, "Present")
	f("presently here", OpEquals, "presently here")
	f("", OpEquals, "")
}

func TestParsePredicate_refuses(t *testing.T) {
	f := func(name, value, want string) {
		t.Helper()
		_, err := ParsePredicate(name, value)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q: got error %v, want one with %q", value, err, want)
		}
	}
	f("", "x", "no name")
	f("n", "prefix", `write "is prefix"`)
	f("n", "regex ", `"regex" wants a value`)
	f("n", "is", `write "is is"`)
	f("n", "present x", `write "is present x"`)
	f("n", "regex [", "cannot compile")
}
