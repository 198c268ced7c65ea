package compile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/expression"
)

// TestExpressionsChecked: what is wrong with an expression is an error where it stands, whether a route uses it or not.
func TestExpressionsChecked(t *testing.T) {
	f := func(yaml string, want ...string) {
		t.Helper()
		c, problems := config.Parse("test.yaml", []byte(top+oneListener+yaml), config.Options{})
		if c == nil {
			t.Fatal(problems)
		}
		_, problems = New(Options{Dry: true}).Compile(c)
		var got []string
		for _, p := range problems {
			if !p.Warning {
				got = append(got, fmt.Sprintf("%s: %s", p.Path, p.Message))
			}
			if !p.Warning && p.Pos.Line == 0 {
				t.Errorf("%s has no place", p.Message)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("got %q, want %q", got[i], want[i])
			}
		}
	}
	const routes = "\nroutes: { r: { match: \"/r/{id}/**\", use: [%s], respond: {} } }\n"
	policy := func(when string) string { return "policies: { admins: { authorize: { when: '" + when + "' } } }" }
	use := func(list string) string { return fmt.Sprintf(routes, list) }
	f(policy(`request.method == "GET"`) + use("admins"))
	f(policy(`request.metod == "GET"`)+use(""), "policies.admins.authorize.when: column 8: undeclared reference to 'request.metod'")
	f(policy(`request.metod == "GET"`)+use("admins"), "policies.admins.authorize.when: column 8: ")
	f(use(`{ authorize: { when: request.method } }`), "routes.r.use[0].authorize.when: the expression is of the type string, and has to be true or false")
	f("defaults: { use: [{ authorize: { when: request.method } }] }"+use(""), "defaults.use[0].authorize.when: ")

	f(policy(`request.params.id == "7"`) + use("admins"))
	f(policy(`request.params["name"] == "7"`)+use("admins"), "routes.r.use: the policy admins asks for request.params.name, and the match of this route, /r/{id}/**, has no such parameter")
	const jwt = `{ jwt: { secret: "0123456789abcdef0123456789abcdef", issuer: a, audience: a } }`
	f(policy(`"admin" in claims.roles`)+use("admins"), "the policy admins asks for claims, and no policy before it has verified any: put jwt or another one that does before it")
	f(policy(`"admin" in claims.roles`) + use(jwt+", admins"))
	f(policy(`"admin" in claims.roles`)+use("admins, "+jwt), "asks for claims")
	f(policy(`"admin" in claims.roles`)+use(strings.Replace(jwt, "audience: a", "audience: a, mode: report", 1)+", admins"), "asks for claims")
	f(policy(`consumer.plan == "gold"`)+use("admins"), "the policy admins asks for the consumer, and no policy before it finds out who that is")
	f(policy(`consumer.plan == "gold"`) + use(jwt+", admins"))
	f(policy(`consumer.plan == "gold"`)+"\ndefaults: { use: [admins] }"+use(""), "asks for the consumer, and no policy before it finds out who that is: put jwt, api_key or another one that does before it, or skip: [admins]")
	f(policy(`true`)+use("{ cache: {} }, admins"), "the policy authorize stands behind cache")
	const asked = "\nservices: { auth: { to: http://127.0.0.1:1 } }"
	f(policy(`claims["x-groups"] == "a"`) + asked + use("{ forward_auth: { service: auth } }, admins"))
	f(policy(`consumer.name == "a"`)+asked+use("{ forward_auth: { service: auth } }, admins"), "asks for the consumer")
}

// TestAuthorizations: an expression decides on each route by what is known there, and counts on when a configuration is read again.
func TestAuthorizations(t *testing.T) {
	r := newRuntime(t)
	const yaml = `
policies: { readers: { authorize: { when: 'request.params.who == "anne" || int(request.query.n) > 1' } } }
routes: { a: { match: "/a/{who}", use: [readers], respond: { status: 204 } }, b: { match: "/b/{of}/{who}", use: [readers], respond: { status: 204 } } }
`
	f := func(path, want string) {
		t.Helper()
		p := mustCompile(t, r, yaml)
		r.Commit(p)
		got := "admitted"
		if _, err := serveOnce(t, p, path); err != nil {
			got = fmt.Sprint(proxy.AsError(err).Code, ", ", proxy.AsError(err).Cause)
		}
		if got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	f("/a/anne", "admitted")
	f("/a/bert?n=2", "admitted")
	f("/a/bert?n=1", "not_authorized, <nil>")
	f("/a/bert", "not_authorized, the expression asks for something that is not there")
	f("/b/bert/anne", "admitted")
	f("/b/anne/bert?n=x", "not_authorized, the expression has failed")
	if list := r.AuthorizationPolicies(); len(list) != 1 || list[0] != (AuthorizationPolicy{"readers", 1, 2}) {
		t.Errorf("counted are %+v", list)
	}
}

// TestAuthorizationExplained: what would become of a request, and why.
func TestAuthorizationExplained(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), "routes: { a: { match: /a, use: [{ authorize: { when: 'request.query.n == \"1\"' } }], respond: { status: 204 } } }\n")
	f := func(target, outcome string) {
		t.Helper()
		e, err := p.Explain("GET", target, nil, nil, netip.MustParseAddr("192.0.2.1"))
		if err != nil || e.Outcome != outcome || fmt.Sprint(e.Conditions) != `[authorize: request.query.n == "1"]` {
			t.Errorf("%s: %q, %q, %v", target, e.Outcome, e.Conditions, err)
		}
	}
	f("/a?n=1", "Route a is taken; the gateway answers 204 by itself.")
	f("/a?n=2", "Route a is taken; its policy authorize refuses with 403 not_authorized.")
	f("/a", "Route a is taken; its policy authorize refuses with 403 not_authorized: the expression asks for something that is not there.")
}

// TestVariablesDocumented: README names what an expression may ask for.
func TestVariablesDocumented(t *testing.T) {
	readme := readme(t)
	for _, name := range expression.Variables() {
		if !strings.Contains(readme, "`"+name) {
			t.Errorf("README does not have `%s`", name)
		}
	}
}
