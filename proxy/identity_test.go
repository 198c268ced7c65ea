package proxy

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestIdentityKey(t *testing.T) {
	all := map[string]string{}
	f := func(name string, i *Identity) {
		t.Helper()
		key := string(i.Key())
		if other, taken := all[key]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		if len(key) != 32 {
			t.Errorf("the key of %s has %d bytes", name, len(key))
		}
		all[key] = name
	}
	f("a", NewIdentity("jwt", "https://id.example", "a", nil))
	f("b", NewIdentity("jwt", "https://id.example", "b", nil))
	f("no subject", NewIdentity("jwt", "https://id.example", "", nil))
	f("other issuer", NewIdentity("jwt", "https://id2.example", "a", nil))
	f("other kind", NewIdentity("api_key", "https://id.example", "a", nil))
	f("moved boundary", NewIdentity("jwt", "https://id.examplea", "", nil))
	f("distinct", NewIdentity("jwt", "https://id.example", "a", nil, []byte("scope"), []byte("x y")))
	f("distinct, other boundary", NewIdentity("jwt", "https://id.example", "a", nil, []byte("scopex"), []byte(" y")))

	one := NewIdentity("jwt", "https://id.example", "a", []Claim{{Path: "sub", Value: []byte("a")}})
	two := NewIdentity("jwt", "https://id.example", "a", nil)
	if !bytes.Equal(one.Key(), two.Key()) {
		t.Error("the same client has two keys")
	}
	var nobody *Identity
	if nobody.Key() != nil || nobody.Claim("sub") != nil || nobody.Subject() != "" || nobody.Issuer() != "" || nobody.Kind() != "" {
		t.Error("nobody has something")
	}
	if string(one.Claim("sub")) != "a" || one.Claim("Sub") != nil || one.Subject() != "a" || one.Issuer() != "https://id.example" || one.Kind() != "jwt" {
		t.Error("the identity does not say what it was made of")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = one.Key(), one.Claim("sub") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTemplateClaims(t *testing.T) {
	p := pattern(t, "/**")
	x := sample(t, p, "/")
	defer x.Release()
	f := func(text, want string) {
		t.Helper()
		tmpl, err := ParseTemplate(text, p, false)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := string(tmpl.Append(nil, x, Raw)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	f("[$jwt.sub]", "[]")
	x.Identity = NewIdentity("jwt", "", "7", []Claim{
		{Path: "sub", Value: []byte("7")}, {Path: "realm_access", Value: []byte(`{"roles":["a"]}`), JSON: true}, {Path: "realm_access.roles", Value: []byte(`["a"]`), JSON: true}})
	f("$jwt.sub", "7")
	f("$jwt.sub.", "7.")
	f("$jwt.sub..", "7..")
	f("$jwt.sub-x", "")
	f("$jwt.sub/$jwt.sub", "7/7")
	f("$jwt.realm_access.roles", `["a"]`)
	f("$jwt.realm_access.roles.", `["a"].`)
	f("$jwt.realm_access.", `{"roles":["a"]}.`)
	f("$jwt.sub.json", "") // a claim in a claim
	f("$jwt.absent", "")
	for _, bad := range []string{"$jwt", "$jwt.", "$jwt..sub"} {
		if _, err := ParseTemplate(bad, p, false); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestIdentify: who was known stays known, in forks, too, and is gone with the exchange.
func TestIdentify(t *testing.T) {
	key, token, decision := NewIdentity("api_key", "partners", "acme", nil), NewIdentity("jwt", "", "7", nil), NewIdentity("forward_auth", "asked", "", nil)
	f := func(x *Exchange, identity *Identity, byAuthorization bool, others ...*Identity) {
		t.Helper()
		if x.Identity != identity || x.ByAuthorization != byAuthorization || !slices.Equal(x.Others(), others) {
			t.Errorf("it is %q, by Authorization: %v, beside %d others", x.Identity.Name(), x.ByAuthorization, len(x.Others()))
		}
	}
	x := Acquire()
	f(x, nil, false)
	x.Identify(key, false)
	f(x, key, false)
	x.Identify(key, false)
	f(x, key, false)
	x.IdentifyToo(decision)
	f(x, key, false, decision)
	x.Identify(token, true)
	f(x, token, true, decision, key)
	c := x.Fork()
	f(c, token, true, decision, key)
	c.Identify(decision, false)
	f(c, decision, true, decision, key, token)
	f(x, token, true, decision, key)
	c.End()
	x.Release()
	for range 10 {
		x = Acquire()
		f(x, nil, false)
		x.IdentifyToo(decision)
		f(x, decision, false)
		x.Identify(key, false)
		f(x, key, false, decision)
		x.Release()
	}
	x = Acquire()
	defer x.Release()
	if n := testing.AllocsPerRun(100, func() {
		x.others, x.Identity = x.others[:0], nil
		x.Identify(key, false)
		x.Identify(token, true)
		x.IdentifyToo(decision)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestIdentifyAlone: a policy that sets Identity by itself makes those before it be forgotten, and a cache give their answers to others.
func TestIdentifyAlone(t *testing.T) {
	sets := regexp.MustCompile(`\bx\.Identity(, [\w.]+)* = `)
	judged := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || filepath.Dir(path) == "." {
			return err
		}
		judged++
		text, err := os.ReadFile(path)
		if sets.Match(text) {
			t.Errorf("%s sets Identity: it has to call Identify", path)
		}
		return err
	})
	if err != nil || judged < 100 {
		t.Errorf("%d files were judged, %v", judged, err)
	}
}
