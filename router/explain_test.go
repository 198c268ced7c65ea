package router

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	table := mustNew(t, []Route[string]{
		parseRoute(t, "/**"),
		parseRoute(t, "GET /x"),
		parseRoute(t, "/x & header X-Canary: present & query v: 2"),
		parseRoute(t, "POST /x & header X-Canary: absent"),
		parseRoute(t, "*.a.test/{name}"),
		parseRoute(t, "b.test/x"),
	})
	f := func(line string, values map[string]string, want ...string) {
		t.Helper()
		method, target, _ := strings.Cut(line, " ")
		host, path, _ := strings.Cut(target, "/")
		r := Request{Method: []byte(method), Host: []byte(host), Path: []byte("/" + path), Values: &testValues{values: values}}
		var got []string
		taken := ""
		for _, c := range table.Explain(&r) {
			got = append(got, c.Pattern+" > "+c.Why)
			if c.Taken {
				taken += c.Route
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%s: got\n%s\nwant\n%s", line, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if found, _ := table.Lookup(&r, &Match{}); found != taken {
			t.Fatalf("%s: Lookup finds %q, Explain %q", line, found, taken)
		}
	}
	const canary = "/x [header X-Canary: present, query v: 2]"
	const post = "POST /x [header X-Canary: absent]"
	f("GET /x", nil,
		canary+" > header X-Canary is absent; query v is absent, wants 2",
		post+" > method is GET, wants POST",
		"GET /x > taken",
		"/** > less specific than GET /x")
	f("HEAD a.a.test/x", map[string]string{"header X-Canary": "", "query v": "1"},
		"*.a.test/{name} > taken",
		canary+` > query v is "1", wants 2`,
		post+" > method is HEAD, wants POST; header X-Canary is present, wants it absent",
		"GET /x > less specific than *.a.test/{name}",
		"/** > less specific than *.a.test/{name}")
	f("HEAD /x", map[string]string{"header X-Canary": "1"},
		canary+" > query v is absent, wants 2",
		post+" > method is HEAD, wants POST; header X-Canary is present, wants it absent",
		"GET /x > taken: a route for GET answers HEAD",
		"/** > less specific than GET /x")
	f("DELETE b.test/y", nil, "/** > taken")
	f("DELETE /", nil, "/** > taken")

	if got := table.Explain(&Request{Method: []byte("OPTIONS"), Path: []byte("*")}); got != nil {
		t.Fatalf("*: got %+v", got)
	}
}
