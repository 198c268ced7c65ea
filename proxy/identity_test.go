package proxy

import (
	"bytes"
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
	f("apart", NewIdentity("jwt", "https://id.example", "a", nil).Apart([]byte("x")))
	f("apart by something else", NewIdentity("jwt", "https://id.example", "a", nil).Apart([]byte("y")))
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
