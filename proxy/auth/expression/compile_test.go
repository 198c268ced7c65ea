package expression

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"

	"sluice/proxy"
)

// TestMistakes: what is wrong with an expression is said when it is read.
func TestMistakes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "container") {
			t.Errorf("%.60s: got %v, want %q", text, err, want)
		}
	}
	f(``, "mismatched input '<EOF>'")
	f(`request.metod == "GET"`, "column 8: undeclared reference to 'request.metod' (did you mean 'request.method'?)")
	f(`request.method = "GET"`, "column 16: ")
	f("true &&\n  request.method == 5", "line 2, column 18: found no matching overload for '_==_' applied to '(string, int)'")
	f(`request.method`, "is of the type string, and has to be true or false")
	f(`claims.admin`, "of a type that only a request knows")
	f(`request.headers.accept.exists(a, a)`, "column ")
	f(`unknown(client.ip)`, "undeclared reference to 'unknown'")
	f(`request.path.matches(request.query.q)`, "column 21: the regular expression of matches has to stand there")
	f(`matches(request.path, request.path)`, "has to stand there")
	f(`request.path.matches("(")`, "error parsing regexp")
	f(`request.path.matches("(a{100}){100}")`, "")
	f(`inNetwork(client.ip, request.query.q)`, "the networks of inNetwork have to stand there")
	f(`inNetwork(client.ip, ["10.0.0.0/8", client.ip])`, "the networks of inNetwork have to stand there")
	f(`inNetwork(client.ip, "10.0.0.0/33")`, `"10.0.0.0/33" is no network`)
	f("true &&\n inNetwork(client.ip, [\"10.0.0.0/8\", \"a\"])", `line 2, column 11: "a" is no network`)
	f(`inNetwork(client.ip, ["10.0.0.0/8"`+strings.Repeat(`, "10.0.0.0/8"`, networkMax)+`])`, "more than 100 networks")
	f(strings.Repeat(" ", textMax)+"true", "more than 4096")
	f(strings.Repeat("[", 200)+strings.Repeat("]", 200)+" == 1", "recursion")
	f(strings.Repeat("(", 200)+"true"+strings.Repeat(")", 200), "recursion")
	f("true"+strings.Repeat(" && true", 400), "")
}

func TestLook(t *testing.T) {
	f := func(text, names, params string, loops bool) {
		t.Helper()
		p := compiled(t, text)
		if got := strings.Join(p.names, " "); got != names || strings.Join(p.params, " ") != params || p.loops != loops {
			t.Errorf("%s: it asks for %q, %q, loops: %v", text, got, p.params, p.loops)
		}
	}
	f(`true`, "", "", false)
	f(`request.method == "GET" || "admin" in claims.roles`, "claims request.method", "", false)
	f(`request.params.a == request.params["b"] && consumer.plan == "gold"`, "consumer.plan request.params", "a b", false)
	f(`claims.roles.all(r, r == route)`, "claims route", "", true)
	p := compiled(t, `consumer.plan == "gold"`)
	if !p.Uses("consumer.") || !p.Uses("consumer.plan") || p.Uses("consumer.name") || p.Uses("claims") {
		t.Error("it is said to use something else")
	}
	if names := Variables(); !slices.Contains(names, "request.params") || len(names) != len(variables) {
		t.Error(names)
	}
}

// FuzzCompile: whatever somebody writes, compiling ends, and so does what was compiled.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		`request.method == "GET" || "admin" in claims.roles`, `request.path.matches("^/a/[0-9]+$")`, `inNetwork(client.ip, ["10.0.0.0/8"])`,
		`[1,2,3].all(a, [1,2,3].exists(b, a == b))`, `{"a": [1u, 2.5, b"x", null]}.a[0] == 1u`, `now - duration("1h") < timestamp("2026-01-01T00:00:00Z")`,
		`request.headers.exists_one(h, request.headers[h].size() > 5)`, `"\u00e9".contains('e') ? true : 1 / 0 == 1`, `request.cookies.map(c, c)[9223372036854775807] == "a"`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Compile(text)
		if err != nil {
			if p != nil || err.Error() == "" {
				t.Errorf("%q: %v, %v", text, p, err)
			}
			return
		}
		_ = New(p, new(Counts)).Check(example(t))
	})
}

// FuzzRequest: whatever comes, an evaluation ends in a yes or in a no.
func FuzzRequest(f *testing.F) {
	var programs []*Program
	for _, text := range []string{
		`request.path.matches("^/([a-z]+/?)*$")`, `request.headers["x"] == request.query.x`, `request.query.all(a, request.query[a] != "")`,
		`request.cookies.exists(c, request.cookies[c] == request.headers["x"])`, `claims.a.b[0].c > 1 || claims.exists(c, claims[c] == 1)`, `"x" in claims.a`,
		`int(request.headers["x"]) > 1 || timestamp(request.query.x) > now`, `inNetwork(request.headers["x"], "10.0.0.0/8")`, `"a" in consumer.scopes`,
	} {
		programs = append(programs, compiled(f, text))
	}
	f.Add("/a/b", "x=1&x=%zz&%", "a=1; a ; =", "x", "1", "[1]")
	f.Add("/", "", "", "X", "\xff\xfe", `{"b":[{"c":1e400}]}`)
	f.Fuzz(func(t *testing.T, path, query, cookie, name, value, claim string) {
		x := example(t)
		x.Request.Path, x.Request.Query = []byte(path), []byte(query)
		x.Request.Head.SetString("Cookie", cookie)
		if name != "" && !strings.ContainsAny(name, ": \r\n") {
			x.Request.Head.AddString(name, value)
		}
		x.Identity = proxy.NewIdentity("jwt", "", "", []proxy.Claim{{Path: "a", Value: []byte(claim), JSON: true}, {Path: "scope", Value: []byte(claim), JSON: true}})
		for _, p := range programs {
			switch err := New(p, new(Counts)).Check(x); err {
			case nil, ErrRefused, errMissing, errRepeats, errKind, errCost, errFailed:
			default:
				t.Errorf("%s: %v", p.text, fmt.Sprint(err))
			}
		}
	})
}

// FuzzList: a list that is only looked through holds what the same list holds that was taken apart.
func FuzzList(f *testing.F) {
	for _, text := range []string{`["a","b"]`, `[]`, ` [ "a" , ["b"], {"c":"d"} , 1, null ] `, `["\\u0061"]`, `["é", ""]`, `[{"a":["b"]},"["]`} {
		for _, v := range []string{"a", "b", "d", "", "é", "["} {
			f.Add(text, v)
		}
	}
	f.Fuzz(func(t *testing.T, text, v string) {
		l, ok := valueOf([]byte(text)).(*list)
		if !ok || !utf8.ValidString(text) || !utf8.ValidString(v) {
			return
		}
		if got, want := l.Contains(types.String(v)), l.whole().Contains(types.String(v)); got != want {
			t.Errorf("%q in %s: %v, want %v", v, text, got, want)
		}
	})
}
