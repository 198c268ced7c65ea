package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestNew_conflict(t *testing.T) {
	// f wants the second route to conflict with the first, or not if want is empty,
	// whichever comes first.
	f := func(one, other string, want string) {
		t.Helper()
		for range 2 {
			routes := []Route[string]{parseRoute(t, one), parseRoute(t, other)}
			table, problems := New(routes)
			if want == "" {
				if len(problems) > 0 || table == nil {
					t.Fatalf("%s, %s: unexpected problem %+v", one, other, problems)
				}
			} else {
				if len(problems) != 1 || table != nil {
					t.Fatalf("%s, %s: got %+v, want a conflict", one, other, problems)
				}
				p := problems[0]
				if p.Kind != Conflict || p.Index != 1 || p.Route != routes[1].Name || p.Other != routes[0].Name || !strings.Contains(p.Message, want) {
					t.Fatalf("%s, %s: got %+v", one, other, p)
				}
			}
			one, other = other, one
		}
	}
	const same, tie, regexes = "take the same requests", "as many predicates", "may match the same segment"
	f("/a", "/a", same)
	f("/a", "/b", "")
	f("/a", "/a/", "")
	f("/a/{x}", "/a/{y}", same)
	f("/a/{x:[0-9]+}", "/a/{y:[0-9]+}", same)
	f("/a/{x}.json", "/a/{y}.json", same)
	f("/a/**", "/a/**", same)
	f("/a/**", "/a", "")
	f("/%7ea", "/~a", same)
	f("a.test/x", "A.test/x", same)
	f("a.test/x", "b.test/x", "")
	f("*.a.test/x", "a.test/x", "")
	f("*.b.a.test/x", "*.a.test/x", "")

	f("GET /a", "GET /a", same)
	f("GET /a", "POST /a", "")
	f("GET /a", "HEAD /a", "")
	f("GET /a", "/a", "")
	f("GET|POST /a", "POST|PUT /a", tie)
	f("GET|POST /a", "PUT|PATCH /a", "")

	f("/a & header X: 1", "/a & header x: 1", same)
	f("/a & header X: 1", "/a & header X: 2", "")
	f("/a & header X: 1", "/a & header Y: 2", tie)
	f("/a & header X: 1", "/a & query X: 2", tie)
	f("/a & header X: 1", "/a & header X: 2 & header Y: 2", "")
	f("/a & header X: 1", "/a & header X: present", tie)
	f("/a & header X: present", "/a & header X: absent", "")
	f("/a & header X: 1", "/a & header X: absent", "")
	f("/a & header X: absent", "/a & header X: absent", same)
	f("/a & header X: prefix ab", "/a & header X: prefix ac", "")
	f("/a & header X: prefix ab", "/a & header X: prefix a", tie)
	f("/a & header X: prefix ab", "/a & header X: abc", tie)
	f("/a & header X: prefix ab", "/a & header X: ac", "")
	f("/a & header X: regex b", "/a & header X: abc", tie)
	f("/a & header X: regex ^b", "/a & header X: abc", "")
	f("/a & header X: regex ^b", "/a & header X: regex ^c", tie) // true, but not proven
	f("/a & cookie c: 1 & json t: x", "/a & cookie c: 1 & json t: y", "")
	f("GET /a & header X: 1", "/a & header X: 1 & header Y: 1", tie)
	f("GET /a & header X: 1", "POST /a & header X: 1", "")
	f("GET /a", "/a & header X: 1", tie)

	f("/a/{x:[0-9]+}", "/a/{y:\\d+}", regexes)
	f("/a/{x:[0-9]+}", "/a/{y:[a-z]+}", "")
	f("/a/{x:[0-9]+}", "/a/{y:[a-f0-9]{8}}", regexes)
	f("/a/{x:[0-9]{4}}", "/a/{y:[0-9]{6}}", "")
	f("/a/v{x:[0-9]+}", "/a/{y:[0-9]+}", "")
	f("/a/{x:[0-9]+}.json", "/a/{y:\\d+}.json", regexes)
	f("/a/{x:[0-9]+}.json", "/a/{y:\\d+}.xml", "")
	f("/a/{x:[0-9]+}/b", "/a/{y:\\d+}/c", "")
	f("/a/{x:[0-9]+}/b", "/a/{y:\\d+}/{z}", regexes)
	f("/a/{x:[0-9]+}/b", "/a/{y:\\d+}/**", regexes)
	f("/a/{x:[0-9]+}", "/a/{y:\\d+}/**", regexes)
	f("/a/{x:[0-9]+}/b/c", "/a/{y:\\d+}/{z}", "")
	f("/a/{x:[0-9]+}/b{z}", "/a/{y:\\d+}/c{z}", "")
	f("/a/{x:[0-9]+}/{z}b", "/a/{y:\\d+}/{z}c", "")
	f("/a/{x:[0-9]+}/{z:a+}", "/a/{y:\\d+}/{z:b+}", "")
	f("/a/{x:[0-9]+}/{z:a+}", "/a/{y:\\d+}/b", "")
	f("/a/{x:[0-9]+}/{z:a+}", "/a/{y:\\d+}/aa", regexes)
	f("GET /a/{x:[0-9]+}", "POST /a/{y:\\d+}", "")
	f("GET /a/{x:[0-9]+}", "HEAD /a/{y:\\d+}", regexes)
	f("/a/{x:[0-9]+} & header X: 1", "/a/{y:\\d+} & header X: 2", "")
	f("/a/{x:[0-9]+} & header X: 1", "/a/{y:\\d+}", regexes)
}

