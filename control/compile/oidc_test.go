package compile

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/auth/oidc"
)

const loginPolicies = `
policies:
  signed-in: { oidc: { issuer: "http://127.0.0.1:1", client_id: shop, session: { secrets: ["planted-secret-0123456789abcdef-0123"] } } }
  boss: { oidc: { issuer: "http://127.0.0.1:1", client_id: shop, require: { email: boss@shop.example }, session: { secrets: ["planted-secret-0123456789abcdef-0123"] } } }
  other: { oidc: { issuer: "http://127.0.0.1:1", client_id: other, url: "https://www.shop.example", session: { secrets: ["planted-secret-0123456789abcdef-0123"] } } }
  elsewhere: { oidc: { issuer: "http://127.0.0.1:1", client_id: shop, callback: /a/back, logout: /a/out, session: { secrets: ["planted-secret-0123456789abcdef-0123"] } } }
`

// TestLoginsReachable: whoever is led to a provider has to come back to a route that knows him.
func TestLoginsReachable(t *testing.T) {
	r := newRuntime(t)
	f := func(routes string, want ...string) {
		t.Helper()
		p, problems := r.Compile(parse(t, loginPolicies+"routes:\n"+routes))
		if p != nil {
			defer r.Discard(p)
		}
		var errors []string
		for _, problem := range problems {
			if !problem.Warning {
				errors = append(errors, problem.String())
			}
		}
		if len(errors) != len(want) || (p == nil) != (len(want) > 0) {
			t.Errorf("%s\ngot %q, want %q", routes, errors, want)
			return
		}
		for i := range want {
			if !strings.Contains(errors[i], want[i]) || strings.Contains(errors[i], "planted") {
				t.Errorf("%s\ngot %q, want %q", routes, errors[i], want[i])
			}
		}
	}
	const text = ", respond: { text: a } }\n"
	f("  a: { match: /**, use: [signed-in]" + text)
	f("  a: { match: shop.example/**, use: [signed-in]" + text)
	f("  a: { match: /a/**, use: [elsewhere]" + text)
	f("  a: { match: /a/**, use: [signed-in]" + text + "  login: { match: /oauth2/**, use: [signed-in]" + text)
	f("  a: { match: /a/**, use: [boss]" + text + "  login: { match: /oauth2/**, use: [signed-in]" + text) // they share sessions
	f("  a: { match: \"*.shop.example/**\", use: [signed-in]" + text)
	f("  a: { match: shop.example/**, use: [other]" + text + "  b: { match: www.shop.example/oauth2/**, use: [other]" + text)
	f("  a: { match: /a/**, use: [signed-in]"+text, "no route with this policy takes GET /oauth2/callback", "no route with this policy takes GET /oauth2/logout")
	f("  a: { match: POST /**, use: [signed-in]"+text, "GET /oauth2/callback", "GET /oauth2/logout")
	f("  a: { match: /a/**, use: [signed-in]"+text+"  login: { match: /oauth2/**, use: [other]"+text, "GET /oauth2/callback", "GET /oauth2/logout")
	f("  a: { match: /**, use: [signed-in]"+text+"  open: { match: /oauth2/callback"+text, "GET /oauth2/callback, so that nobody comes back")
	f("  a: { match: a.example/**, use: [signed-in]"+text+"  b: { match: b.example/b, use: [signed-in]"+text, "GET b.example/oauth2/callback", "GET b.example/oauth2/logout")
	f("  a: { match: a.example/**, use: [other]"+text, "GET www.shop.example/oauth2/callback", "GET www.shop.example/oauth2/logout")
}

// TestLoginExplained: what would become of a browser and of a program, where nobody is asked.
func TestLoginExplained(t *testing.T) {
	r := New(Options{Sweeper: newRuntime(t).options.Sweeper, Dry: true})
	p := mustCompile(t, r, loginPolicies+`
  asked: { introspection: { issuer: "http://127.0.0.1:1", client_id: shop, client_secret: planted-secret, audience: a } }
routes:
  a: { match: /**, use: [signed-in], respond: { text: a } }
  b: { match: /b, use: [asked], respond: { text: a } }
`)
	f := func(path string, header [2]string, want string) {
		t.Helper()
		e, err := p.Explain(http.MethodGet, "https://shop.example"+path, [][2]string{header}, nil, netip.MustParseAddr("192.0.2.1"))
		if err != nil || !strings.Contains(e.Outcome, want) {
			t.Errorf("%s %s: %+v, %v", path, header, e, err)
		}
	}
	f("/", [2]string{"Accept", "text/html"}, "its policy signed-in would let the browser sign in")
	f("/", [2]string{"Accept", "application/json"}, "its policy signed-in refuses with 401 login_required")
	f("/oauth2/callback?state=a", [2]string{"Accept", "text/html"}, "its policy signed-in refuses with 400 login_failed")
	f("/b", [2]string{"Authorization", "Bearer abc"}, "its policy asked would ask what the token is worth")
	f("/b", [2]string{"Accept", "text/html"}, "its policy asked refuses with 401 token_required")
}

