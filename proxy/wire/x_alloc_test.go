//go:build !race

package wire

import "testing"

func TestNegotiateCodingAllocates(t *testing.T) {
	var h Head
	h.AddString("Accept-Encoding", "gzip;q=0.8, deflate, br, zstd, *;q=0.1")
	codings := []string{"zstd", "br", "gzip"}
	if n := testing.AllocsPerRun(100, func() { NegotiateCoding(&h, codings) }); n != 0 {
		t.Fatalf("%v allocations, want 0", n)
	}
}
