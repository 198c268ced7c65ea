package proxy

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	names := NewNames(map[string]*Way{
		"db.shop.example":     {Service: "db"},
		"*.shop.example":      {Service: "shop"},
		"*.very.shop.example": {Service: "very"},
		"Upper.Example":       {Service: "upper"},
		"*.local":             {Service: "local"},
	})
	f := func(name, want string) {
		t.Helper()
		got := ""
		if way := names.Find(name); way != nil {
			got = way.Service
		}
		if got != want {
			t.Errorf("%q goes to %q, want %q", name, got, want)
		}
	}
	f("db.shop.example", "db")
	f("x.db.shop.example", "shop")
	f("a.shop.example", "shop")
	f("a.b.shop.example", "shop")
	f("a_b-1.shop.example", "shop")
	f("a.very.shop.example", "very")
	f("very.shop.example", "shop")
	f("upper.example", "upper")
	f("a.local", "local")

	f("", "")
	f("shop.example", "")
	f("local", "")
	f(".local", "")
	f("a..local", "")
	f("a.local.", "")
	f("evilshop.example", "")
	f("a b.local", "")
	f("a\x00.local", "")
	f("a\n.shop.example", "")
	f("*.local", "")
	f(strings.Repeat("a.", 125)+"local", "")
}

func TestNamesSame(t *testing.T) {
	f := func(a, b *Names, want bool) {
		t.Helper()
		if a.Same(b) != want || b.Same(a) != want {
			t.Errorf("the same is %t, want %t", !want, want)
		}
	}
	one, two := &Way{Service: "one"}, &Way{Service: "two"}
	a := NewNames(map[string]*Way{"a": one, "*.b": one})
	f(a, a, true)
	f(a, NewNames(map[string]*Way{"A": two, "*.b": one}), true)
	f(a, NewNames(map[string]*Way{"a": one}), false)
	f(a, NewNames(map[string]*Way{"a": one, "b": one}), false)
	f(a, NewNames(map[string]*Way{"a": one, "*.c": one}), false)
	f(a, nil, false)
	f(nil, nil, true)
}
