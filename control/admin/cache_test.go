package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

func TestPurgeURL(t *testing.T) {
	f := func(text string, prefix bool, want ...string) {
		t.Helper()
		shown, forms, err := purgeURL(text, prefix)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if !slices.Equal(forms, want) || shown != want[0] {
			t.Errorf("%s: %s, %q, want %q", text, shown, forms, want)
		}
	}
	f("https://shop.example/a?x=1", false, "shop.example/a?x=1", "shop.example:443/a?x=1")
	f("HTTPS://Shop.Example/A?X=1", false, "shop.example/A?X=1", "shop.example:443/A?X=1")
	f("http://shop.example/a", false, "shop.example/a", "shop.example/a?", "shop.example:80/a", "shop.example:80/a?")
	f("shop.example/a", false, "shop.example/a", "shop.example/a?", "shop.example:80/a", "shop.example:80/a?", "shop.example:443/a", "shop.example:443/a?")
	f("shop.example:443/a", false, "shop.example/a", "shop.example/a?", "shop.example:80/a", "shop.example:80/a?", "shop.example:443/a", "shop.example:443/a?")
	f("https://shop.example:443/a", false, "shop.example/a", "shop.example/a?", "shop.example:443/a", "shop.example:443/a?")
	f("https://shop.example:80/a", false, "shop.example:80/a", "shop.example:80/a?")
	f("https://shop.example:8443/a", false, "shop.example:8443/a", "shop.example:8443/a?")
	f("shop.example:8443", false, "shop.example:8443/", "shop.example:8443/?")
	f("https://shop.example", false, "shop.example/", "shop.example/?", "shop.example:443/", "shop.example:443/?")
	f("https://shop.example?x=1", false, "shop.example/?x=1", "shop.example:443/?x=1")
	f("https://shop.example/?", false, "shop.example/", "shop.example/?", "shop.example:443/", "shop.example:443/?")
	f("https://shop.example/b/../%61%2f//c", false, "shop.example/a%2F//c", "shop.example/a%2F//c?", "shop.example:443/a%2F//c", "shop.example:443/a%2F//c?")
	f("https://shop.example/go?to=https://other.example/?", false, "shop.example/go?to=https://other.example/?", "shop.example:443/go?to=https://other.example/?")
	f("shop.example/go?to=https://other.example/", false, "shop.example/go?to=https://other.example/", "shop.example:80/go?to=https://other.example/", "shop.example:443/go?to=https://other.example/")
	f("https://[2001:DB8::1]/a", false, "[2001:db8::1]/a", "[2001:db8::1]/a?", "[2001:db8::1]:443/a", "[2001:db8::1]:443/a?")
	f("https://[2001:db8::1]:8443/a", false, "[2001:db8::1]:8443/a", "[2001:db8::1]:8443/a?")
	f("https://10.0.0.1/a", false, "10.0.0.1/a", "10.0.0.1/a?", "10.0.0.1:443/a", "10.0.0.1:443/a?")

	f("https://shop.example/", true, "shop.example/", "shop.example:443/")
	f("https://shop.example/a/", true, "shop.example/a/", "shop.example:443/a/")
	f("https://shop.example/ab?", true, "shop.example/ab?", "shop.example:443/ab?")
	f("https://shop.example/ab?x=", true, "shop.example/ab?x=", "shop.example:443/ab?x=")

	bad := func(text string, prefix bool) {
		t.Helper()
		if shown, _, err := purgeURL(text, prefix); err == nil {
			t.Errorf("%q is taken for %s", text, shown)
		}
	}
	for _, prefix := range []bool{false, true} {
		bad("/a", prefix)
		bad("https:///a", prefix)
		bad("https://", prefix)
		bad("ftp://shop.example/", prefix)
		bad("https://user@shop.example/", prefix)
		bad("https://shop.example:/", prefix)
		bad("https://shop.example:x/", prefix)
		bad("https://shop.example:123456/", prefix)
		bad("https://sh op.example/", prefix)
		bad("https://shop.example/a b", prefix)
		bad("https://shop.example/a#b", prefix)
		bad("https://shop.example/a\nb", prefix)
		bad("https://shop.example/%zz", prefix)
		bad("https://shop.example/%00", prefix)
		bad("https://shöp.example/", prefix)
		bad("https://*.example/", prefix)
		bad("https://[shop]/", prefix)
		bad("https://[]/", prefix)
		bad("https://[::1/", prefix)
		bad("https://"+strings.Repeat("a", 256)+"/", prefix)
		bad("https://shop.example/"+strings.Repeat("a", store.KeyMax), prefix)
	}
	bad("shop.example", true)
	bad("https://shop.example", true)
	bad("https://shop.example?x", true)
	bad("https://shop.example/a/..", true)
	bad("https://shop.example/a/.", true)
	bad("https://shop.example/a/%2e", true)
}

