package config

import (
	"strings"
	"testing"
)

func TestPredicates(t *testing.T) {
	f := func(written string, kind PredicateKind, value string) {
		t.Helper()
		c := mustParse(t, contract+"  p: { match: { path: /p, headers: { X: "+written+" } }, to: origin }\n", Options{})
		r, _ := c.Routes.Get("p")
		p := r.Match.Headers[0].Value
		if p.Kind != kind || p.Value != value {
			t.Errorf("%s is kind %d with %q, want kind %d with %q", written, p.Kind, p.Value, kind, value)
		}
	}
	f("abc", Is, "abc")
	f("5", Is, "5")
	f("true", Is, "true")
	f("a b", Is, "a b")
	f("present", Present, "")
	f("absent", Absent, "")
	f("prefix application/json", HasPrefix, "application/json")
	f("regex ^a+$", MatchesRegex, "^a+$")
	f("is present", Is, "present")
	f("is prefix x", Is, "prefix x")
	f("is is", Is, "is")
	f("presents", Is, "presents")
	f("prefixed", Is, "prefixed")
	f(`""`, Is, "")
	f(`"is "`, Is, "")
}

func TestMatchParameters(t *testing.T) {
	f := func(pattern, want string) {
		t.Helper()
		if got := strings.Join((Match{Pattern: Text{Text: pattern}}).parameters(), " "); got != want {
			t.Errorf("the parameters of %s are %q, want %q", pattern, got, want)
		}
	}
	f("/a", "")
	f("GET /items/{id}", "id")
	f("h/{a}/{b:[0-9]{2,3}}/**", "a b rest")
	f("/api/**", "rest")
}

func TestOrigins(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		var o Origin
		message, _ := o.parse(address)
		if message != "" {
			t.Errorf("%s: %s", address, message)
			return
		}
		tls := ""
		if o.TLS {
			tls = " tls"
		}
		if o.H2 {
			tls += " h2"
		}
		if got := o.Network + " " + o.Address + " host=" + o.Host + " base=" + o.Base + tls; got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
	f("http://h", "tcp h:80 host=h base=")
	f("http://h:80/", "tcp h:80 host=h base=")
	f("http://h:8080/a/b/", "tcp h:8080 host=h:8080 base=/a/b")
	f("https://h.example", "tcp h.example:443 host=h.example base= tls")
	f("https://h:80", "tcp h:80 host=h:80 base= tls")
	f("h2://h.example", "tcp h.example:443 host=h.example base= tls h2")
	f("h2://h:8443/v1/", "tcp h:8443 host=h:8443 base=/v1 tls h2")
	f("h2c://h", "tcp h:80 host=h base= h2")
	f("grpc://10.0.0.1:50051", "tcp 10.0.0.1:50051 host=10.0.0.1:50051 base= h2")
	f("grpcs://[::1]:443", "tcp [::1]:443 host=[::1] base= tls h2")
	f("http://[::1]", "tcp [::1]:80 host=[::1] base=")
	f("http://[::1]:81/x%20y", "tcp [::1]:81 host=[::1]:81 base=/x%20y")
	f("http://my_service:1", "tcp my_service:1 host=my_service:1 base=")
	f("unix:/run/a.sock", "unix /run/a.sock host=localhost base=")
	f("unix:/run/a.sock:/b/", "unix /run/a.sock host=localhost base=/b")

	bad := func(address string) {
		t.Helper()
		var o Origin
		if message, _ := o.parse(address); message == "" || o.Network != "" {
			t.Errorf("%s is accepted as %+v", address, o)
		}
	}
	bad("")
	bad("http://")
	bad("http://h:http")
	bad("http://h:65536")
	bad("http://h:0")
	bad("http://h h")
	bad("http://h\r\nX: y")
	bad("http://u@h")
	bad("http://[::1")
	bad("http://[h]")
	bad("http://1.2.3.999")
	bad("http://h/a b")
	bad("http://h/%2e%2E/x")
	bad("http://h/a?b")
	bad("//h")
	bad("unix:")
	bad("unix:/")
	bad("unix:/" + strings.Repeat("a", 107))
}
