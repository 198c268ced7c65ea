package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/control/config"
	"sluice/proxy/limit"
)

const limited = `
policies:
  fair-use: { rate_limit: { allow: [20/s per ip, 5/min per header X-Api-Key and path.id], cost: { routes: { heavy: 2 } } } }
  few: { concurrency: { max: 10 per ip } }
defaults: { use: [few] }
routes:
  item: { match: "/items/{id}", use: [fair-use], respond: { status: 204 } }
  heavy: { match: "/heavy/{x}/{id}", use: [fair-use], respond: { status: 204 } }
  plain: { match: /plain, use: [ { rate_limit: { allow: 1/s } }, { concurrency: { max: 1, mode: off } } ], respond: { status: 204 } }
`

func TestExplainLimits(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), limited)
	f := func(target string, want ...string) {
		t.Helper()
		e, err := p.Explain("GET", target, [][2]string{{"X-Api-Key", "hunter2"}}, nil, netip.MustParseAddr("2001:db8::1"))
		if err != nil || !slices.Equal(e.Limits, want) {
			t.Errorf("%s: got %q, %v; want %q", target, e.Limits, err, want)
		}
	}
	const few = "few: 10 per ip at the same time, counted as 2001:db8::/64"
	const key = "header X-Api-Key=sha256:f52fbd32b2b3b86f 7"
	f("/items/7", few, "fair-use: 20/s per ip, counted as 2001:db8::/64", "fair-use: 5/min per header X-Api-Key and path.id, counted as "+key)
	f("/heavy/1/7", few, "fair-use: 20/s per ip, of which it takes 2, counted as 2001:db8::/64",
		"fair-use: 5/min per header X-Api-Key and path.id, of which it takes 2, counted as "+key)
	f("/plain", few, "rate_limit: 1/s, counted with all others")
}

// TestLimitersKept: the state of a policy is the same in the next configuration, where its definition is.
func TestLimitersKept(t *testing.T) {
	r := newRuntime(t)
	first := mustCompile(t, r, limited)
	r.Commit(first)
	f := func(yaml string, kept ...string) {
		t.Helper()
		p := mustCompile(t, r, yaml)
		var got []string
		for name, l := range p.limiters {
			if l == first.limiters[name] {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, kept) {
			t.Errorf("kept %q, want %q", got, kept)
		}
		r.Discard(p)
	}
	const all = "fair-use few routes.plain.use[0] routes.plain.use[1]"
	f(limited, strings.Fields(all)...)
	f(strings.Replace(limited, "item: {", "thing: {", 1), strings.Fields(all)...)
	f(strings.Replace(limited, "20/s", "21/s", 1), "few", "routes.plain.use[0]", "routes.plain.use[1]")
	f(strings.Replace(limited, "20/s per ip", "20/s burst 20 per ip", 1), "few", "routes.plain.use[0]", "routes.plain.use[1]")
	f(strings.Replace(limited, "10 per ip", "11 per ip", 1), "fair-use", "routes.plain.use[0]", "routes.plain.use[1]")
	f(strings.Replace(limited, "max: 10 per ip", "max: 10 per ip, mode: report", 1), "fair-use", "routes.plain.use[0]", "routes.plain.use[1]")
	f(strings.Replace(limited, "allow: 1/s", "allow: 1/s, keys: 5", 1), "fair-use", "few", "routes.plain.use[1]")
	f(strings.Replace(limited, "defaults: { use: [few] }\n", "defaults: { use: [few, { rate_limit: { allow: 1/h } }] }\n", 1), strings.Fields(all)...)
	if names := fmt.Sprint(r.Limits()[0].Name, r.Limits()[1].Name, r.Limits()[2].Name); names != "fair-usefewroutes.plain.use[0]" {
		t.Errorf("got %s", names)
	}
}

func TestLimitProblems(t *testing.T) {
	f := func(yaml, want string) {
		t.Helper()
		p, problems := newRuntime(t).Compile(parse(t, yaml))
		if p != nil || problems.Error() != want {
			t.Errorf("got %v, want %s", problems, want)
		}
	}
	f("policies:\n  a: { rate_limit: { allow: 1/s per path.nr } }\nroutes:\n  x: { match: \"/{id}\", use: [a], respond: { status: 204 } }\n",
		`test.yaml:5:6: policies.a: per path.nr: the pattern /{id} of route x has no parameter "nr"`)
	f("routes:\n  x: { match: \"/{id}\", use: [{ concurrency: { max: 1 per path.nr } }], respond: { status: 204 } }\n",
		`test.yaml:5:29: routes.x.use: per path.nr: the pattern /{id} of route x has no parameter "nr"`)
}

func TestResetLimit(t *testing.T) {
	r := newRuntime(t)
	r.Commit(mustCompile(t, r, limited))
	f := func(policy, id string, values []string, want error) {
		t.Helper()
		if err := r.ResetLimit(policy, id, values); err != want {
			t.Errorf("%s %s %q: got %v, want %v", policy, id, values, err, want)
		}
	}
	f("none", "", []string{"a"}, ErrNoLimit)
	f("few", "", []string{"192.0.2.1"}, limit.ErrNoReset)
	f("fair-use", "", []string{"192.0.2.1"}, limit.ErrUnknownKey)
	f("fair-use", "0-c62007f62ccb36ee", nil, limit.ErrUnknownKey)
}

func TestStatusCosts(t *testing.T) {
	got := statusCosts(config.Named[int]{{Name: "4xx", Value: 5}, {Name: "404", Value: 1}, {Name: "5xx"}, {Name: "401", Value: 10}})
	want := []limit.StatusCost{{From: 404, To: 404, Cost: 1}, {From: 401, To: 401, Cost: 10}, {From: 400, To: 499, Cost: 5}, {From: 500, To: 599}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
