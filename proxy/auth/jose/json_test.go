package jose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestSetUnchanged tries that reading a set leaves its text as it was: it is read again, for each route that wants it.
func TestSetUnchanged(t *testing.T) {
	text := must(json.Marshal(map[string]any{"keys": []any{jwk(private()["P-256"]), jwk(private()["Ed25519"])}}))
	before := bytes.Clone(text)
	for range 2 {
		if set, err := ParseSet(text); err != nil || set.Len() != 2 || !bytes.Equal(text, before) {
			t.Fatalf("got %v, %v, of %s", set, err, text)
		}
	}
}

func TestParseObject(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		values, err := parseObject([]byte(text))
		var got []string
		for _, v := range values {
			got = append(got, fmt.Sprintf("%s:%d=%s", v.Path, v.Kind, v.Text))
		}
		if s := strings.Join(got, " "); err != nil || s != want {
			t.Errorf("%s: got %s, %v", text, s, err)
		}
	}
	f(`{}`, "")
	f(` { "a" : "b" } `, "a:0=b")
	f(`{"a":1,"b":-1.5e3,"c":true,"d":false,"e":null,"f":""}`, "a:1=1 b:1=-1.5e3 c:2=true d:2=false f:0=")
	f(`{"a":{"b":{"c":"x"}},"d":2}`, `a:4={"b":{"c":"x"}} a.b:4={"c":"x"} a.b.c:0=x d:1=2`)
	f(`{"a": [1, {"b":2}, [3]] ,"c":"d"}`, `a:3=[1, {"b":2}, [3]] c:0=d`)
	f(`{"":1,"a":{"":2}}`, `:1=1 a:4={"":2} a.:1=2`)
	f(`{"a":"\u00e9\n\"","b":"é"}`, "a:0=é\n\" b:0=é")
	f(`{"http://a.example/b":1}`, "http://a.example/b:1=1")
}

func TestList(t *testing.T) {
	f := func(aud string, n int, has bool) {
		t.Helper()
		values, err := ParseObject([]byte(`{` + aud + `}`))
		if err != nil {
			t.Fatal(err)
		}
		list := values.Get("aud").List()
		if len(list) != n || list.HasString("a", "b") != has {
			t.Errorf("%s: %d elements, %t", aud, len(list), list.HasString("a", "b"))
		}
	}
	f(``, 0, false)
	f(`"aud":"a"`, 1, true)
	f(`"aud":"c"`, 1, false)
	f(`"aud":["c","b"]`, 2, true)
	f(`"aud":["c",1,{"a":"a"},["a"]]`, 4, false)
	f(`"aud":[]`, 0, false)
	f(`"aud":1`, 1, false)
	f(`"aud":true`, 1, false)
}

func TestElements(t *testing.T) {
	values, err := parseObject([]byte(`{"a":["x",1,true,null,{"b":1},["y"]],"b":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range values.Get("a").Elements() {
		got = append(got, fmt.Sprintf("%d=%s", e.Kind, e.Text))
	}
	if s := strings.Join(got, " "); s != `0=x 1=1 2=true 4={"b":1} 3=["y"]` {
		t.Errorf("got %s", s)
	}
	if values.Get("b").Elements() != nil || values.Get("c").Elements() != nil {
		t.Error("what is no list has elements")
	}
}
