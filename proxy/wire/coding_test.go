package wire

import (
	"strings"
	"testing"
)

func TestNegotiateCoding(t *testing.T) {
	f := func(accept, codings, want string) {
		t.Helper()
		var h Head
		if accept != "absent" {
			for line := range strings.SplitSeq(accept, "|") {
				h.AddString("Accept-Encoding", line)
			}
		}
		got, ok := NegotiateCoding(&h, strings.Fields(codings))
		if !ok {
			got = "none " + got
		} else if got == "" {
			got = "identity"
		}
		if got != want {
			t.Errorf("%q of %s is %q, want %q", accept, codings, got, want)
		}
	}
	const all = "zstd br gzip"
	f("absent", all, "identity")
	f("", all, "identity")
	f(",,", all, "identity")
	f("gzip", all, "gzip")
	f("gzip, deflate, br, zstd", all, "zstd")
	f("gzip, deflate, br", all, "br")
	f("GZIP", all, "gzip")
	f("x-gzip", all, "gzip")
	f("compress, deflate", all, "identity")
	f("gzip|br", all, "br")
	f("gzip", "", "identity")

	// Weights: the client's order before ours.
	f("gzip;q=1.0, br;q=0.9", all, "gzip")
	f("gzip ; q=0.8 , br ; Q=0.9", all, "br")
	f("gzip;q=0.5, br;q=0.5", all, "br")
	f("gzip;q=0.001", all, "gzip")
	f("gzip;q=0", all, "identity")
	f("gzip;q=0.000", all, "identity")
	f("gzip;q=0, br", all, "br")
	f("gzip;q=0.0001", all, "gzip")
	f("gzip;level=9;q=0", all, "identity")

	// The identity is the last choice, unless it has a weight of its own.
	f("identity", all, "identity")
	f("gzip;q=0.5, identity", all, "identity")
	f("gzip, identity", all, "gzip")
	f("gzip, identity;q=0.5", all, "gzip")
	f("gzip, identity;q=0", all, "gzip")
	f("deflate, identity;q=0", all, "none ")
	f("identity;q=0", all, "none ")

	// "*" is whatever is not listed.
	f("*", all, "zstd")
	f("*;q=0", all, "none ")
	f("gzip, *;q=0", all, "gzip")
	f("identity, *;q=0", all, "identity")
	f("zstd;q=0, *", all, "br")
	f("gzip;q=0.5, *", all, "zstd")
	f("gzip;q=0.5, *", "gzip", "identity")
	f("gzip, *;q=0.5", all, "gzip")
	f("deflate, *;q=0", all, "none ")

	// The most careful of contradicting items counts.
	f("gzip, gzip;q=0", all, "identity")
	f("gzip;q=0|gzip", all, "identity")
	f("x-gzip;q=0, gzip", all, "identity")
	f("identity;q=0, identity", all, "none ")

	// What is no weight says nothing.
	f("gzip;q=x", all, "identity")
	f("gzip;q=", all, "identity")
	f("gzip;q=2, br;q=0.1", all, "br")
	f("gzip;q=1.001", all, "identity")
	f("gzip;q=-1", all, "identity")
	f("gzip;q=0,5", all, "identity")
	f("identity;q=x", all, "identity")
	f(";q=1", all, "identity")
}

func FuzzNegotiateCoding(f *testing.F) {
	f.Add("gzip;q=0.8, br, *;q=0")
	f.Add("identity;q=0, x-gzip ;q=1.000")
	f.Fuzz(func(t *testing.T, accept string) {
		var h Head
		h.AddString("accept-encoding", accept)
		all := []string{"zstd", "br", "gzip"}
		got, ok := NegotiateCoding(&h, all)
		if !ok && got != "" {
			t.Fatalf("%q: %q although nothing is accepted", accept, got)
		}
		// What is chosen among all is chosen when it is the only one, or at least what nobody minds.
		if alone, ok := NegotiateCoding(&h, []string{got}); got != "" && (!ok || alone != got) {
			t.Fatalf("%q: %q among all, %q alone", accept, got, alone)
		}
	})
}
