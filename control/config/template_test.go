package config

import (
	"slices"
	"strings"
	"testing"
)

// pieces writes a split template as text: variables in < >.
func pieces(parts []Piece) string {
	var b strings.Builder
	for _, p := range parts {
		if p.Variable != "" {
			b.WriteString("<" + p.Variable + ">")
			continue
		}
		b.WriteString("[" + p.Literal + "]")
	}
	return b.String()
}

func TestSplitTemplate(t *testing.T) {
	f := func(text string, braces bool, want string) {
		t.Helper()
		parts, err := SplitTemplate(text, braces)
		if err != nil {
			t.Errorf("SplitTemplate(%q): %v", text, err)
			return
		}
		if got := pieces(parts); got != want {
			t.Errorf("SplitTemplate(%q) is %s, want %s", text, got, want)
		}
	}
	f("", false, "")
	f("plain", false, "[plain]")
	f("$route", false, "<route>")
	f("/x/$path.id/y", false, "[/x/]<path.id>[/y]")
	f("$header.X-Kind", false, "<header.X-Kind>")
	f("$query.a_b.c", false, "<query.a_b>[.c]")
	f("$client.ip:$client.port", false, "<client.ip>[:]<client.port>")
	f("$request.id-1", false, "<request.id>[-1]")
	f("on $route.", false, "[on ]<route>[.]")
	f("$client.ip.", false, "<client.ip>[.]")
	f("$$5 $$$route", false, "[$5 $]<route>")
	f("/x/$1/$23", false, "[/x/]<1>[/]<23>")
	f("$jwt.sub", false, "<jwt.sub>")
	f("$jwt.realm_access.roles.", false, "<jwt.realm_access.roles>[.]")
	f("$jwt.sub..", false, "<jwt.sub>[..]")
	f("$jwt..sub", false, "<jwt>[..sub]")
	f("$consumer.plan.", false, "<consumer.plan>[.]")
	f("$consumer.group.x", false, "<consumer.group>[.x]")
	f("by $consumer. End", false, "[by ]<consumer>[. End]")
	f("/find/{kind}", true, "[/find/]<path.kind>")
	f("/find/{kind}x", true, "[/find/]<path.kind>[x]")
	f("/find/{kind}", false, "[/find/{kind}]")

	bad := func(text string, braces bool) {
		t.Helper()
		if parts, err := SplitTemplate(text, braces); err == nil {
			t.Errorf("SplitTemplate(%q) is %s, want an error", text, pieces(parts))
		}
	}
	bad("5$", false)
	bad("$", false)
	bad("$-", false)
	bad("$Route", false)
	bad("/{a", true)
	bad("/{}", true)
	bad("/{a-b}", true)
}

// TestVariablesAreSplit keeps the list of variables and the grammar together.
func TestVariablesAreSplit(t *testing.T) {
	for _, v := range Variables {
		name := v.Name
		if strings.HasSuffix(name, ".") {
			name += "Name-1_x"
		}
		parts, err := SplitTemplate("a$"+name+" b", false)
		if want := []Piece{{Literal: "a"}, {Variable: name}, {Literal: " b"}}; err != nil || !slices.Equal(parts, want) {
			t.Errorf("$%s splits into %s, %v", name, pieces(parts), err)
		}
	}
}

func TestSubstitutionInTemplates(t *testing.T) {
	f := func(value, written, want string) {
		t.Helper()
		src := contract + "  t: { match: /t, to: origin, rewrite: { headers: { set: { X: \"" + written + "\" } } } }\n"
		c := mustParse(t, src, env(map[string]string{"V": value}))
		r, _ := c.Routes.Get("t")
		if got := r.Rewrite.Headers.Set[0].Value.Text; got != want {
			t.Errorf("%s with V=%s is %q, want %q", written, value, got, want)
		}
	}
	f("plain", "a ${V} b", "a plain b")
	f("pa$$word", "Bearer ${V}", "Bearer pa$$$$word") // a dollar in a variable is a dollar
	f("$route", "${V} $route", "$$route $route")
	f("", "${V}x", "x")
	f("x", "$$${V}", "$${V}") // a dollar, then the escaped ${
}