func TestNew_shadowed(t *testing.T) {
	f := func(one, other string, want bool) {
		t.Helper()
		routes := []Route[string]{parseRoute(t, one), parseRoute(t, other)}
		table, problems := New(routes)
		if table == nil {
			t.Fatalf("%s, %s: %+v", one, other, problems)
		}
		if want != (len(problems) == 1) {
			t.Fatalf("%s, %s: got %+v, want shadowed: %v", one, other, problems, want)
		}
		if want && (problems[0].Kind != Shadowed || problems[0].Route != other || problems[0].Other != one) {
			t.Fatalf("%s, %s: got %+v", one, other, problems[0])
		}
	}
	f("/a/{x:.+}", "/a/{y}", true)
	f("/a/{x:.*}", "GET /a/{y}", true)
	f("/a/{x:([^/]+)}", "/a/{y}", true)
	f("GET /a/{x:.+}", "HEAD /a/{y}", true)
	f("/a/{x:.+}/{y}", "/a/{x}/{y}", true)
	f("/a/{x:.+} & header X: present", "/a/{y} & header X: 1", true)
	f("/a/{x:.+} & header X: prefix a", "/a/{y} & header X: ab & header Y: 1", true)
	f("/a/{x:.+} & header X: regex b", "/a/{y} & header X: ab", true)
	f("/a/{x:.+}.json", "/a/{y}.json", true)

	f("/a/{x:..+}", "/a/{y}", false)
	f("/a/{x:[^a]+}", "/a/{y}", false)
	f("/a/{x:.+}", "/a/{y}.json", false)
	f("GET /a/{x:.+}", "/a/{y}", false)
	f("POST /a/{x:.+}", "HEAD /a/{y}", false)
	f("/a/{x:.+} & header X: 1", "/a/{y} & header X: present", false)
	f("/a/{x:.+} & header X: present", "/a/{y}", false)
	f("/a/{x:.+} & header X: prefix ab", "/a/{y} & header X: prefix a", false)
	f("/a/{x:.+}/{y:.+}", "/a/{x}/z", false) // true, but not proven
	f("/a/me", "/a/{x}", false)
	f("a.test/{x:.+}", "/{x}", false)

	table, problems := New([]Route[string]{parseRoute(t, "/{x:a/b}")})
	if table == nil || len(problems) != 1 || problems[0].Kind != Shadowed || problems[0].Other != "" {
		t.Fatalf("a regex that matches no segment: got %+v", problems)
	}
}

func TestNew_invalid(t *testing.T) {
	f := func(want string, routes ...Route[string]) {
		t.Helper()
		table, problems := New(routes)
		if table != nil || len(problems) == 0 || problems[0].Kind != Invalid || !strings.Contains(problems[0].Message, want) {
			t.Fatalf("got %+v, want %q", problems, want)
		}
	}
	route := func(change func(*Pattern)) Route[string] {
		p := Pattern{Path: "/x"}
		change(&p)
		return Route[string]{Name: "x", Pattern: p}
	}
	f("begin with", route(func(p *Pattern) { p.Path = "" }))
	f("upper case", route(func(p *Pattern) { p.Methods = []string{"get"} }))
	f("no port", route(func(p *Pattern) { p.Host = "a:80" }))
	f("header a predicate has no name", route(func(p *Pattern) { p.Headers = []Predicate{{Op: OpPresent}} }))
	f("no field name has", route(func(p *Pattern) { p.Headers = []Predicate{{Name: "a b", Op: OpPresent}} }))
	f("cannot compile", route(func(p *Pattern) { p.JSON = []Predicate{{Name: "a", Op: OpRegex, Value: "("}} }))
	f("empty prefix", route(func(p *Pattern) { p.Query = []Predicate{{Name: "a", Op: OpPrefix}} }))
	f("no meaning", route(func(p *Pattern) { p.Query = []Predicate{{Name: "a", Op: OpAbsent, Value: "x"}} }))
	f("unknown operation", route(func(p *Pattern) { p.Query = []Predicate{{Name: "a", Op: 99}} }))
	f("two predicates", route(func(p *Pattern) {
		p.Headers = []Predicate{{Name: "x-a", Op: OpPresent}, {Name: "B"}, {Name: "X-A", Value: "1"}}
	}))

	var many []Route[string]
	for i := range maxMethods {
		many = append(many, parseRoute(t, fmt.Sprintf("M%d /x", i)))
	}
	f("one too many", many...)
	many = many[:maxMethods-len(usualMethods)]
	if table, problems := New(many); table == nil {
		t.Fatalf("%d methods: %+v", len(many), problems)
	}

	many = nil
	for i := range maxParametersPerPlace + 1 {
		many = append(many, parseRoute(t, fmt.Sprintf("/{x}.%d", i)))
	}
	f("different parameters begin", many...)
	mustNew(t, many[1:])

	many = nil
	for i := range maxRoutesPerPath + 1 {
		many = append(many, parseRoute(t, fmt.Sprintf("/ & header Tenant: t%d", i)))
	}
	f("share this path", many...)
	mustNew(t, many[1:])
}

