package rules

import (
	"fmt"
	"strings"
	"testing"

	"sluice/proxy/wire"
)

func (r *Request) show() string {
	var all []string
	flag := func(name string, is bool) {
		if is {
			all = append(all, name)
		}
	}
	number := func(name string, n int64) {
		if n != Absent {
			all = append(all, fmt.Sprintf("%s=%d", name, n))
		}
	}
	flag("no-store", r.NoStore)
	flag("no-cache", r.NoCache)
	flag("only-if-cached", r.OnlyIfCached)
	flag("no-transform", r.NoTransform)
	number("max-age", r.MaxAge)
	number("min-fresh", r.MinFresh)
	number("max-stale", r.MaxStale)
	number("sie", r.StaleIfError)
	flag("authorization", r.Authorization)
	flag("range", r.Range)
	flag("conditional", r.Conditional)
	flag("precondition", r.Precondition)
	return strings.Join(all, " ")
}

func TestParseRequest(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		h := head(t, text)
		r := ParseRequest(h)
		if got := r.show(); got != want {
			t.Errorf("%q says %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("Accept: */*|Cache-Control: ", "")
	f("Cache-Control: no-store, NO-CACHE|cache-control: only-if-cached, no-transform", "no-store no-cache only-if-cached no-transform")
	f("Cache-Control: max-age=0, min-fresh=5, max-stale=7, stale-if-error=9", "max-age=0 min-fresh=5 max-stale=7 sie=9")
	f("Cache-Control: max-stale", "max-stale=2147483648")
	f(`Cache-Control: max-age="5"`, "max-age=5")

	// Of several the most restrictive counts; what is no number asks for no staleness.
	f("Cache-Control: max-age=9, max-age=5", "max-age=5")
	f("Cache-Control: min-fresh=5, min-fresh=9, min-fresh=7", "min-fresh=9")
	f("Cache-Control: max-stale, max-stale=5", "max-stale=5")
	f("Cache-Control: max-stale=5, max-stale", "max-stale=5")
	f("Cache-Control: max-age=x", "max-age=0")
	f("Cache-Control: max-age", "max-age=0")
	f("Cache-Control: max-stale=x, max-stale=, stale-if-error=x, min-fresh", "")

	// Pragma counts where there is no Cache-Control.
	f("Pragma: no-cache", "no-cache")
	f("Pragma: x, No-Cache", "no-cache")
	f("Pragma: x", "")
	f("Pragma: no-cache|Cache-Control: max-age=5", "max-age=5")
	f("Cache-Control: x|Pragma: no-cache", "")

	f("Authorization: x|Range: bytes=0-1", "authorization range")
	f(`If-None-Match: "x"`, "conditional")
	f("If-Modified-Since: x", "conditional")
	f(`If-Match: "x"`, "precondition")
	f("If-Unmodified-Since: x", "precondition")
	f(`If-Range: "x"`, "")
}

func FuzzParseRequest(f *testing.F) {
	f.Add("max-age=5, max-stale, min-fresh=\"7\"", "no-cache")
	f.Fuzz(func(t *testing.T, cacheControl, pragma string) {
		var h wire.Head
		h.AddString("Cache-Control", cacheControl)
		h.AddString("Pragma", pragma)
		r := ParseRequest(&h)
		for _, n := range []int64{r.MaxAge, r.MinFresh, r.MaxStale, r.StaleIfError} {
			if n < Absent || n > DeltaMax {
				t.Fatalf("%q: %d seconds", cacheControl, n)
			}
		}
	})
}
