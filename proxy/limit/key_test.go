package limit

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/proxy"
)

// keyFor makes a key of parts such as "header X-A", "path.tenant", "ip".
func keyFor(t testing.TB, texts ...string) keyer {
	t.Helper()
	var k Key
	for _, text := range texts {
		p := Part{V4: 32, V6: 64}
		p.Source, p.Name, _ = strings.Cut(strings.Replace(text, ".", " ", 1), " ")
		k = append(k, p)
	}
	made, err := newKeyer(k, 0, route(t, "/items/{tenant}"))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestKeysApart(t *testing.T) {
	table, err := newTable(1, timeMask)
	if err != nil {
		t.Fatal(err)
	}
	header := func(name, value string) *proxy.Exchange { return request(start, "192.0.2.1", [2]string{name, value}) }
	// f wants two requests to be counted together, or not.
	f := func(k keyer, a, b *proxy.Exchange, together bool) {
		t.Helper()
		if got := k.hash(a, &table.seed) == k.hash(b, &table.seed); got != together {
			t.Errorf("together: %v, want %v", got, together)
		}
	}
	ip := keyFor(t, "ip")
	f(ip, request(start, "192.0.2.1"), request(start, "192.0.2.1"), true)
	f(ip, request(start, "192.0.2.1"), request(start, "192.0.2.2"), false)
	f(ip, request(start, "192.0.2.1"), request(start, "::ffff:192.0.2.1"), true)
	f(ip, request(start, "2001:db8::1"), request(start, "2001:db8::ffff:0:0:2"), true)
	f(ip, request(start, "2001:db8::1"), request(start, "2001:db8:0:1::1"), false)
	f(ip, request(start, "fe80::1%eth0"), request(start, "fe80::1%eth1"), true)
	f(ip, request(start, ""), request(start, ""), true)
	f(ip, request(start, ""), request(start, "::"), false)

	x := keyFor(t, "header X-A")
	f(x, header("X-A", "1"), header("x-a", "1"), true)
	f(x, header("X-A", "1"), header("X-A", "2"), false)
	f(x, header("X-A", ""), header("X-B", "1"), false) // empty is not absent
	f(x, header("X-B", "1"), header("X-C", "2"), true)

	// Nobody gets a new bucket by a decoy in front of, or behind, what the origin reads: several of a name count as none.
	f(x, request(start, "", [2]string{"X-A", "decoy"}, [2]string{"X-A", "1"}), header("X-B", "1"), true)
	cookie := keyFor(t, "cookie id")
	cookies := func(lines ...string) *proxy.Exchange {
		var fields [][2]string
		for _, l := range lines {
			fields = append(fields, [2]string{"Cookie", l})
		}
		return request(start, "", fields...)
	}
	f(cookie, cookies("id=1"), cookies("a=b; id=1"), true)
	f(cookie, cookies("id=1"), cookies("id=2"), false)
	f(cookie, cookies("id=1"), cookies("ID=2; id=1"), true)
	f(cookie, cookies("id=decoy; id=1"), cookies(""), true)
	f(cookie, cookies("id=decoy", "a=b; id=1"), cookies(""), true)
	f(cookie, cookies("id=decoy; id =1"), cookies(""), true)
	f(cookie, cookies(`id=decoy; id="1"`), cookies(""), true)
	f(cookie, cookies("id=decoy; id"), cookies(""), true)

	parameter := keyFor(t, "query key")
	query := func(q string) *proxy.Exchange {
		r := request(start, "")
		r.Request.Query = []byte(q)
		return r
	}
	f(parameter, query("key=1"), query("a=b&key=1"), true)
	f(parameter, query("key=1"), query("%6bey=%31"), true)
	f(parameter, query("key=1"), query("key=2"), false)
	f(parameter, query("key=decoy&key=1"), query(""), true)
	f(parameter, query("key=decoy&%6bey=1"), query(""), true)
	f(parameter, query("key=decoy&key"), query(""), true)
	f(parameter, query("key=decoy;key=1"), query(""), true)
	f(parameter, query("key=1;a=decoy"), query("key=1;a=another"), true)

	// What belongs to one value does not run into the next.
	both := keyFor(t, "header X-A", "header X-B")
	pair := func(a, b string) *proxy.Exchange {
		return request(start, "", [2]string{"X-A", a}, [2]string{"X-B", b})
	}
	f(both, pair("ab", "c"), pair("a", "bc"), false)
	f(both, pair("a", "b"), pair("b", "a"), false)
	f(both, pair("a", "b"), pair("a", "b"), true)

	// Windows count by themselves.
	other, err := newKeyer(Key{{Source: "header", Name: "X-A"}}, 1, route(t, "/"))
	if err != nil {
		t.Fatal(err)
	}
	if x.hash(header("X-A", "1"), &table.seed) == other.hash(header("X-A", "1"), &table.seed) {
		t.Error("two windows share a bucket")
	}
}

func TestKeyText(t *testing.T) {
	f := func(k keyer, x *proxy.Exchange, want string) {
		t.Helper()
		if got := string(k.appendText(nil, x)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	x := request(start, "192.0.2.7", [2]string{"X-Api-Key", "hunter2"}, [2]string{"Cookie", "id=hunter2"})
	x.Request.Query = []byte("token=hunter2")
	x.MatchedPath = []byte("/items/t1")
	f(keyFor(t), x, "all requests")
	f(keyFor(t, "ip"), x, "192.0.2.7")
	f(keyFor(t, "ip"), request(start, "2001:db8:1:2:3::4"), "2001:db8:1:2::/64")
	f(keyFor(t, "ip"), request(start, ""), "no address")
	f(keyFor(t, "host"), x, "shop.example")
	f(keyFor(t, "route"), x, "a")
	// printf hunter2 | sha256sum
	f(keyFor(t, "header X-Api-Key"), x, "header X-Api-Key=sha256:f52fbd32b2b3b86f")
	f(keyFor(t, "cookie id"), x, "cookie id=sha256:f52fbd32b2b3b86f")
	f(keyFor(t, "query token"), x, "query token=sha256:f52fbd32b2b3b86f")
	f(keyFor(t, "ip", "header X-Other"), x, "192.0.2.7 no header X-Other")
	x.Request.Host = []byte("\x1b[31m" + strings.Repeat("a", 100))
	f(keyFor(t, "host"), x, `\u001b[31m`+strings.Repeat("a", shownValueBytesMax-5))
}

// TestHashOf: what people write is counted as what clients send.
func TestHashOf(t *testing.T) {
	table, err := newTable(1, timeMask)
	if err != nil {
		t.Fatal(err)
	}
	k := keyFor(t, "ip", "header X-A")
	x := request(start, "2001:db8:1:2:3::4", [2]string{"X-A", "v"})
	for _, addr := range []string{"2001:db8:1:2:3::4", "2001:db8:1:2::/64"} {
		got, err := k.hashOf([]string{addr, "v"}, &table.seed)
		if err != nil || got != k.hash(x, &table.seed) {
			t.Errorf("%s: got %x, %v", addr, got, err)
		}
	}
	bad := func(want string, values ...string) {
		t.Helper()
		if _, err := k.hashOf(values, &table.seed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", values, err, want)
		}
	}
	bad("2 parts", "192.0.2.1")
	bad("no address", "me", "v")
	bad("no address", "", "v")
}

func TestKey_bad(t *testing.T) {
	f := func(want string, k ...Part) {
		t.Helper()
		if _, err := newKeyer(k, 0, route(t, "/items/{tenant}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", k, err, want)
		}
	}
	f("the pattern /items/{tenant} of route a has no parameter \"id\"", Part{Source: "path", Name: "id"})
	f("nothing is known to count by", Part{Source: "weather"})
	f("prefixes of 0 and 64 bits", Part{Source: "ip", V6: 64})
	f("prefixes of 32 and 129 bits", Part{Source: "ip", V4: 32, V6: 129})
	f("at most 4 parts", Part{Source: "host"}, Part{Source: "host"}, Part{Source: "host"}, Part{Source: "host"}, Part{Source: "host"})
}

// FuzzKey: whatever clients send, a key is a hash and a line of text without secrets, and the same request has the same.
func FuzzKey(f *testing.F) {
	f.Add("hunter2hunter2", "a=b; id=1", "key=1&x", "shop.example:80", "2001:db8::1")
	f.Add("", "id=", "key=%zz", "", "192.0.2.1")
	table, err := newTable(1, timeMask)
	if err != nil {
		f.Fatal(err)
	}
	k := keyFor(f, "ip", "header X-A", "cookie id", "query key")
	place := keyFor(f, "host", "path.tenant")
	f.Fuzz(func(t *testing.T, header, cookie, query, host, addr string) {
		x := proxy.Acquire()
		defer x.Release()
		x.Client.Addr, _ = netip.ParseAddr(addr)
		x.Request.Head.AddString("X-A", header)
		x.Request.Head.AddString("Cookie", cookie)
		x.Request.Query, x.Request.Host, x.MatchedPath = []byte(query), []byte(host), []byte("/items/"+host)
		for _, k := range []*keyer{&k, &place} {
			h := k.hash(x, &table.seed)
			if h == 0 || h&gate != 0 || h == taken || h != k.hash(x, &table.seed) {
				t.Fatalf("the hash is %x", h)
			}
		}
		text := string(k.appendText(place.appendText(nil, x), x))
		if strings.ContainsAny(text, "\n\r\x1b\x00") || !utf8.ValidString(text) {
			t.Fatalf("not a line of text: %q", text)
		}
		if secret := string(x.Request.Head.Get("X-A")); len(secret) > 10 && !strings.Contains(host, secret) && strings.Contains(text, secret) {
			t.Fatalf("a secret is shown: %q", text)
		}
	})
}
