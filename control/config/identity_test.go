package config

import "testing"

// TestKeysGuard: what admits clients must see every request, and is relied on only where it refuses.
func TestKeysGuard(t *testing.T) {
	f := func(p Policy, guards, identifies bool) {
		t.Helper()
		if got := p.Guards(); got != guards {
			t.Errorf("%s guards: %v", p.Kind(), got)
		}
		if got := p.Identifies(); got != identifies {
			t.Errorf("%s identifies: %v", p.Kind(), got)
		}
	}
	f(Policy{APIKey: &APIKey{Mode: "enforce"}}, true, true)
	f(Policy{APIKey: &APIKey{Mode: "report"}}, true, false)
	f(Policy{BasicAuth: &BasicAuth{Mode: "enforce"}}, true, true)
	f(Policy{BasicAuth: &BasicAuth{Mode: "off"}}, true, false)
	f(Policy{Introspection: &Introspection{Mode: "enforce"}}, true, true)
	f(Policy{Introspection: &Introspection{Mode: "report"}}, true, false)
	f(Policy{OIDC: &OIDC{}}, true, true)
	f(Policy{ClientCert: &ClientCert{Mode: "enforce"}}, true, true)
	f(Policy{Addresses: &Addresses{Mode: "enforce"}}, true, false)
	f(Policy{Countries: &Countries{Mode: "enforce"}}, true, false)
	f(Policy{CSRF: &CSRF{Mode: "enforce"}}, true, false)
	f(Policy{ForwardAuth: &ForwardAuth{Mode: "enforce"}}, true, false)
	f(Policy{ForwardAuth: &ForwardAuth{Mode: "enforce", Identity: Text{Text: "X-User"}}}, true, true)
	f(Policy{ForwardAuth: &ForwardAuth{Mode: "report", Identity: Text{Text: "X-User"}}}, true, false)
	f(Policy{Authorize: &Authorize{Mode: "enforce"}}, true, false)
	f(Policy{Headers: &Headers{}}, false, false)
	f(Policy{SecurityHeaders: &SecurityHeaders{}}, false, false)
	f(Policy{Cookies: &Cookies{}}, false, false)
}

// TestExpiry: a day is over when it ends.
func TestExpiry(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		c := mustParse(t, contract+`
consumers: { g: { a: { keys: [{ hash: "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", expires: `+text+` }] } } }`, Options{})
		if got := c.Consumers[0].Value.List[0].Value.Keys[0].Expires.UTC().Format("2006-01-02T15:04:05"); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	f("2027-01-31", "2027-02-01T00:00:00")
	f(`"2027-01-31T12:00:00Z"`, "2027-01-31T12:00:00")
	f(`"2027-01-31T12:00:00+02:00"`, "2027-01-31T10:00:00")
}