// post sends a body and returns status and answer.
func post(t *testing.T, address, path, body string) (int, string) {
	t.Helper()
	res, err := http.Post("http://"+address+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

func TestPurge(t *testing.T) {
	g := &fake{cache: store.New(store.MinBytes, wire.Now)}
	defer g.cache.Close()
	address, _ := serve(t, g, Options{Private: true})
	item := func(url string) *store.Item {
		return &store.Item{Key: []byte(url), URLTo: len(url), Tags: [][]byte{[]byte("red"), []byte("ü & co")}, KeepFor: time.Hour, Began: g.cache.Now()}
	}
	found := func(url string) store.Found {
		var e store.Entry
		defer e.Free()
		return g.cache.Get(item(url).Key, &e)
	}
	const a, b, c = "shop.example/a?x=1", "shop.example:443/ab", "other.example/a"
	f := func(query, body, want string, foundA, foundB, foundC store.Found) {
		t.Helper()
		for _, url := range []string{a, b, c} {
			if err := g.cache.Put(item(url), nil); err != nil {
				t.Fatal(err)
			}
		}
		status, answer := post(t, address, "/v1/cache/purge"+query, body)
		var compact any
		if err := json.Unmarshal([]byte(answer), &compact); err != nil || status != 200 {
			t.Errorf("%s %s: status %d, %s", query, body, status, answer)
		}
		if got, _ := json.Marshal(compact); string(got) != want {
			t.Errorf("%s %s: %s, want %s", query, body, got, want)
		}
		if found(a) != foundA || found(b) != foundB || found(c) != foundC {
			t.Errorf("%s %s: found %d %d %d, want %d %d %d", query, body, found(a), found(b), found(c), foundA, foundB, foundC)
		}
	}
	const gone, stale, kept = store.Missing, store.Stale, store.Usable
	f("", `{"url": "https://SHOP.example/a?x=1"}`, `{"soft":false,"url":"shop.example/a?x=1"}`, gone, kept, kept)
	f("?url=https://shop.example/a%3Fx=1", "", `{"soft":false,"url":"shop.example/a?x=1"}`, gone, kept, kept)
	f("?url=https://shop.example/ab&soft=true", "", `{"soft":true,"url":"shop.example/ab"}`, kept, stale, kept)
	f("", `{"prefix": "https://shop.example/a", "soft": true}`, `{"prefix":"shop.example/a","soft":true}`, stale, stale, kept)
	f("", `{"tag": "red", "soft": false}`, `{"soft":false,"tag":"red"}`, gone, gone, gone)
	f("?tag=%C3%BC+%26+co", "", `{"soft":false,"tag":"ü \u0026 co"}`, gone, gone, gone)
	f("?tag=blue", "", `{"soft":false,"tag":"blue"}`, kept, kept, kept)
	f("?all=true&soft=true", "", `{"all":true,"soft":true}`, stale, stale, stale)
	f("", "\n{ \"all\": true }\n", `{"all":true,"soft":false}`, gone, gone, gone)

	bad := func(query, body, want string) {
		t.Helper()
		if err := g.cache.Put(item(a), nil); err != nil {
			t.Fatal(err)
		}
		status, answer := post(t, address, "/v1/cache/purge"+query, body)
		if status != 400 || !strings.Contains(answer, "urn:sluice:problem:bad_purge") || !strings.Contains(answer, want) {
			t.Errorf("%s %s: status %d, %s, want %s", query, body, status, answer, want)
		}
		if found(a) != kept {
			t.Errorf("%s %s purged something", query, body)
		}
	}
	bad("", "", "0 of url, prefix, tag and all=true are given")
	bad("", "{}", "0 of url")
	bad("", `{"all": false}`, "0 of url")
	bad("?soft=true", "", "0 of url")
	bad("", `{"tag": "a", "all": true}`, "2 of url")
	bad("?tag=a&url=https://shop.example/", "", "2 of url")
	bad("?tag=a", `{"all": true}`, "use one of them")
	bad("?tag=a&tag=b", "", "is given 2 times")
	bad("?tag=", "", "tag wants some text")
	bad("?all=yes", "", "all wants true or false")
	bad("?all", "", "all wants true or false")
	bad("?al=true", "", `\"al\" is not known`)
	bad("?url=https://shop.example/a?x=1&y=2", "", `\"y\" is not known`)
	bad("?tag=%zz", "", "the query is broken")
	bad("?url=/a", "", "is no host")
	bad("?prefix=shop.example", "", "the slash behind it")
	bad("?tag="+strings.Repeat("a", tagMax+1), "", "1025 bytes")
	bad("", `{"tag": "a\u0000"}`, "control character")
	bad("", `{"tag": "a", "tag": "b"}`, "given twice")
	bad("", `{"All": true}`, "not known")
	bad("", `{"all": "true"}`, "all wants true or false")
	bad("", `{"tag": 1}`, "tag wants some text")
	bad("", `{"tag": null}`, "tag wants some text")
	bad("", `{"tag": ["a"]}`, "tag wants some text")
	bad("", `{"tag": {"all": true}}`, "tag wants some text")
	bad("", `{"all": true`, "no JSON object")
	bad("", `{"all": true} x`, "behind the JSON object")
	bad("", `{"all": true}{}`, "behind the JSON object")
	bad("", `["all"]`, "no JSON object")
	bad("", `all=true`, "no JSON object")
	bad("", "{\"tag\": \"\xff\"}", "no JSON object")
}

func TestCachePages(t *testing.T) {
	g := &fake{}
	address, s := serve(t, g, Options{Private: true})
	f := func(method, path string, want int, part string, lines ...string) {
		t.Helper()
		status, _, body := ask(t, address, method, path, lines...)
		if status != want || !strings.Contains(body, part) {
			t.Errorf("%s %s: %d, want %d and %q: %s", method, path, status, want, part, body)
		}
	}
	f("GET", "/v1/cache", 404, "urn:sluice:problem:no_cache")
	f("POST", "/v1/cache/purge?all=true", 404, "urn:sluice:problem:no_cache")
	f("POST", "/v1/cache/purge?al=true", 400, "urn:sluice:problem:bad_purge")
	g.cache = store.New(2<<20, wire.Now)
	defer g.cache.Close()
	f("GET", "/v1/cache", 200, `"memory_bytes": 2097152`)
	f("GET", "/v1/cache", 200, `"object_max_bytes": 131072`)
	f("HEAD", "/v1/cache", 200, "")
	f("POST", "/v1/cache/purge?all=true", 200, `"all": true`)
	f("GET", "/v1/cache", 200, `"purges": 1`)

	f("POST", "/v1/cache", 405, "")
	f("GET", "/v1/cache/purge?all=true", 405, "")
	f("POST", "/v1/cache/purge?all=true", 403, "", "Origin: http://evil.example")
	f("POST", "/v1/cache/purge?all=true", 403, "", "Host: evil.example")
	f("POST", "/v1/cache/purge?all=true", 403, "", "Sec-Fetch-Site: cross-site")
	s.Set(Options{Private: true, Token: "0123456789abcdef"})
	f("GET", "/v1/cache", 401, "")
	f("POST", "/v1/cache/purge?all=true", 401, "")
	f("GET", "/v1/cache", 200, `"purges": 1`, "Authorization: Bearer 0123456789abcdef")
}

// FuzzPurge: whatever comes is refused, or is one purge in a form that stays what it is when it is asked for again.
func FuzzPurge(f *testing.F) {
	f.Add("url=https://shop.example/a%3Fx=1&soft=true", "")
	f.Add("prefix=shop.example:8443/a/../b/", "")
	f.Add("", `{"tag": "red", "soft": true}`)
	f.Add("", `{"url": "http://[::1]/%7e"}`)
	f.Add("", `{"all": true}`)
	f.Fuzz(func(t *testing.T, query, body string) {
		p, err := readPurge([]byte(query), []byte(body))
		if err != nil || p.check() != nil {
			return
		}
		if p.All && p.URL+p.Prefix+p.Tag != "" {
			t.Errorf("more than one: %+v", p)
		}
		for _, form := range p.forms {
			if host, _, ok := strings.Cut(form, "/"); !ok || host == "" || host != strings.ToLower(host) {
				t.Errorf("%q is no form of a key", form)
			}
		}
		if text := p.URL + p.Prefix; text != "" {
			shown, forms, err := purgeURL(text, p.Prefix != "")
			if err != nil || shown != text || !slices.Contains(forms, text) {
				t.Errorf("%q became %q, %q, %v", text, shown, forms, err)
			}
		}
	})
}
