package dpop

import (
	"testing"
)

// BenchmarkJudge is what a proof costs that is good: to read it, and the signature.
func BenchmarkJudge(b *testing.B) {
	for _, c := range []*client{newES256(), newEd25519(), newRS256()} {
		b.Run(c.Alg, func(b *testing.B) {
			j, print := judge(Options{}), c.print()
			x := asking(c.proof(token))
			defer x.Release()
			b.ReportAllocs()
			for b.Loop() {
				// The proof is that of the same request: it is judged whole, and its number is not used up by it.
				if err := j.Check(x, []byte(token), print); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