// TestLoginsOutlive: sessions that were ended, and all else that policies know of them, outlive a reload that does not change them.
func TestLoginsOutlive(t *testing.T) {
	r := newRuntime(t)
	commit := func(more string) *Plan {
		t.Helper()
		p := mustCompile(t, r, loginPolicies+"routes:\n  a: { match: /**, use: [signed-in], respond: { text: a } }\n  b: { match: /b, use: [boss], respond: { text: a } }\n"+more)
		r.Commit(p)
		return p
	}
	commit("")
	before := lastingAll[*login](r)
	if len(before) != 2 || before[0].Sessions() != before[1].Sessions() {
		t.Fatal("two policies of one provider and cookie do not share sessions")
	}
	commit("  c: { match: /c, respond: { text: c } }\n")
	for _, l := range lastingAll[*login](r) {
		if l != before[0] && l != before[1] {
			t.Error("a policy that has not changed begins anew")
		}
	}
	// What has ended is known to all whose cookies are the same, and over a reload that changes anything but that.
	changed := strings.NewReplacer(`secrets: ["planted`, `idle: 2h, secrets: ["planted-secret-0123456789abcdef-4567", "planted`, "client_id: shop,", "client_id: shop, scopes: [email],")
	p := mustCompile(t, r, loginPolicies+"routes:\n  a: { match: /**, use: [signed-in], respond: { text: a } }\n")
	r.Commit(p)
	history := lastingAll[*login](r)[0].Sessions().History
	p = mustCompile(t, r, changed.Replace(loginPolicies)+"routes:\n  a: { match: /**, use: [signed-in], respond: { text: a } }\n  o: { match: o.example/**, use: [other], respond: { text: a } }\n  w: { match: www.shop.example/**, use: [other], respond: { text: a } }\n")
	r.Commit(p)
	for _, l := range lastingAll[*login](r) {
		if l.Sessions() == before[0].Sessions() || (l.Sessions().History == history) != (l.name == "signed-in") {
			t.Errorf("%s after a change: the same sessions %t, the same history %t", l.name, l.Sessions() == before[0].Sessions(), l.Sessions().History == history)
		}
	}
	commit("")
	if list := r.LoginPolicies(); len(list) != 2 || list[0].Name != "boss" || list[1].Name != "signed-in" {
		t.Errorf("%+v", list)
	}
	eventually(t, "the provider that is not there", func() bool { return strings.Contains(r.Unready(), "nothing known of http://127.0.0.1:1") })
	eventually(t, "questions that fail", func() bool {
		list := r.Providers()
		return len(list) == 1 && list[0].Source == "http://127.0.0.1:1" && list[0].Asked > 0 && list[0].Failed == list[0].Asked && list[0].Problem != ""
	})
}

// TestLoginsAddUp: what has happened to the sessions of several policies of one name is one sum, each time it is asked for, and those who share
// sessions count once.
func TestLoginsAddUp(t *testing.T) {
	r := newRuntime(t)
	inline := func(client, more string) string {
		return fmt.Sprintf(`{ oidc: { issuer: "http://127.0.0.1:1", client_id: %s%s, session: { secrets: ["planted-secret-0123456789abcdef-0123"] } } }`, client, more)
	}
	const route = "  %s: { match: %s.example/**, use: [%s], respond: { text: a } }\n"
	p := mustCompile(t, r, "routes:\n"+fmt.Sprintf(route, "a", "a", inline("shop", ""))+fmt.Sprintf(route, "b", "b", inline("other", ""))+fmt.Sprintf(route, "c", "c", inline("shop", ", require: { email: boss@shop.example }")))
	r.Commit(p)
	all := lastingAll[*login](r)
	if len(all) != 3 {
		t.Fatalf("%d policies", len(all))
	}
	for i, l := range all {
		x := proxy.Acquire()
		x.Request.Method, x.Request.Path, x.Request.Query = "GET", []byte("/oauth2/callback"), []byte("state=a")
		x.MatchedPath = x.Request.Path
		if err := l.Serve(x, nil); err == nil {
			t.Errorf("policy %d accepts a callback that nobody has sent", i)
		}
		x.Release()
	}
	for range 50 {
		if list := r.LoginPolicies(); len(list) != 1 || list[0].Name != "oidc" || list[0].Status != (oidc.Status{Failed: 3}) {
			t.Fatalf("%+v", list)
		}
	}
}

// TestClientKey: what is wrong with the key that the gateway proves itself with is said where it stands, and shows nothing of it.
func TestClientKey(t *testing.T) {
	c := parse(t, `
policies:
  signed-in: { oidc: { issuer: "http://127.0.0.1:1", client_id: shop, client_key: planted-key, session: { secrets: ["planted-secret-0123456789abcdef-0123"] } } }
  "a.b": { introspection: { issuer: "http://127.0.0.1:1", client_id: shop, client_key: planted-key, audience: a } }
routes:
  a: { match: /**, use: [signed-in, a.b], respond: { text: a } }
  b: { match: /b, use: [{ introspection: { issuer: "http://127.0.0.1:1", client_id: shop, client_key: planted-key, audience: a } }], respond: { text: a } }
`)
	p, problems := New(Options{Dry: true}).Compile(c)
	got := problems.Error()
	if p != nil || strings.Contains(got, "planted") {
		t.Errorf("got %s", got)
	}
	for _, want := range []string{"policies.signed-in.oidc.client_key: the private key is not in PEM", `policies."a.b".introspection.client_key: the private key is not in PEM`, "routes.b.use: client_key: the private key"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if at := c.At("policies.signed-in.oidc.client_key"); at == c.At("policies.signed-in.oidc") || !strings.Contains(got, at.String()+": ") {
		t.Errorf("got %s, want it at %s", got, at)
	}
}
