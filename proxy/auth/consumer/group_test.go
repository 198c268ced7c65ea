package consumer

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestIdentities(t *testing.T) {
	group := partners(t, nil)
	of := func(key string) *credential { return group.plain[sumOf(key)] }
	old, fresh, read := of("sk_acme_old").identity, of("sk_acme_new").identity, of("sk_acme_read").identity
	if old.Kind() != "api_key" || old.Issuer() != "partners" || old.Subject() != "acme" {
		t.Errorf("the client is %s %s of %s", old.Kind(), old.Subject(), old.Issuer())
	}
	if string(old.Key()) != string(fresh.Key()) {
		t.Error("after a rotation a consumer is another client")
	}
	if string(old.Key()) == string(read.Key()) {
		t.Error("what one may see who may do less is what all see")
	}
	f := func(claim, want string) {
		t.Helper()
		if got := string(old.Claim(claim)); got != want {
			t.Errorf("%s is %q, want %q", claim, got, want)
		}
	}
	f("plan", "gold")
	f("scope", "orders.read orders.write")
	f("region", "eu")
	f("name", "")
	if got := group.users["anne"].passwords[0].identity; got.Kind() != "basic" || got.Subject() != "anne" {
		t.Errorf("the client is %s %s", got.Kind(), got.Subject())
	}
}

// TestLastUse follows a key over a change of the configuration.
func TestLastUse(t *testing.T) {
	group := partners(t, nil)
	guard := func(g *Group) *APIKey {
		k, err := NewAPIKey(KeyOptions{Group: g, Header: "X", Pepper: pepper})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	show := func(g *APIKey, key string) error {
		x := request(t, "", "X", key)
		defer x.Release()
		return g.Check(x)
	}
	used := func(g *Group) string {
		var prefixes []string
		for _, c := range g.Status(time.Now()) {
			for _, k := range c.Keys {
				if k.LastUsed != nil {
					prefixes = append(prefixes, k.Prefix)
					if age := time.Since(*k.LastUsed); age < 0 || age > time.Minute {
						t.Errorf("%s was used %v ago", k.Prefix, age)
					}
				}
			}
		}
		return strings.Join(prefixes, " ")
	}
	before := guard(group)
	if got := used(group); got != "" {
		t.Errorf("%s were used before anybody came", got)
	}
	if err := show(before, "sk_acme_old"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"sk_acme_gone", "wrong"} {
		if err := show(before, key); err == nil {
			t.Fatal(key)
		}
	}
	if got, want := used(group), "sk_acme_o"; got != want {
		t.Errorf("%q were used, want %q", got, want)
	}
	// Exchanges of the old configuration end while those of the new one begin.
	next := partners(t, group)
	if err := show(before, "sk_acme_new"); err != nil {
		t.Fatal(err)
	}
	if err := show(guard(next), "sk_acme_peppered"); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*Group{group, next} {
		if got, want := used(g), "sk_acme_o sk_acme_n sk_acme_p"; got != want {
			t.Errorf("%q were used, want %q", got, want)
		}
	}
}

// TestStatusHasNoHash: whoever reads the admin API cannot try keys at home.
func TestStatusHasNoHash(t *testing.T) {
	text, err := json.Marshal(partners(t, nil).Status(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"sk_acme_new", "sk_acme_peppered", "random"} {
		for _, sum := range [][32]byte{sumOf(secret), macOf(secret)} {
			for _, form := range []string{hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:])[:40]} {
				if strings.Contains(string(text), form) {
					t.Errorf("%s hashes to %s, which stands in %s", secret, form, text)
				}
			}
		}
	}
	for _, shown := range []string{`"sk_acme_g"`, `"expired":true`, `"group":"partners"`, `"plan":"gold"`} {
		if !strings.Contains(string(text), shown) {
			t.Errorf("%s is not in %s", shown, text)
		}
	}
	if strings.Contains(string(text), "argon2") || strings.Contains(string(text), "salt") {
		t.Error(string(text))
	}
}

func TestGroupTwice(t *testing.T) {
	f := func(consumers ...Consumer) {
		t.Helper()
		if _, err := NewGroup("g", consumers, nil); err == nil || strings.Contains(err.Error(), hexOf("a")) {
			t.Errorf("got %v", err)
		}
	}
	key := Key{Sum: sumOf("a")}
	f(Consumer{Name: "a", Keys: []Key{key, key}})
	f(Consumer{Name: "a", Keys: []Key{key}}, Consumer{Name: "b", Keys: []Key{key}})
	password := []Password{{Sum: sumOf("a")}}
	f(Consumer{Name: "a", Passwords: password}, Consumer{Name: "a", Passwords: password})
}

func hexOf(secret string) string {
	sum := sumOf(secret)
	return hex.EncodeToString(sum[:])
}