// The last method has the highest bit; it must not be taken for another one.
func TestNew_manyMethods(t *testing.T) {
	var patterns []string
	for i := range maxMethods - len(usualMethods) {
		patterns = append(patterns, fmt.Sprintf("Z%d /x", i))
	}
	table := mustTable(t, patterns...)
	f := func(method string, want Outcome) {
		t.Helper()
		if _, got := table.Lookup(&Request{Method: []byte(method), Path: []byte("/x")}, &Match{}); got != want {
			t.Fatalf("%s: got %v, want %v", method, got, want)
		}
	}
	for i := range patterns {
		f(fmt.Sprintf("Z%d", i), Found)
	}
	f("GET", MethodNotAllowed)
	f("HEAD", MethodNotAllowed)
	f("Z", MethodNotAllowed)
}

func TestNew_ordersAndCapsProblems(t *testing.T) {
	patterns := []string{"/{x:.+}", "/{y}", "/a", "/b", "/a", "c.test/x", "c.test/x"}
	_, problems := New(mustRoutes(t, patterns...))
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprint(p.Kind, p.Index))
	}
	// Warnings are of no use while there are errors.
	if want := []string{"conflict 4", "conflict 6"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}

	if _, problems = New(mustRoutes(t, slices.Repeat([]string{"/a"}, 500)...)); len(problems) != maxProblems {
		t.Fatalf("%d problems", len(problems))
	}
}

// New must not touch what it is given: the configuration prints it again.
func TestNew_leavesPatternsAlone(t *testing.T) {
	p := Pattern{
		Methods: []string{"POST", "GET"},
		Path:    "/%7e",
		Headers: []Predicate{{Name: "x-b", Op: OpPresent}, {Name: "x-a", Op: OpPresent}},
	}
	mustNew(t, []Route[string]{{Pattern: p}})
	if p.Methods[0] != "POST" || p.Path != "/%7e" || p.Headers[0].Name != "x-b" {
		t.Fatalf("changed to %+v", p)
	}
}

func TestSegmentRegex_overlaps(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		r, err := newSegmentRegex(a)
		if err != nil {
			t.Fatal(err)
		}
		q, err := newSegmentRegex(b)
		if err != nil {
			t.Fatal(err)
		}
		if r.overlaps(q) != want || q.overlaps(r) != want {
			t.Fatalf("%s, %s: got %v, %v, want %v", a, b, r.overlaps(q), q.overlaps(r), want)
		}
	}
	f("a", "a", true)
	f("a", "b", false)
	f("a*", "b*", false) // both match only the empty segment
	f("a*", "a?", true)
	f("(?i)abc", "ABC", true)
	f("(?i)k", "\u212a", true)
	f("abc", "ABC", false)
	f("a|b|c", "[c-z]", true)
	f("a|b|c", "[d-z]", false)
	f("(ab)+", "(abab)+", true)
	f("(ab)+", "(aba)+", false)
	f(".*x", ".*y", false)
	f("x.*", ".*y", true)
	f("[0-9a-f]{8}", "[0-9]{7}", false)
	f("[^a]+", "a+", false)
	f("[./]", "[/0]", false) // a slash is in no segment
	f("[.-0]", "[/0]", true)
	f("\\Qa+", "a\\+", true)
	f("a^b", "ab", true) // not proven
	f("[a-z]{1000}", "[a-z]{999}", false)
}

// parseRoute reads "pattern & predicate & predicate".
func parseRoute(t testing.TB, s string) Route[string] {
	t.Helper()
	parts := strings.Split(s, " & ")
	return withPredicates(t, parts[0], parts[1:]...)
}
