package rules

import "testing"

func TestAppendStatus(t *testing.T) {
	f := func(s Status, want string) {
		t.Helper()
		if got := string(AppendStatus(nil, &s)); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
		// What it writes is a member of a List: the reader of Structured Fields takes a Token and its parameters.
		p := structured{rest: AppendStatus(nil, &s)}
		p.bareItem()
		p.parameters()
		if p.failed || len(p.rest) > 0 {
			t.Errorf("%q is no member of a List, at %q", want, p.rest)
		}
	}
	f(Status{}, "sluice; hit")
	f(Status{TTL: 30, HasTTL: true}, "sluice; hit; ttl=30")
	f(Status{TTL: -412, HasTTL: true}, "sluice; hit; ttl=-412")
	f(Status{TTL: 0, HasTTL: true, Detail: "negative"}, "sluice; hit; ttl=0; detail=negative")
	f(Status{Stored: true, Collapsed: true, FwdStatus: 304}, "sluice; hit") // which only go with fwd
	f(Status{Forward: Nowhere, Detail: "only-if-cached", Stored: true}, "sluice; detail=only-if-cached")
	f(Status{Forward: ForwardBypass}, "sluice; fwd=bypass")
	f(Status{Forward: ForwardMethod}, "sluice; fwd=method")
	f(Status{Forward: ForwardURIMiss, Stored: true}, "sluice; fwd=uri-miss; stored")
	f(Status{Forward: ForwardVaryMiss, Collapsed: true}, "sluice; fwd=vary-miss; collapsed")
	f(Status{Forward: ForwardURIMiss, Stored: true, Collapsed: true, TTL: 60, HasTTL: true}, "sluice; fwd=uri-miss; ttl=60; stored; collapsed")
	f(Status{Forward: ForwardRequest}, "sluice; fwd=request")
	f(Status{Forward: ForwardStale, FwdStatus: 304, Stored: true}, "sluice; fwd=stale; fwd-status=304; stored")
	for r := ByRequest; r < reasonCount; r++ {
		f(Status{Forward: ForwardURIMiss, Detail: r.String()}, "sluice; fwd=uri-miss; detail="+r.String())
	}
	f(Status{Detail: `a "b" \ c`}, `sluice; hit; detail="a \"b\" \\ c"`)
	f(Status{Detail: "a\nü"}, `sluice; hit; detail="a???"`)
	f(Status{Detail: "1"}, `sluice; hit; detail="1"`)
}
