package compile

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withQuotas is a configuration with quotas in a folder.
func withQuotas(folder string) string {
	return `
state: ` + folder + `
consumers:
  partners:
    acme: { keys: [{ hash: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", prefix: fo }], plan: gold }
    zeta: { keys: [{ hash: "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", prefix: ba }] }
policies:
  key: { api_key: { header: X-Api-Key, consumers: partners } }
  plan: { quota: { plans: { gold: [1000/day, 5000/month], default: 3/day }, cost: { routes: { heavy: 2 } } } }
routes:
  light: { match: /light, use: [key, plan], respond: { status: 204 } }
  heavy: { match: /heavy, use: [key, plan, { rate_limit: { allow: 5/s per ip } }], respond: { status: 204 } }
`
}

// TestExplainQuota: what a quota counts by is known once it is known who is asking; nothing is counted, and no file is made.
func TestExplainQuota(t *testing.T) {
	folder := t.TempDir() + "/none"
	p := mustCompile(t, New(Options{Dry: true}), withQuotas(folder))
	f := func(target, key string, want ...string) {
		t.Helper()
		for range 5 {
			e, err := p.Explain("GET", target, [][2]string{{"X-Api-Key", key}}, nil, netip.MustParseAddr("192.0.2.1"))
			if err != nil || !slices.Equal(e.Limits, want) || e.Status != 204 {
				t.Fatalf("%s: got %d, %q, %v; want %q", target, e.Status, e.Limits, err, want)
			}
		}
	}
	f("/light", "foo", "plan: gold: 1000/day, counted as partners acme by api_key", "plan: gold: 5000/month, counted as partners acme by api_key")
	f("/light", "bar", "plan: default: 3/day, counted as partners zeta by api_key")
	f("/heavy", "bar", "plan: default: 3/day, of which it takes 2, counted as partners zeta by api_key", "rate_limit: 5/s per ip, counted as 192.0.2.1")
}

// TestQuotasKept: the file is the same in the next configuration, whatever else changes, and so is what was counted.
func TestQuotasKept(t *testing.T) {
	yaml := withQuotas(t.TempDir())
	r := newRuntime(t)
	first := mustCompile(t, r, yaml)
	r.Commit(first)
	f := func(yaml string, same bool) {
		t.Helper()
		p := mustCompile(t, r, yaml)
		if got := p.limiters["plan"] == first.limiters["plan"]; got != same {
			t.Errorf("the policy is the same: %v, want %v", got, same)
		}
		r.Commit(p)
		if s, ok := r.Quotas(); !ok || s.Problem == "the file of quotas is closed" {
			t.Errorf("got %+v, %v", s, ok)
		}
	}
	f(yaml, true)
	f("\n\n"+yaml, true)
	f(strings.Replace(yaml, "3/day", "4/day", 1), false)
	f(strings.Replace(yaml, "X-Api-Key", "X-Key", 1), false) // it is made anew, of the same meters
	bare := "routes:\n  a: { match: /a, respond: { status: 204 } }\n"
	r.Commit(mustCompile(t, r, bare))
	if _, ok := r.Quotas(); ok {
		t.Error("the file is still open")
	}
}

// TestQuotasSpelled: a folder that is spelled another way is the same one, also if it was not there at first: what was used stays, and nobody
// finds the file locked.
func TestQuotasSpelled(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	if err := os.Symlink(base, filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	var first *limiter
	for _, folder := range []string{"link/a/state", base + "/a/state", "a/state", base + "/link/link/a/b/../state"} {
		p := mustCompile(t, r, withQuotas(folder))
		r.Prepare(p)
		r.Commit(p)
		if first == nil {
			first = p.limiters["plan"]
		}
		if p.limiters["plan"] != first {
			t.Errorf("%s is another folder", folder)
		}
		if status, err := serveOnce(t, p, "/light", [2]string{"X-Api-Key", "foo"}); status != 204 || err != nil {
			t.Errorf("%s: got %d, %v", folder, status, err)
		}
		if s, _ := r.Quotas(); s.Problem != "" {
			t.Errorf("%s: %s", folder, s.Problem)
		}
	}
	if n := first.quotas.Counts().Live; n == 0 {
		t.Error("nothing was counted")
	}
}

func TestQuotaProblems(t *testing.T) {
	f := func(yaml, want string) {
		t.Helper()
		p, problems := newRuntime(t).Compile(parse(t, yaml))
		if p != nil || problems.Error() != want {
			t.Errorf("got %v, want %s", problems, want)
		}
	}
	f("state: "+t.TempDir()+"\npolicies:\n  plan: { quota: { allow: 5/day } }\nroutes:\n  x: { match: /x, use: [plan], respond: { status: 204 } }\n",
		"test.yaml:8:24: routes.x.use: the policy plan counts per consumer, and no policy before it finds out who that is: put jwt, client_cert or another one that does before it")
}

// TestQuotasDiscarded: a configuration that never served changes nothing about the quotas that do; one that does, does.
func TestQuotasDiscarded(t *testing.T) {
	f := func(serves bool) {
		t.Helper()
		large := strings.Replace(withQuotas(t.TempDir()), "plan: { quota: {", "plan: { quota: { keys: 100,", 1)
		r := newRuntime(t)
		served := mustCompile(t, r, large)
		r.Commit(served)
		if small := mustCompile(t, r, strings.Replace(large, "keys: 100", "keys: 1", 1)); serves {
			r.Commit(small)
			served = small
		} else {
			r.Discard(small)
		}
		for _, key := range []string{"foo", "bar"} {
			if status, err := serveOnce(t, served, "/light", [2]string{"X-Api-Key", key}); status != 204 || err != nil {
				t.Errorf("%s: got %d, %v", key, status, err)
			}
		}
		if n := served.limiters["plan"].quotas.Counts().Overflow; n > 0 != serves {
			t.Errorf("%d found no room, and what has less serves: %v", n, serves)
		}
	}
	f(false)
	f(true)
}
