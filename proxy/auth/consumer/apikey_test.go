package consumer

import (
	"errors"
	"strings"
	"testing"

	"sluice/proxy"
)

func TestAPIKey(t *testing.T) {
	group := partners(t, nil)
	f := func(o KeyOptions, query string, fields []string, want error, subject string) {
		t.Helper()
		o.Group, o.Pepper = group, pepper
		g, err := NewAPIKey(o)
		if err != nil {
			t.Fatal(err)
		}
		x := request(t, query, fields...)
		defer x.Release()
		if got := g.Check(x); got != want {
			t.Errorf("%q %q: got %v, want %v", query, fields, got, want)
		}
		if got := x.Identity.Subject(); got != subject {
			t.Errorf("%q %q: the client is %q, want %q", query, fields, got, subject)
		}
	}
	header := KeyOptions{Header: "X-Api-Key"}
	for _, key := range []string{"sk_acme_old", "sk_acme_new", "sk_acme_read", "sk_acme_peppered"} {
		f(header, "", []string{"x-api-key", key}, nil, "acme")
	}
	f(header, "", nil, ErrNoKey, "")
	f(header, "", []string{"X-Api-Key", ""}, ErrNoKey, "")
	f(header, "", []string{"Authorization", "Bearer sk_acme_new"}, ErrNoKey, "")
	f(header, "X-Api-Key=sk_acme_new", nil, ErrNoKey, "")
	f(header, "", []string{"X-Api-Key", "sk_acme_gone"}, errKeyExpired, "")
	for _, wrong := range []string{"sk_acme_ne", "sk_acme_new ", "SK_ACME_NEW", "sk_acme_new, sk_acme_new", strings.Repeat("k", KeyBytesMax+1)} {
		f(header, "", []string{"X-Api-Key", wrong}, ErrKey, "")
	}
	f(header, "", []string{"X-Api-Key", "sk_acme_new", "X-Api-Key", "sk_acme_new"}, nil, "acme")
	f(header, "", []string{"X-Api-Key", "sk_acme_new", "X-Api-Key", "sk_acme_old"}, ErrKeys, "")
	f(header, "", []string{"X-Api-Key", "sk_acme_new", "X-Api-Key", "wrong"}, ErrKeys, "")

	authorization := KeyOptions{Header: "authorization"}
	f(authorization, "", []string{"Authorization", "Bearer sk_acme_new"}, nil, "acme")
	f(authorization, "", []string{"Authorization", "apikey  sk_acme_new"}, nil, "acme")
	f(authorization, "", []string{"Authorization", "sk_acme_new"}, ErrNoKey, "")
	f(authorization, "", []string{"Authorization", basic("acme", "sk_acme_new")}, ErrNoKey, "")

	query := KeyOptions{Query: "key"}
	f(query, "a=b&key=sk_acme_new", nil, nil, "acme")
	f(query, "k%65y=sk%5Facme_new", nil, nil, "acme")
	f(query, "key=sk_acme_new&key=sk_acme_new", nil, nil, "acme")
	f(query, "key=sk_acme_new&key=sk_acme_old", nil, ErrKeys, "")
	f(query, "key=sk_acme_new&k%65y=wrong", nil, ErrKeys, "")
	f(query, "key=", nil, ErrNoKey, "")
	f(query, "KEY=sk_acme_new", nil, ErrNoKey, "")
	f(query, "", []string{"X-Api-Key", "sk_acme_new"}, ErrNoKey, "")

	cookie := KeyOptions{Cookie: "key"}
	f(cookie, "", []string{"Cookie", `a=b; key="sk_acme_new"; c=d`}, nil, "acme")
	f(cookie, "", []string{"Cookie", `key=sk_acme_new; key=sk_acme_old`}, ErrKeys, "")
	f(cookie, "", []string{"Cookie", `key=sk_acme_new`, "Cookie", "key=other"}, ErrKeys, "")

	all := KeyOptions{Header: "X-Api-Key", Query: "key", Cookie: "key"}
	f(all, "key=sk_acme_new", []string{"X-Api-Key", "sk_acme_new", "Cookie", "key=sk_acme_new"}, nil, "acme")
	f(all, "key=sk_acme_new", []string{"X-Api-Key", "sk_acme_old"}, ErrKeys, "")
	f(all, "", []string{"X-Api-Key", "sk_acme_new", "Cookie", "key=x"}, ErrKeys, "")

	f(KeyOptions{Header: "X", Require: Requirement{Scopes: [][]string{{"orders.read", "orders.write"}}}}, "", []string{"X", "sk_acme_new"}, nil, "acme")
	f(KeyOptions{Header: "X", Require: Requirement{Scopes: [][]string{{"orders.write"}}}}, "", []string{"X", "sk_acme_read"}, ErrInsufficient, "acme")
	f(KeyOptions{Header: "X", Require: Requirement{Scopes: [][]string{{"users"}, {"orders.read"}}}}, "", []string{"X", "sk_acme_read"}, nil, "acme")
	f(KeyOptions{Header: "X", Require: Requirement{Plans: []string{"silver", "gold"}}}, "", []string{"X", "sk_acme_read"}, nil, "acme")
	f(KeyOptions{Header: "X", Require: Requirement{Plans: []string{"silver"}}}, "", []string{"X", "sk_acme_read"}, ErrInsufficient, "acme")

	bad := func(o KeyOptions) {
		t.Helper()
		o.Group = group
		if _, err := NewAPIKey(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	bad(KeyOptions{Pepper: pepper})
	bad(KeyOptions{Header: "X"}) // some keys need one
	bad(KeyOptions{Header: "X", Pepper: pepper, Require: Requirement{Scopes: [][]string{{}}}})
	bad(KeyOptions{Header: "X", Pepper: pepper, Require: Requirement{Plans: []string{""}}})
}

// TestRefusalsAreAlike: what a client is told does not depend on why a key or a password is not good.
func TestRefusalsAreAlike(t *testing.T) {
	f := func(one, other *proxy.Error) {
		t.Helper()
		a, b := *one, *other
		if a.Cause == nil && b.Cause == nil {
			t.Error("the log cannot tell them apart")
		}
		a.Cause, b.Cause = nil, nil
		if a != b {
			t.Errorf("%+v and %+v", a, b)
		}
		if a.Status != 401 || a.Challenge == "" {
			t.Errorf("%+v", a)
		}
	}
	f(ErrKey, errKeyExpired)
	f(ErrPassword, errPasswordExpired)
	if !errors.As(error(errKeyExpired), new(*proxy.Error)) {
		t.Error("it is no refusal")
	}
}

// TestKeyIsStripped tries what a service gets to see of a request.
func TestKeyIsStripped(t *testing.T) {
	group := partners(t, nil)
	f := func(keep bool, key string, wantHeader, wantQuery, wantCookie string) {
		t.Helper()
		g, err := NewAPIKey(KeyOptions{Group: group, Header: "X-Api-Key", Query: "key", Cookie: "key", Pepper: pepper, Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		x := request(t, "a=%20b&key="+key+"&&c&k%65y="+key+"&", "X-Api-Key", key, "Cookie", "a=b; key="+key, "Cookie", "c=d;key="+key+";")
		defer x.Release()
		_ = g.Check(x) // what becomes of it is tried elsewhere
		if got := string(x.Request.Head.Get("X-Api-Key")); got != wantHeader {
			t.Errorf("%s: the field is %q, want %q", key, got, wantHeader)
		}
		if got := string(x.Request.Query); got != wantQuery {
			t.Errorf("%s: the query is %q, want %q", key, got, wantQuery)
		}
		if got := string(x.Request.Head.Get("Cookie")); got != wantCookie {
			t.Errorf("%s: the cookies are %q, want %q", key, got, wantCookie)
		}
	}
	f(false, "sk_acme_new", "", "a=%20b&&c", "a=b; c=d")
	f(false, "wrong", "", "a=%20b&&c", "a=b; c=d")
	f(true, "K", "K", "a=%20b&key=K&&c&k%65y=K&", "a=b; key=K")

	g, err := NewAPIKey(KeyOptions{Group: group, Query: "key", Pepper: pepper})
	if err != nil {
		t.Fatal(err)
	}
	x := request(t, "key=sk_acme_new")
	defer x.Release()
	if err := g.Check(x); err != nil || x.Request.HasQuery || len(x.Request.Query) > 0 {
		t.Errorf("%v, and the query is %q", err, x.Request.Query)
	}

	// What is for somebody else stays.
	g, err = NewAPIKey(KeyOptions{Group: group, Header: "Authorization", Pepper: pepper})
	if err != nil {
		t.Fatal(err)
	}
	x = request(t, "", "Authorization", basic("a", "b"))
	defer x.Release()
	if err := g.Check(x); err != ErrNoKey || !x.Request.Head.Has("Authorization") {
		t.Errorf("%v, and the field has gone", err)
	}
}
