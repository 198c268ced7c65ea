package consumer

import (
	"fmt"
	"testing"

	"sluice/proxy"
)

// BenchmarkCheck is what a request costs that brings a key, among many, or a password that is remembered, beside a new one.
func BenchmarkCheck(b *testing.B) {
	var consumers []Consumer
	for n := range 10_000 {
		consumers = append(consumers, Consumer{Name: fmt.Sprint("c", n), Scopes: []string{"orders.read"}, Keys: []Key{{Sum: sumOf(fmt.Sprint("sk_live_", n))}}})
	}
	consumers[7].Keys = append(consumers[7].Keys, Key{Sum: macOf("sk_live_peppered"), Keyed: true})
	consumers[7].Passwords = []Password{{Argon2: NewArgon2([]byte("thought-up"), []byte("salt of a benchmark"))}}
	group, err := NewGroup("many", consumers, nil)
	if err != nil {
		b.Fatal(err)
	}
	key, err := NewAPIKey(KeyOptions{Group: group, Header: "X-Api-Key", Pepper: pepper, Keep: true, Require: Requirement{Scopes: [][]string{{"orders.read"}}}})
	if err != nil {
		b.Fatal(err)
	}
	password, err := NewBasic(BasicOptions{Group: group, Passwords: NewPasswords(), Keep: true})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, g proxy.Guard, field, value string, want error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				x := request(b, "", "Host", "a", "User-Agent", "test", "Accept", "*/*", field, value)
				defer x.Release()
				for pb.Next() {
					if err := g.Check(x); err != want {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	run("key", key, "X-Api-Key", "sk_live_4711", nil)
	run("key-peppered", key, "X-Api-Key", "sk_live_peppered", nil)
	run("key-unknown", key, "X-Api-Key", "sk_live_unknown", ErrKey)
	run("password-remembered", password, "Authorization", basic("c7", "thought-up"), nil)
	b.Run("password-new", func(b *testing.B) {
		for b.Loop() {
			consumers[7].Passwords[0].Argon2.isOf([]byte("thought-up"))
		}
	})
}

// BenchmarkLive is what a million stored consumers cost: a look-up, and an edit, which copies a small part of them.
func BenchmarkLive(b *testing.B) {
	const many = 1_000_000
	one := withKeys("edited", "sk_edited")
	l, guard, _ := live(b, nil)
	l.Open(func(yield func(*Consumer) bool) {
		for n := range many {
			if !yield(withKeys(fmt.Sprint("c", n), fmt.Sprint("sk_live_", n))) {
				return
			}
		}
		yield(one)
	})
	guard.options.Keep = true
	b.Run("key", func(b *testing.B) {
		b.ReportAllocs()
		x := request(b, "", "X", "sk_live_4711")
		defer x.Release()
		for b.Loop() {
			if err := guard.Check(x); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("edit", func(b *testing.B) {
		for b.Loop() {
			l.Replace(one, one)
		}
	})
}
