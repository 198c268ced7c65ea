package consumer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"sluice/proxy"
)

var pepper = []byte("a secret that is long enough")

func sumOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

func macOf(secret string) [sha256.Size]byte {
	h := hmac.New(sha256.New, pepper)
	h.Write([]byte(secret))
	return [sha256.Size]byte(h.Sum(nil))
}

// quick is argon2id at a cost that only tests may have.
func quick(password, salt string) *Argon2 {
	a := &Argon2{Memory: 8, Time: 1, Threads: 1, Salt: []byte(salt + "-salt-of-test"), Sum: make([]byte, 32)}
	a.Sum = a.sumOf([]byte(password))
	return a
}

// partners is a group with one of everything.
func partners(t testing.TB, before *Group) *Group {
	t.Helper()
	past, future := time.Unix(1, 0), time.Now().Add(time.Hour)
	g, err := NewGroup("partners", []Consumer{
		{Name: "acme", Plan: "gold", Scopes: []string{"orders.read", "orders.write"}, Labels: []Label{{"region", "eu"}}, Keys: []Key{
			{Sum: sumOf("sk_acme_old"), Prefix: "sk_acme_o", Expires: future},
			{Sum: sumOf("sk_acme_new"), Prefix: "sk_acme_n"},
			{Sum: sumOf("sk_acme_read"), Prefix: "sk_acme_r", Scopes: []string{"orders.read"}},
			{Sum: sumOf("sk_acme_gone"), Prefix: "sk_acme_g", Expires: past},
			{Sum: macOf("sk_acme_peppered"), Keyed: true, Prefix: "sk_acme_p"},
		}},
		{Name: "anne", Plan: "free", Scopes: []string{"orders.read"}, Passwords: []Password{
			{Argon2: quick("first", "1")}, {Argon2: quick("second", "2")}, {Argon2: quick("gone", "3"), Expires: past},
		}},
		{Name: "bob", Passwords: []Password{{Sum: sumOf("random")}, {Argon2: quick("thought-up", "4")}}},
	}, before)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// request makes an exchange with a query and header fields.
func request(t testing.TB, query string, fields ...string) *proxy.Exchange {
	t.Helper()
	x := proxy.Acquire()
	x.Request.Query, x.Request.HasQuery = []byte(query), query != ""
	for i := 0; i < len(fields); i += 2 {
		x.Request.Head.AddString(fields[i], fields[i+1])
	}
	return x
}
