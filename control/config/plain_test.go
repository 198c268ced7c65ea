package config

import (
	"slices"
	"testing"
)

// TestParse_colons: an address in a list needs no quotes, wherever the list stands.
func TestParse_colons(t *testing.T) {
	// f wants the entries of a list, which is written on its own and within braces.
	f := func(list string, want ...string) {
		t.Helper()
		for _, src := range []string{"key: " + list, "{ key: " + list + " }", "{ a: { b: 1, key: " + list + ", c: { d: 2 } } }", "[{ key: " + list + " }]"} {
			r := newReport()
			n := parseYAML("test.yaml", []byte(src), r)
			if len(r.problems) > 0 {
				t.Fatalf("%s: %v", src, r.problems)
			}
			var got []string
			for _, item := range find(n).items {
				got = append(got, item.text)
				if item.kind != scalarNode {
					t.Fatalf("%s: an entry is no text: %+v", src, item)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: got %q, want %q", src, got, want)
			}
		}
	}
	f("[http://10.0.0.1:80]", "http://10.0.0.1:80")
	f("[http://10.0.0.1:80, http://10.0.0.2:8080/base]", "http://10.0.0.1:80", "http://10.0.0.2:8080/base")
	f("[ http://a:1 , b ]", "http://a:1", "b")
	f("[127.0.0.1:80, unix:/run/x.sock, :443]", "127.0.0.1:80", "unix:/run/x.sock", ":443")
	f("[fd00::/8, ::1, ::/0, 2001:db8:0:1::2/64]", "fd00::/8", "::1", "::/0", "2001:db8:0:1::2/64")
	f(`["http://a:1", 'b:2', a:1:2:3]`, "http://a:1", "b:2", "a:1:2:3")
}

// TestParse_pairs: what is a mapping in a list stays one.
func TestParse_pairs(t *testing.T) {
	f := func(src string) {
		t.Helper()
		r := newReport()
		n := parseYAML("test.yaml", []byte(src), r)
		if len(r.problems) > 0 {
			t.Fatalf("%s: %v", src, r.problems)
		}
		items := find(n).items
		if len(items) != 1 || len(items[0].entries) != 1 || items[0].entries[0].key != "a" || items[0].entries[0].value.text != "1" {
			t.Fatalf("%s: got %+v", src, items)
		}
	}
	f("key: [{ a: 1 }]")
	f("key: [a: 1]")
	f(`key: [{"a":1}]`)
	f(`key: ["a": 1]`)
	f("{ key: [{ a: 1 }] }")
	f("{ key: [a: 1] }")
	f(`{ key: ["a":1] }`)
}

// find returns what stands at the key named key.
func find(n *node) *node {
	for _, e := range n.entries {
		if e.key == "key" {
			return e.value
		}
		if found := find(e.value); found != nil {
			return found
		}
	}
	for _, item := range n.items {
		if found := find(item); found != nil {
			return found
		}
	}
	return nil
}
