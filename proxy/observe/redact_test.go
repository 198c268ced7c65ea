package observe

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"sluice/proxy"
)

func TestIsSecret(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if got := isSecret([]byte(name)); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
	for name := range strings.FieldsSeq("token access_token key api_key apikey password secret code signature sig auth jwt session") {
		f(name, true)
		f(strings.ToUpper(name), true)
	}
	f("refresh-token", true)
	f("client_secret", true)
	f("X-Amz-Signature", true)
	f("X-Amz-Credential", true)
	f("X-Api-Key", true)
	f("PHPSESSID", true)
	f("jsessionid", true)
	f("user[password]", true)
	f("%74oken", true) // "token" to the origin
	f("api%5Fkey", true)
	f("api+key", true)
	f(strings.Repeat("a", secretNameMax+1), true)

	f("", false)
	f("page", false)
	f("keyword", false)
	f("monkey", false)
	f("postal_code", false)
	f("author", false)
	f("tokens", false)
	f("%74okens", false)
	f("%zzoken", false)
}

func TestIsSecretHeader(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if got := SecretHeader(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
	f("Authorization", true)
	f("PROXY-AUTHORIZATION", true)
	f("cookie", true)
	f("Set-Cookie", true)
	f("X-Api-Key", true)
	f("X-Auth-Token", true)

	f("Accept", false)
	f("X-Request-Id", false)
	f("Idempotency-Key", false)
	f("Access-Control-Allow-Credentials", false)
}

func TestAppendQuery(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		if got := string(appendQuery(nil, []byte(query), nil)); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	f("", "")
	f("a=1&b=2", "a=1&b=2")
	f("a", "a")
	f("token", "token")
	f("a=b=c", "a=b=c")

	f("token=x", "token=***")
	f("token=", "token=***")
	f("a=1&token=x&b=2", "a=1&token=***&b=2")
	f("token=x&token=y", "token=***&token=***")
	f("token=x=y==", "token=***")
	f("%74oken=x", "%74oken=***")
	f("a=1;token=x;b=2", "a=1;token=***")
	f("token=x;b=2&c=3", "token=***&c=3")
	f("&&token=x&&", "&&token=***&&")
	f("?token=x", "?token=***")
	f("next=/a?token=x&b=1", "next=/a?token=***&b=1")
	f("token=a#b", "token=***")
	f("a=\n\"&token=x", `a=\u000a\"&token=***`)
}

func TestAppendURL(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if got := string(appendURL(nil, []byte(value), nil)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	f("", "")
	f("/a/b", "/a/b")
	f("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (X11; Linux x86_64)")
	f("https://a.example/x?y=1#z", "https://a.example/x?y=1#z")
	f("mail me@a.example", "mail me@a.example")

	f("/a?token=x&b=1", "/a?token=***&b=1")
	f("/a;jsessionid=x", "/a;jsessionid=***")
	f("https://a.example/#access_token=x&b=1", "https://a.example/#access_token=***&b=1")
	f("https://u:p@a.example/", "https://***@a.example/")
	f("https://u:p@q@a.example?token=x", "https://***@a.example?token=***")
	f("https://a.example/@b", "https://a.example/@b")
	f("https://u:"+strings.Repeat("p", 2*valueMax)+"@a.example/", "https://***@a.example/")
}

// FuzzQuery: however a server reads the query, no secret of it is left.
func FuzzQuery(f *testing.F) {
	f.Add([]byte("a=1&token=x;b=2&%74oken=y&?key=z"))
	f.Fuzz(func(t *testing.T, query []byte) {
		query = bytes.Clone(query[:min(len(query), valueMax)])
		for i, c := range query {
			if !plainByte[c] {
				query[i] = '.' // what is escaped cannot be compared
			}
		}
		got := appendQuery(nil, query, nil)
		checkOneLine(t, string(got))
		check := func(pair []byte) {
			name, value, ok := bytes.Cut(pair, []byte("="))
			if ok && !bytes.ContainsAny(name, "?#;") && isSecret(name) && !strings.HasPrefix(string(value), redacted) {
				t.Fatalf("%q of %q is left in %q", pair, query, got)
			}
		}
		for part := range bytes.SplitSeq(got, []byte("&")) {
			check(part)
			for part := range bytes.SplitSeq(part, []byte(";")) {
				check(part)
			}
		}
		had, _ := url.ParseQuery(string(query)) // what it could not parse is not looked at
		has, _ := url.ParseQuery(string(got))
		for name, values := range had {
			escaped := url.QueryEscape(name)
			if strings.ContainsAny(name, "?#;") || len(escaped) > secretNameMax || !isSecret([]byte(escaped)) {
				continue
			}
			for i, v := range values {
				if v != "" && (i >= len(has[name]) || has[name][i] != redacted) {
					t.Fatalf("%s=%q of %q is left in %q", name, v, query, got)
				}
			}
		}
	})
}

// TestSecretsAreRedacted tries names that nothing but the configuration makes secret.
func TestSecretsAreRedacted(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		if got := string(appendQuery(nil, []byte(query), Secrets{"k", "x-partner"})); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	f("k=1", "k=***")
	f("a=b&K=1&c=d", "a=b&K=***&c=d")
	f("%6b=1&kk=2", "%6b=***&kk=2")
	f("X-Partner=1", "X-Partner=***")
	f("a=k", "a=k")

	format, err := parseFormat("$query.k $header.X-Partner $query.a $request.query", Secrets{"k", "x-partner"})
	if err != nil {
		t.Fatal(err)
	}
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Query, x.Request.HasQuery = []byte("k=planted&a=b"), true
	x.Request.Head.AddString("X-Partner", "planted")
	n := &line{x: x, also: Secrets{"k", "x-partner"}}
	if got, want := string(n.appendFormat(nil, format)), "*** *** b k=***&a=b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Secrets{"k"}).RedactURI([]byte("/a?k=planted&b=c")); got != "/a?k=***&b=c" {
		t.Errorf("got %q", got)
	}
}
