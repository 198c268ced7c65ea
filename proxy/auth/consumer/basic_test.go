package consumer

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestBasic(t *testing.T) {
	group := partners(t, nil)
	passwords := NewPasswords()
	f := func(r Requirement, fields []string, want error, subject string) {
		t.Helper()
		g, err := NewBasic(BasicOptions{Group: group, Passwords: passwords, Require: r})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time some are remembered
			x := request(t, "", fields...)
			if got := g.Check(x); got != want {
				t.Errorf("%q: got %v, want %v", fields, got, want)
			}
			if got := x.Identity.Subject(); got != subject {
				t.Errorf("%q: the client is %q, want %q", fields, got, subject)
			}
			x.Release()
		}
	}
	show := func(value, subject string, want error) {
		t.Helper()
		f(Requirement{}, []string{"Authorization", value}, want, subject)
	}
	show(basic("anne", "first"), "anne", nil)
	show(basic("anne", "second"), "anne", nil)
	show(basic("bob", "random"), "bob", nil)
	show(basic("bob", "thought-up"), "bob", nil)
	show("bASIC   "+strings.TrimPrefix(basic("bob", "random"), "Basic "), "bob", nil)
	show(basic("anne", "gone"), "", errPasswordExpired)
	for _, wrong := range []string{
		basic("anne", "third"), basic("anne", ""), basic("anne", "first\x00"), basic("Anne", "first"), basic("bob", "first"), basic("nobody", "first"),
		basic("acme", "sk_acme_new"), basic("", ""), basic("anne:first", ""), "Basic", "Basic ", "Basic !", "Basic YW5uZTpmaXJzdA", "Basic YW5uZTpmaXJzdB==",
		"Basic YW5uZTpmaXJzdA== x", "Basic " + base64.StdEncoding.EncodeToString([]byte("anne")),
		basic("anne", strings.Repeat("x", basicBytesMax)), basic("anne", strings.Repeat("x", 700)),
	} {
		show(wrong, "", ErrPassword)
	}
	show("Bearer abc", "", ErrNoPassword)
	show("Basically no", "", ErrNoPassword)
	f(Requirement{}, nil, ErrNoPassword, "")
	f(Requirement{}, []string{"Authorization", basic("anne", "first"), "Authorization", basic("anne", "second")}, ErrPasswords, "")
	f(Requirement{}, []string{"Authorization", basic("anne", "first"), "Authorization", basic("anne", "first")}, nil, "anne")
	f(Requirement{Scopes: [][]string{{"orders.read"}}}, []string{"Authorization", basic("anne", "first")}, nil, "anne")
	f(Requirement{Scopes: [][]string{{"orders.write"}}}, []string{"Authorization", basic("anne", "first")}, ErrInsufficient, "anne")
}

func TestBasicIsStripped(t *testing.T) {
	group := partners(t, nil)
	f := func(keep bool, value string, want bool) {
		t.Helper()
		g, err := NewBasic(BasicOptions{Group: group, Passwords: NewPasswords(), Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		x := request(t, "", "Authorization", value)
		defer x.Release()
		_ = g.Check(x) // what becomes of it is tried elsewhere
		if got := x.Request.Head.Has("Authorization"); got != want {
			t.Errorf("%s: the service gets it: %v, want %v", value, got, want)
		}
	}
	f(false, basic("bob", "random"), false)
	f(false, basic("bob", "wrong"), false)
	f(true, basic("bob", "random"), true)
	f(false, "Bearer abc", true)
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []string{basic("anne", "first"), "Basic", "Basic !", "basic  Og==", "Bearer x", basic("a", strings.Repeat("b", 800))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		credentials, ok := basicCredentials([]byte(value))
		if !ok {
			return
		}
		name, password, ok := parseBasic(nil, credentials)
		if !ok {
			return
		}
		if strings.ContainsAny(string(name), ":\r\n\x00") || strings.ContainsAny(string(password), "\r\n\x00") {
			t.Errorf("%q is %q and %q", value, name, password)
		}
		// It is the only way to write them.
		if got := base64.StdEncoding.EncodeToString([]byte(string(name) + ":" + string(password))); got != string(credentials) {
			t.Errorf("%q is read, and %q is written", credentials, got)
		}
	})
}

// FuzzKey throws queries and cookies at a guard: the key that it finds is gone from what goes on.
func FuzzKey(f *testing.F) {
	f.Add("key=sk_acme_new&a=b", "key=sk_acme_new; a=b", "sk_acme_new")
	f.Add("k%65y=1&key&=&&", `key="";;key=2`, "")
	group := partners(f, nil)
	g, err := NewAPIKey(KeyOptions{Group: group, Header: "X-Api-Key", Query: "key", Cookie: "key", Pepper: pepper})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, cookie, field string) {
		x := request(t, query, "Cookie", cookie, "X-Api-Key", field)
		defer x.Release()
		if err := g.Check(x); (err == nil) != (x.Identity != nil) {
			t.Errorf("got %v, and the client is %q", err, x.Identity.Subject())
		}
		if _, ok := x.Query("key"); ok {
			t.Errorf("of %q there is %q left", query, x.Request.Query)
		}
		if value, ok := x.Cookie("key"); ok {
			t.Errorf("of %q there is %q left", cookie, value)
		}
		if x.Request.Head.Has("X-Api-Key") {
			t.Error("the field is left")
		}
	})
}
