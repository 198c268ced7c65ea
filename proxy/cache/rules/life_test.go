package rules

import (
	"fmt"
	"testing"
)

func (l Life) show() string {
	s := fmt.Sprintf("%d+%d+%d", l.Fresh, l.StaleWhileRevalidate, l.StaleIfError)
	for _, flag := range []struct {
		is   bool
		name string
	}{{l.NoCache, "no-cache"}, {l.MustRevalidate, "must-revalidate"}, {l.Immutable, "immutable"}, {l.Heuristic, "heuristic"}} {
		if flag.is {
			s += " " + flag.name
		}
	}
	return s
}

func TestLifetime(t *testing.T) {
	policy := &Policy{}
	f := func(status int, response, want string) {
		t.Helper()
		resp := ParseResponse(head(t, response))
		if got := Lifetime(status, &resp, policy).show(); got != want {
			t.Errorf("%d %q: %q, want %q", status, response, got, want)
		}
	}
	// RFC 9111 section 4.2.1: s-maxage, max-age, Expires.
	dated := "|Date: " + date(0)
	f(200, "", "0+0+0")
	f(200, "Cache-Control: max-age=60", "60+0+0")
	f(200, "Cache-Control: max-age=60, s-maxage=30", "30+0+0 must-revalidate")
	f(200, "Cache-Control: max-age=60|Expires: "+date(90)+dated, "60+0+0")
	f(200, "Expires: "+date(90)+dated, "90+0+0")
	f(200, "Expires: "+date(-90)+dated, "0+0+0")
	f(200, "Expires: 0"+dated, "0+0+0")
	f(200, "Expires: "+date(90), "0+0+0")
	f(200, "Expires: Fri, 31 Dec 9999 23:59:59 GMT"+dated, "2147483648+0+0")
	f(200, "Cache-Control: max-age=x|Expires: "+date(90)+dated, "0+0+0")
	f(200, "Cache-Control: max-age=60, no-cache, immutable", "60+0+0 no-cache immutable")
	f(200, "Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=7", "60+5+7")
	f(200, "Last-Modified: "+date(-1000)+dated, "0+0+0") // no heuristics unless asked

	policy = &Policy{For: 10, ByStatus: []StatusFor{{404, 3}, {503, 4}}, StaleWhileRevalidate: 20, StaleIfError: 30}
	f(200, "", "10+20+30")
	f(404, "", "3+20+30")
	f(503, "", "4+20+30")
	f(503, "Cache-Control: max-age=2", "2+20+30")
	f(302, "", "0+20+30")
	f(302, "Cache-Control: public", "10+20+30")
	f(200, "Cache-Control: max-age=60", "60+20+30")
	f(200, "Cache-Control: max-age=60, stale-while-revalidate=0", "60+0+30")
	f(200, "Cache-Control: max-age=60, must-revalidate", "60+20+30 must-revalidate")

	policy = &Policy{For: 10, ByStatus: []StatusFor{{404, 3}}, Override: true, StaleWhileRevalidate: 20}
	f(200, "Cache-Control: max-age=60, s-maxage=5, stale-while-revalidate=1", "10+1+0")
	f(200, "Cache-Control: max-age=0, no-cache", "10+20+0 no-cache")
	f(200, "Cache-Control: max-age=0, must-revalidate", "10+20+0 must-revalidate")
	f(200, "Expires: 0", "10+20+0")
	f(200, "Cache-Control: max-age=60, immutable", "10+20+0 immutable")
	f(404, "Cache-Control: max-age=60", "3+20+0")
	f(302, "Cache-Control: max-age=60, must-revalidate", "60+20+0 must-revalidate") // not configured

	policy = &Policy{HeuristicPercent: 10, HeuristicMax: 3600}
	f(200, "Last-Modified: "+date(-1000)+dated, "100+0+0 heuristic")
	f(404, "Last-Modified: "+date(-1000)+dated, "100+0+0 heuristic")
	f(200, "Last-Modified: "+date(-1e6)+dated, "3600+0+0 heuristic")
	f(200, "Last-Modified: "+date(5)+dated, "0+0+0 heuristic")
	f(200, "Last-Modified: "+date(-1000), "0+0+0 heuristic")
	f(302, "Last-Modified: "+date(-1000)+dated, "0+0+0")
	f(302, "Cache-Control: public|Last-Modified: "+date(-1000)+dated, "100+0+0 heuristic")
	f(200, "Cache-Control: max-age=5|Last-Modified: "+date(-1000)+dated, "5+0+0")
	f(200, "Expires: 0|Last-Modified: "+date(-1000)+dated, "0+0+0")
}

func TestInitialAge(t *testing.T) {
	f := func(response string, requestedAt, receivedAt, want int64) {
		t.Helper()
		resp := ParseResponse(head(t, response))
		if got := InitialAge(&resp, epoch+requestedAt, epoch+receivedAt); got != want {
			t.Errorf("%q asked for at %d, received at %d: %d, want %d", response, requestedAt, receivedAt, got, want)
		}
	}
	f("", 0, 0, 0)
	f("", 0, 5, 5)
	f("Age: 10", 0, 5, 15)
	f("Age: 10|Date: "+date(0), 0, 5, 15)
	f("Date: "+date(-100), 0, 5, 105)
	f("Age: 200|Date: "+date(-100), 0, 5, 205)
	f("Date: "+date(100), 0, 5, 5) // its clock is fast
	f("Date: "+date(-1), 0, 1, 1)  // within the skew of clocks
	f("Date: "+date(-2), 0, 0, 0)  // likewise
	f("Date: "+date(-3), 0, 0, 3)  // a cache that does not say so
	f("", 5, 0, 0)                 // our own clock was set back
	f("Age: 2147483648", 0, 5, DeltaMax)
}

func TestKeepFor(t *testing.T) {
	f := func(initialAge int64, l Life, validator bool, want int64) {
		t.Helper()
		if got := KeepFor(initialAge, &l, validator); got != want {
			t.Errorf("%s aged %d: %d, want %d", l.show(), initialAge, got, want)
		}
	}
	f(0, Life{Fresh: 60}, false, 60)
	f(50, Life{Fresh: 60}, false, 10)
	f(70, Life{Fresh: 60}, false, 0)
	f(50, Life{Fresh: 60, StaleWhileRevalidate: 5, StaleIfError: 30}, false, 40)
	f(50, Life{Fresh: 60, StaleIfError: 30, MustRevalidate: true}, false, 10)
	f(70, Life{Fresh: 60}, true, 600)
	f(0, Life{Fresh: DeltaMax, StaleIfError: DeltaMax}, true, DeltaMax)
}
