//go:build !race && !invariants

package consumer

import (
	"testing"

	"sluice/proxy"
)

// TestChecksAllocateNothing: whoever is admitted, and whoever is refused, costs no memory; not even a password, if it is remembered.
func TestChecksAllocateNothing(t *testing.T) {
	group := partners(t, nil)
	key, err := NewAPIKey(KeyOptions{Group: group, Header: "X-Api-Key", Query: "key", Cookie: "key", Pepper: pepper, Keep: true,
		Require: Requirement{Scopes: [][]string{{"orders.read"}}, Plans: []string{"gold"}}})
	if err != nil {
		t.Fatal(err)
	}
	password, err := NewBasic(BasicOptions{Group: group, Passwords: NewPasswords(), Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	_, stored, storedPassword := live(t, []Consumer{*withKeys("fixed", "k0")}, withKeys("acme", "k1"), withKeys("fixed", "hidden"),
		&Consumer{Name: "bob", Passwords: []Password{{Sum: sumOf("random")}, {Argon2: quick("thought-up", "4")}}})
	storedPassword.options.Keep, stored.options.Keep = true, true
	f := func(g proxy.Guard, query, name, value string, want error) {
		t.Helper()
		x := request(t, query, name, value)
		defer x.Release()
		if err := g.Check(x); err != want {
			t.Fatalf("%s: got %v, want %v", value, err, want)
		}
		if n := testing.AllocsPerRun(200, func() { _ = g.Check(x) }); n != 0 {
			t.Errorf("%s %s: %v allocations", query, value, n)
		}
	}
	f(key, "", "X-Api-Key", "sk_acme_new", nil)
	f(key, "", "X-Api-Key", "sk_acme_peppered", nil)
	f(key, "key=sk_acme_new", "A", "", nil)
	f(key, "", "Cookie", "a=b; key=sk_acme_new", nil)
	f(key, "", "X-Api-Key", "sk_acme_gone", errKeyExpired)
	f(key, "", "X-Api-Key", "sk_nobody_new", ErrKey)
	f(key, "", "A", "", ErrNoKey)
	f(stored, "", "X", "k0", nil)
	f(stored, "", "X", "k1", nil)
	f(stored, "", "X", "k2", ErrKey)
	f(stored, "", "X", "hidden", ErrKey)
	f(storedPassword, "", "Authorization", basic("bob", "thought-up"), nil)
	f(password, "", "Authorization", basic("bob", "random"), nil)
	f(password, "", "Authorization", basic("bob", "thought-up"), nil)
	f(password, "", "Authorization", "Basic x", ErrPassword)
	f(password, "", "A", "", ErrNoPassword)
}
