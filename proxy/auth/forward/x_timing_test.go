package forward

import (
	"testing"
	"time"
)

// BenchmarkCheck is what a decision costs that is remembered: the key of it, and the look-up.
func BenchmarkCheck(b *testing.B) {
	g := guard(says(200, "", "X-User", "anne"), Options{
		Name: "asked", Key: AllFacts, Send: []string{"Authorization", "Cookie"}, Identity: "X-User", Remember: time.Hour,
	})
	x := request(b, "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJlc2ln")
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Check(x); err != nil {
			b.Fatal(err)
		}
	}
}
