package rules

import "testing"

func TestJudge(t *testing.T) {
	policy := &Policy{}
	f := func(age int64, l Life, cacheControl, want string) {
		t.Helper()
		req := ParseRequest(head(t, "Cache-Control: "+cacheControl))
		got := Judge(age, &l, &req, policy).String()
		if MayUseOnError(age, &l, &req, policy) {
			got += " on-error"
		}
		if got != want {
			t.Errorf("%s aged %d for %q: %q, want %q", l.show(), age, cacheControl, got, want)
		}
	}
	plain := Life{Fresh: 60}
	f(0, plain, "", "fresh on-error")
	f(59, plain, "", "fresh on-error")
	f(60, plain, "", "revalidate") // section 4.2: fresh is what lives longer than its age
	f(0, Life{}, "", "revalidate")
	f(0, Life{Fresh: 60, NoCache: true, StaleWhileRevalidate: 60, StaleIfError: 60}, "", "revalidate")

	// RFC 5861.
	stale := Life{Fresh: 60, StaleWhileRevalidate: 5, StaleIfError: 10}
	f(59, stale, "", "fresh on-error")
	f(60, stale, "", "stale on-error")
	f(64, stale, "", "stale on-error")
	f(65, stale, "", "revalidate on-error")
	f(69, stale, "", "revalidate on-error")
	f(70, stale, "", "revalidate")
	must := stale
	must.MustRevalidate = true
	f(59, must, "", "fresh on-error")
	f(60, must, "", "revalidate")
	f(60, must, "max-stale", "revalidate")
	f(60, must, "stale-if-error=100", "revalidate")

	// Request directives (RFC 9111 section 5.2.1).
	f(10, plain, "no-cache", "revalidate")
	f(10, stale, "max-age=10", "fresh on-error")
	f(11, stale, "max-age=10", "revalidate")
	f(0, stale, "max-age=0", "fresh on-error")
	f(1, stale, "max-age=0", "revalidate")
	f(50, plain, "min-fresh=10", "fresh on-error")
	f(51, plain, "min-fresh=10", "revalidate")
	f(51, stale, "min-fresh=10", "revalidate")
	f(60, plain, "max-stale", "stale on-error")
	f(1e6, plain, "max-stale", "stale on-error")
	f(65, plain, "max-stale=5", "stale on-error")
	f(66, plain, "max-stale=5", "revalidate")
	f(62, stale, "max-stale=1", "revalidate")
	f(62, stale, "max-age=100", "revalidate")
	f(62, stale, "max-age=100, max-stale=5", "stale on-error")
	f(62, stale, "max-age=10, max-stale=5", "revalidate")
	f(62, plain, "min-fresh=1, max-stale=5", "revalidate")
	f(1e9, Life{Fresh: 1, NoCache: true}, "max-stale", "revalidate")
	f(80, plain, "stale-if-error=20", "revalidate on-error")
	f(81, plain, "stale-if-error=20", "revalidate")

	f(10, plain, "only-if-cached", "fresh on-error")
	f(61, stale, "only-if-cached", "stale on-error")
	f(60, plain, "only-if-cached", "missing")
	f(60, plain, "only-if-cached, max-stale", "stale on-error")
	f(10, plain, "only-if-cached, no-cache", "missing")

	// RFC 8246: a reload of what is fresh and immutable.
	immutable := Life{Fresh: 60, Immutable: true}
	f(10, immutable, "max-age=0", "fresh on-error")
	f(10, immutable, "no-cache", "fresh on-error")
	f(55, immutable, "min-fresh=10", "revalidate")
	f(60, immutable, "no-cache", "revalidate")
	f(60, immutable, "", "revalidate")

	policy = &Policy{IgnoreRequest: true}
	f(10, plain, "no-cache, max-age=0, min-fresh=100, only-if-cached", "fresh on-error")
	f(60, plain, "max-stale, only-if-cached, stale-if-error=100", "revalidate")
	f(61, stale, "max-age=0", "stale on-error")
	f(66, stale, "max-age=0", "revalidate on-error")
}

func TestFailsOver(t *testing.T) {
	for status := 100; status < 1000; status++ {
		if want := status == 500 || 502 <= status && status <= 504; FailsOver(status) != want {
			t.Errorf("%d: %t", status, !want)
		}
	}
}
