package consumer

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/proxy"
)

// live is a group with consumers of both kinds, and its guard for keys.
func live(t testing.TB, configured []Consumer, stored ...*Consumer) (*Live, *APIKey, *Basic) {
	t.Helper()
	l := NewLive("partners")
	l.Open(slices.Values(stored))
	g, err := NewGroup("partners", configured, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Join(l)
	key, err := NewAPIKey(KeyOptions{Group: g, Header: "X"})
	if err != nil {
		t.Fatal(err)
	}
	return l, key, newBasic(t, g)
}

func withKeys(name string, keys ...string) *Consumer {
	c := &Consumer{Name: name, Plan: "gold", Scopes: []string{"read"}}
	for _, k := range keys {
		c.Keys = append(c.Keys, Key{Sum: sumOf(k), ID: "id of " + k})
	}
	return c
}

func checked(t testing.TB, g proxy.Guard, name, value string) (string, error) {
	t.Helper()
	x := request(t, "", name, value)
	defer x.Release()
	err := g.Check(x)
	return x.Identity.Subject(), err
}

func TestLiveKeys(t *testing.T) {
	acme := withKeys("acme", "k1", "k2")
	l, guard, _ := live(t, []Consumer{*withKeys("fixed", "k0")}, acme, withKeys("fixed", "hidden"))
	f := func(key string, wantErr error, want string) {
		t.Helper()
		if got, err := checked(t, guard, "X", key); err != wantErr || got != want {
			t.Errorf("%s: %q, %v; want %q, %v", key, got, err, want, wantErr)
		}
	}
	f("k0", nil, "fixed")
	f("hidden", ErrKey, "")
	f("k1", nil, "acme")
	f("k2", nil, "acme")
	f("k3", ErrKey, "")

	// One key is replaced, and one stays.
	next := withKeys("acme", "k2", "k3")
	l.Replace(acme, next)
	f("k1", ErrKey, "")
	f("k2", nil, "acme")
	f("k3", nil, "acme")

	// Use is remembered over edits, and until it is saved.
	if at := l.LastUsed("acme", "id of k2", sumOf("k2")); time.Since(time.Unix(at, 0)) > time.Minute {
		t.Errorf("k2 was used at %d", at)
	}
	unsaved := func() []string {
		var ids []string
		l.Unsaved(func(u Use) { ids = append(ids, u.Consumer+" "+u.ID); u.Saved() })
		slices.Sort(ids)
		return ids
	}
	if got, want := fmt.Sprint(unsaved()), "[acme id of k2 acme id of k3]"; got != want {
		t.Errorf("unsaved are %s, want %s", got, want)
	}
	if got := unsaved(); len(got) != 0 {
		t.Errorf("unsaved are %s still", got)
	}

	// What is said of a consumer changes with it.
	plain := withKeys("acme", "k2", "k3")
	plain.Plan, plain.Keys[0].Expires = "free", time.Now().Add(-time.Second)
	l.Replace(next, plain)
	f("k2", errKeyExpired, "")
	x := request(t, "", "X", "k3")
	defer x.Release()
	if err := guard.Check(x); err != nil || string(x.Identity.Claim("plan")) != "free" {
		t.Errorf("the plan is %q: %v", x.Identity.Claim("plan"), err)
	}

	l.Replace(plain, nil)
	f("k3", ErrKey, "")
	f("k0", nil, "fixed")
	l.Replace(nil, acme)
	f("k1", nil, "acme")

	l.Close()
	f("k1", ErrClosed, "")
	f("k0", ErrClosed, "")
	f("", ErrClosed, "")
	l.Replace(nil, next) // it comes too late
	f("k3", ErrClosed, "")
	l.Open(slices.Values([]*Consumer{next}))
	f("k3", nil, "acme")
	f("k1", ErrKey, "")
}

func TestLivePasswords(t *testing.T) {
	anne := &Consumer{Name: "anne", Passwords: []Password{{Argon2: quick("first", "1"), ID: "p1"}, {Sum: sumOf("random"), ID: "p2"}}}
	fixed := Consumer{Name: "fixed", Passwords: []Password{{Sum: sumOf("configured")}}}
	l, _, guard := live(t, []Consumer{fixed}, anne, &Consumer{Name: "fixed", Passwords: []Password{{Sum: sumOf("stored")}}})
	f := func(name, password string, wantErr error, want uint64) {
		t.Helper()
		before, _ := guard.options.Passwords.Counts()
		got, err := checked(t, guard, "Authorization", basic(name, password))
		after, _ := guard.options.Passwords.Counts()
		if err != wantErr || err == nil && got != name || after-before != want {
			t.Errorf("%s:%s: %q, %v after %d computations; want %v after %d", name, password, got, err, after-before, wantErr, want)
		}
	}
	f("anne", "first", nil, 1)
	f("anne", "first", nil, 0)
	f("anne", "random", nil, 0)
	f("anne", "wrong", ErrPassword, 1)
	f("nobody", "wrong", ErrPassword, 1)
	f("fixed", "configured", nil, 0)
	f("fixed", "stored", ErrPassword, 1)

	// Who has more passwords makes all others cost as much.
	next := &Consumer{Name: "anne", Passwords: []Password{{Argon2: quick("second", "2"), ID: "p3"}, {Argon2: quick("third", "3"), ID: "p4"}}}
	l.Replace(anne, next)
	f("anne", "first", ErrPassword, 2)
	f("anne", "second", nil, 1)
	f("nobody", "wrong", ErrPassword, 2)
	l.Replace(next, &Consumer{Name: "anne"})
	f("anne", "second", ErrPassword, 2)
	l.Close()
	f("anne", "second", ErrClosed, 0)
	f("fixed", "configured", ErrClosed, 0)
}

// TestLiveEdits looks keys up while they are edited: one that is in every version is always found, and one that was revoked never again.
func TestLiveEdits(t *testing.T) {
	t.Parallel()
	kept := withKeys("kept", "always")
	l, guard, _ := live(t, nil, kept)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := checked(t, guard, "X", "always"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		next := withKeys("kept", "always", fmt.Sprint("k", i))
		l.Replace(kept, next)
		kept = next
		if _, err := checked(t, guard, "X", fmt.Sprint("k", i)); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if _, err := checked(t, guard, "X", fmt.Sprint("k", i-1)); err != ErrKey {
			t.Errorf("%d: %v", i-1, err)
		}
	}
	close(stop)
	readers.Wait()
}

// TestLiveRecords: two consumers of one name that were made one after the other have a name in common, and nothing that is kept for one.
func TestLiveRecords(t *testing.T) {
	one, two := withKeys("acme", "k1"), withKeys("acme", "k2")
	one.Record, two.Record = "1 of 7", "2 of 7"
	l, guard, _ := live(t, nil, one)
	identity := func(key string) *proxy.Identity {
		t.Helper()
		x := request(t, "", "X", key)
		defer x.Release()
		if err := guard.Check(x); err != nil {
			t.Fatal(err)
		}
		return x.Identity
	}
	before := identity("k1")
	l.Replace(one, nil)
	l.Replace(nil, two)
	if after := identity("k2"); string(after.Key()) == string(before.Key()) || string(after.Name()) != string(before.Name()) {
		t.Errorf("%q and %q, with one key: %v", before.Name(), after.Name(), string(after.Key()) == string(before.Key()))
	}
}
