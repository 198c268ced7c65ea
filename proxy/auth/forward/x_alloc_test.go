//go:build !race && !invariants

package forward

import (
	"testing"
	"time"
)

// TestRememberedAllocates: a decision that is remembered costs no memory, whichever it is.
func TestRememberedAllocates(t *testing.T) {
	f := func(s service, want string) {
		t.Helper()
		g := guard(s, Options{
			Name: "asked", Key: AllFacts, Send: []string{"Authorization", "X-Tenant"}, Cookies: []string{"session"}, Forward: []string{"X-User"}, Identity: "X-User",
			Remember: time.Minute, RememberRefused: time.Minute,
		})
		x := request(t, "Bearer 1")
		x.Request.Query, x.Request.HasQuery = []byte("a=b"), true
		n := testing.AllocsPerRun(1000, func() {
			g.Prepare(x)
			err := g.Check(x)
			if got := ""; err != nil {
				if got = err.Error(); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			x.Request.Decided = x.Request.Decided[:0]
		})
		if want == "" && n != 0 || n > 2 { // the text of an error is made for the test
			t.Errorf("%v allocations", n)
		}
	}
	f(says(200, "", "X-User", "anne"), "")
	f(says(403, ""), "the service refuses with status 403")
}
