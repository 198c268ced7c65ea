package compile

import (
	"strings"
	"testing"
)

// TestLimitsNeedIdentity: who is asking must have been found out before it is counted by.
func TestLimitsNeedIdentity(t *testing.T) {
	f := func(use, want string) {
		t.Helper()
		c := parse(t, `
policies:
  partners: { client_cert: {} }
  watched: { client_cert: { mode: report } }
routes: { r: { match: /r, use: `+use+`, respond: {} } }
`)
		plan, problems := newRuntime(t).Compile(c)
		got := ""
		for _, p := range problems {
			if !p.Warning {
				got += p.Message
			}
		}
		if want == "" && (got != "" || plan == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
	f("[partners, { rate_limit: { allow: 1/s per consumer } }]", "")
	f("[partners, { concurrency: { max: 5 per claim.sub } }]", "")
	f("[{ rate_limit: { allow: 1/s per consumer } }, partners]", "the policy rate_limit counts per consumer, and no policy before it finds out who that is")
	f("[watched, { rate_limit: { allow: [1/s, 1/s per claim.a.b and ip] } }]", "counts per claim")
	f("[{ concurrency: { max: [5, 1 per consumer] } }]", "the policy concurrency counts per consumer")
	f("[{ rate_limit: { allow: 1/s per ip } }]", "")
}

// TestCacheOrder: what guards stands before a cache, and so does what tells its keys apart.
func TestCacheOrder(t *testing.T) {
	f := func(use, want string) {
		t.Helper()
		c := parse(t, "policies: { partners: { client_cert: {} }, inside: { addresses: { allow: [10.0.0.0/8] } } }\n"+
			"routes: { r: { match: /r, use: "+use+", respond: {} } }\n")
		_, problems := newRuntime(t).Compile(c)
		got := ""
		for _, p := range problems {
			got += p.Message
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
	f("[partners, inside, { cache: { key: { claims: [sub] } } }, { compress: {} }, { headers: { request: { remove: [A] } } }]", "")
	f("[{ cache: {} }, partners]", "the policy client_cert stands behind cache")
	f("[{ cache: {} }, inside]", "the policy addresses stands behind cache")
	f("[{ cache: {} }, { cache: {} }]", "two caches")
	f("[{ cache: { key: { claims: [sub] } } }]", "holds claims")
	f("[{ compress: {} }, { cache: {} }]", "compress stands before cache")
	f("[{ cache: {} }, { compress: { secrets: true } }]", "compress with secrets stands behind cache")
	f("[{ compress: { secrets: true } }, { cache: {} }]", "")
}
