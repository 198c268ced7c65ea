package compile

import (
	"strings"
	"testing"
)

const somebody = `
services: { s: http://127.0.0.1:1 }
consumers:
  partners:
    acme: { keys: [{ hash: "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", prefix: sk }] }
    anne: { passwords: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$c29tZWhhc2hzb21laGFzaHNvbWU" }
  signers: { bravo: { signing_keys: { k: { secret: "0123456789abcdef0123456789abcdef" } } } }
policies:
  limit: { rate_limit: { allow: 10/s per consumer } }
  key: { api_key: { consumers: partners } }
  staff: { basic_auth: { consumers: partners } }
  signed: { signature: { consumers: signers } }
  watched: { api_key: { consumers: partners, mode: report } }
  tell: { headers: { request: { set: { X-User: $consumer, X-Plan: $consumer.plan } } } }
`

// TestConsumerOrder tries what check says of the places that policies stand in.
func TestConsumerOrder(t *testing.T) {
	f := func(route, want string) {
		t.Helper()
		r := newRuntime(t)
		plan, problems := r.Compile(parse(t, somebody+"routes: { a: { match: /a, "+route+" } }\n"))
		if plan != nil {
			r.Discard(plan)
		}
		if got := problems.Error(); !strings.Contains(got, want) || want == "" && len(problems) > 0 {
			t.Errorf("%s: got %q, want %q", route, got, want)
		}
	}
	f("use: [key, tell], to: s", "")
	f("use: [staff, tell], to: s", "")
	f("use: [key, limit], to: s", "")
	f("use: [signed, limit, tell], to: s", "")
	f("use: [limit, signed], to: s", "counts per consumer, and no policy before it")
	f("use: [{ cache: { for: 1m } }, signed], to: s", "the policy signature stands behind cache")
	f(`use: [{ signature: { consumers: signers, components: ["@status"] } }], to: s`, `"@status" is no component of a request that can be signed`)
	f("use: [limit, key], to: s", "counts per consumer, and no policy before it")
	f("use: [watched, limit], to: s", "counts per consumer, and no policy before it")
	f("use: [tell, key], to: s", "names the consumer before any policy")
	f("use: [staff], to: s, rewrite: { headers: { set: { X-User: $consumer.group } } }", "")
	f("to: s, rewrite: { headers: { set: { X-User: $consumer.group } } }", "names the consumer, and no policy")
	f("use: [key, { cache: { for: 1m } }], to: s", "")
	f("use: [{ cache: { for: 1m } }, key], to: s", "the policy api_key stands behind cache")
	f("use: [{ cache: { for: 1m } }, staff], to: s", "the policy basic_auth stands behind cache")
}

// TestUnenforcedConsumers names those who keep nobody out.
func TestUnenforcedConsumers(t *testing.T) {
	r := newRuntime(t)
	r.Commit(mustCompile(t, r, somebody+"routes: { a: { match: /a, use: [watched], to: s }, b: { match: /b, use: [key, { basic_auth: { consumers: partners, mode: off } }], to: s } }\n"))
	if got := strings.Join(r.Unenforced(), " "); got != "basic_auth watched" {
		t.Errorf("%q keep nobody out", got)
	}
	if got, more, err := r.Consumers("", "", 10); err != nil || more || len(got) != 3 || got[0].Name != "acme" || got[0].Group != "partners" || got[1].Name != "anne" {
		t.Errorf("the consumers are %+v", got)
	}
	r.Commit(mustCompile(t, r, "routes: { a: { match: /a, respond: { status: 204 } } }\n"))
	if got := r.Unenforced(); len(got) != 0 {
		t.Errorf("%q keep nobody out, and are gone", got)
	}
	if got, _, err := r.Consumers("", "", 10); err != nil || len(got) != 0 {
		t.Errorf("the consumers are %+v, and are gone", got)
	}
}
